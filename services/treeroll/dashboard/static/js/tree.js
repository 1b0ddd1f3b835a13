// The page of one tree: header, picture, grid, details. Nodes come in chunks; the first are drawn at once.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { ask, useAnswer } from "./api.js";
import { go, Link, place as where, withQuery } from "./router.js";
import { theme } from "./theme.js";
import { Answered, Crumb, Empty, Head, Said, State, Trouble } from "./parts.js";
import { counted, fixed, lasting, percent, plain, signed, whole } from "./format.js";
import { Nodes, Order, Stretches } from "./shape.js";
import { MODES, known, paint, UNSCORED } from "./colours.js";
import { Picture, clamped, told, wholeView, zoomed } from "./lanes.js";
import { Grid } from "./grid.js";
import { Compare, Details } from "./details.js";

const FIRST_CHUNK = 5000;

export function Tree({ id, about }) {
  const answer = useAnswer(`/trees/${encodeURIComponent(id)}`);
  const growing = answer.data?.growing;
  useEffect(() => {
    if (!growing) return undefined;
    const timer = setInterval(answer.retry, 2000);
    return () => clearInterval(timer);
  }, [growing, answer.retry]);
  return html`<${Answered} answer=${answer} what="tree" title=${`tree ${id.slice(0, 8)}`}>${(header) => html`<${Content} header=${header} about=${about} key=${header.tree_id} />`}<//>`;
}

/** Nodes as they come: {order, error, done}. */
function useNodes(header) {
  const [state, setState] = useState({ order: null, error: null, done: false });
  useEffect(() => {
    const abort = new AbortController();
    const nodes = new Nodes(header.nodes);
    (async () => {
      try {
        for (let most = FIRST_CHUNK; nodes.count < nodes.total; most = 20000) {
          const answer = await ask(`/trees/${encodeURIComponent(header.tree_id)}/shape?from=${nodes.count}&most=${most}`, abort.signal);
          nodes.take(await answer.arrayBuffer());
          if (abort.signal.aborted) return;
          setState({ order: new Order(nodes), error: null, done: nodes.count === nodes.total });
        }
      } catch (error) {
        if (error.name !== "AbortError") setState((old) => ({ ...old, error }));
      }
    })();
    return () => abort.abort();
  }, [header.tree_id, header.nodes]);
  return state;
}

function Content({ header, about }) {
  const { order, error, done } = useNodes(header);
  const query = where.value.query;
  const [turn, setTurn] = useState(0);
  const bump = useMemo(() => () => setTurn((n) => n + 1), []);
  const stretches = useMemo(() => order && new Stretches(order), [order]);
  const named = query.get("node"); // a path; the root's is empty, which a query cannot say
  const selected = order && named !== null ? order.find(named === "root" ? "" : named) : -1;
  const select = (place) => go(withQuery({ node: order.path(place) || "root" }), { replace: true });
  const wantedPair = query.get("compare") && order && done;
  const pair = useMemo(() => (wantedPair ? [order.extreme(1), order.extreme(-1)] : null), [wantedPair, order]);
  const scored = header.n_scored > 0;
  const state = useRef(null);
  state.current = { order, selected, select };
  useKeys(state);
  const children = useMemo(() => {
    if (!order) return null;
    const reasons = {};
    for (let place = 1; place < order.count; place++) {
      const i = order.number[place];
      const up = order.up[place];
      if (order.depth[place] === 1 || order.children[up] > 1) {
        const name = header.words.reason[order.nodes.reason[i]];
        if (order.depth[place] === 1 || order.nodes.sibling[i] > 0) reasons[name] = (reasons[name] ?? 0) + 1;
      }
    }
    return reasons;
  }, [order]);
  return html`<${Head} title=${html`<span class="muted">tree</span> <span class="mono">${plain(header.tree_id.slice(0, 8))}</span> <${Said} text=${header.task_id} />`}>
      <${State} word=${header.status} />${header.stop_reason && html`<span class="muted">cut by ${plain(header.stop_reason)}</span>`}
      <${Crumb} href=${`/trees?q=${encodeURIComponent(header.task_id)}`} label="all of this task" /><${Crumb} href=${`/runs/${encodeURIComponent(header.run_id)}`} label=${html`run <${Said} text=${header.run_id} />`} />
      ${about.pages.includes("events") && html`<${Crumb} href=${`/events?log=decisions&tree=${encodeURIComponent(header.tree_id)}`} label="decisions" />`}
      <${Export} id=${header.tree_id} /><//>
    <p class="summary">${[
      `${counted(header.nodes, "node")}, ${header.n_leaves === 1 ? "1 leaf" : `${whole(header.n_leaves)} leaves`}${header.most_leaves && header.n_leaves < header.most_leaves ? ` of ${whole(header.most_leaves)}` : ""}`,
      `${whole(header.spent)} tokens, ${percent(header.wasted_tokens, header.spent)} in no sample`,
      scored ? `reward ${fixed(header.mean_reward, 3)}${header.min_reward === header.max_reward ? ", all equal: no signal" : `, ${fixed(header.min_reward)} to ${fixed(header.max_reward)}`}` : "unscored",
      header.n_censored ? `${counted(header.n_censored, "branch")} cut before the end` : "",
      header.wall_s ? `${lasting(header.wall_s)} from start to end` : "never started",
    ].filter(Boolean).map((part) => html`<span>${part}</span>`)}</p>
    ${header.error && html`<p class="notice warn"><${Said} text=${header.error} /></p>`}
    ${children && html`<p class="muted story">${story(children, header)}</p>`}
    ${error && html`<${Trouble} error=${error} />`}
    ${!header.nodes && html`<${Empty} title="This tree has no nodes here."><p class="muted">A task without a sample leaves only its cost.</p><//>`}
    ${header.nodes > 0 && html`<div class="tree"><div class="tree-left">
        ${order ? html`<${Lanes} order=${order} header=${header} selected=${selected} select=${select} done=${done} scored=${scored} />
          <${Grid} order=${order} stretches=${stretches} words=${header.words} selected=${selected} select=${select} turn=${turn} bump=${bump} />`
          : !error && html`<p class="waiting" aria-busy="true">reading the nodes …</p>`}</div>
      <aside class="panel details" aria-label="selected node">${order && selected >= 0
        ? html`<${Details} id=${header.tree_id} order=${order} place=${selected} select=${select} words=${header.words} />`
        : html`<h2>Prompt</h2><pre class="text" tabindex="0"><${Said} text=${header.prompt} lines=${true} /></pre>
          ${header.answer !== null && header.answer !== undefined && html`<h3>Answer</h3><pre class="text" tabindex="0"><${Said} text=${header.answer} lines=${true} /></pre>`}
          <p class="muted">Select a block or a row for its text and figures.</p>`}</aside></div>`}
    ${pair && pair[0] >= 0 && html`<${Compare} id=${header.tree_id} order=${order} pair=${pair} close=${() => go(withQuery({ compare: "" }), { replace: true })} select=${select} />`}`;
}

/** The tree as a file, which `treeroll inspect --from FILE` and `dashboard --from FILE` read. */
function Export({ id }) {
  const [error, setError] = useState(null);
  const save = async () => {
    try {
      const answer = await ask(`/trees/${encodeURIComponent(id)}/export`);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = `tree-${id.slice(0, 16)}.jsonl`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (problem) { setError(problem); }
  };
  return html`<button onClick=${save} title="JSON lines, for treeroll inspect --from and treeroll dashboard --from">export</button>${error && html`<span class="bad-text"><${Said} text=${error.message} /></span>`}`;
}

/** How the tree grew, in a sentence. */
function story(reasons, header) {
  const names = { initial: "initial branch", fork: "fork", fallback: "fallback" };
  const parts = Object.entries(names).map(([name, noun]) => [reasons[name] ?? 0, noun]).filter(([count, noun]) => count || noun !== "fallback")
    .map(([count, noun]) => `${whole(count)} ${noun}${count === 1 ? "" : noun === "initial branch" ? "es" : "s"}`);
  const end = header.stop_reason ? `it was cut by ${plain(header.stop_reason)}` : header.status === "complete" ? "it ended by itself" : `it ended ${plain(header.status)}`;
  return `${parts.join(", ")}; ${end}.`;
}

function useKeys(state) {
  useEffect(() => {
    const onKey = (event) => {
      const { order, selected, select } = state.current;
      if (!order || event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const at = Math.max(0, selected);
      const step = {
        ArrowLeft: () => order.up[at],
        ArrowRight: () => (order.children[at] ? at + 1 : -1),
        ArrowUp: () => at - 1,
        ArrowDown: () => (selected < 0 ? 0 : at + 1 < order.count ? at + 1 : -1),
        "[": () => order.siblings(at)[order.siblings(at).indexOf(at) - 1] ?? -1,
        "]": () => order.siblings(at)[order.siblings(at).indexOf(at) + 1] ?? -1,
      }[event.key];
      if (event.key === "b") go(withQuery({ compare: where.value.query.get("compare") ? "" : "1" }), { replace: true });
      if (event.key === "Escape") go(where.value.query.get("node") !== null ? withQuery({ node: "", compare: "" }) : "/trees", { replace: where.value.query.get("node") !== null });
      if (!step || event.target.closest("pre")) return;
      event.preventDefault();
      const to = step();
      if (to >= 0) select(to);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

const INKS = {
  light: { ground: "#ffffff", muted: "#5d636b", edge: "rgba(20,24,30,.32)", accent: "#1d4fd8", strip: "#c3cad3", margin: "#f0f0ee", hatch: "rgba(40,30,30,.62)" },
  dark: { ground: "#1a1c20", muted: "#9aa1aa", edge: "rgba(0,0,0,.55)", accent: "#ffffff", strip: "#4a525d", margin: "#24272b", hatch: "rgba(235,225,215,.62)" },
};

const inks = (name) => ({ theme: name, ...INKS[name], unscoredRgb: hex(UNSCORED[name]), hatchRgb: name === "dark" ? [225, 215, 205] : [40, 30, 30] });
const hex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

function Lanes({ order, header, selected, select, done, scored }) {
  const canvas = useRef(null);
  const picture = useRef(null);
  const [size, setSize] = useState(0);
  const [view, setView] = useState(() => wholeView(order));
  const [hover, setHover] = useState(null);
  const mode = where.value.query.get("colour") ?? (scored ? "advantage" : "logprob");
  const modes = useMemo(() => Object.keys(MODES).filter((name) => name === mode || known(order.nodes, name, header.words)), [order, mode]);
  const wanted = MODES[mode] ? mode : "logprob";
  const colours = useMemo(() => paint(order, wanted, theme.value, header.words), [order, wanted, theme.value]);
  // A tree that grows stays in view where all of it was, and else where it was.
  const before = useRef(order);
  useEffect(() => {
    const all = wholeView(before.current);
    setView((old) => (old.x0 <= all.x0 && old.x1 >= all.x1 && old.y0 <= all.y0 && old.y1 >= all.y1 ? wholeView(order) : clamped(old, order)));
    before.current = order;
  }, [order]);
  useLayoutEffect(() => {
    picture.current = new Picture(canvas.current);
    const watch = new ResizeObserver(() => setSize((n) => n + 1));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  const frame = useRef(0);
  useLayoutEffect(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      const begun = performance.now();
      picture.current.draw(order, colours, view, inks(theme.value), selected);
      performance.measure("treeroll-draw", { start: begun, end: performance.now() });
      canvas.current.dataset.drawn = `${order.count}`;
    });
  }, [order, colours, view, selected, size, theme.value]);
  const live = useRef(null);
  live.current = { order, view };
  useEffect(() => {
    const onWheel = (event) => {
      event.preventDefault();
      const box = canvas.current.getBoundingClientRect();
      const [x, y] = picture.current.point(event.clientX - box.left, event.clientY - box.top, live.current.view);
      setView(zoomed(live.current.view, Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.005), x, y, live.current.order));
    };
    const onKey = (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
      if (event.key === "0") setView(wholeView(live.current.order));
      if (event.key === "+" || event.key === "=") zoomBy(0.6);
      if (event.key === "-") zoomBy(1 / 0.6);
    };
    canvas.current.addEventListener("wheel", onWheel, { passive: false });
    addEventListener("keydown", onKey);
    const node = canvas.current;
    return () => { node.removeEventListener("wheel", onWheel); removeEventListener("keydown", onKey); };
  }, []);
  const zoomBy = (factor) => {
    const { order: tree, view: seen } = live.current;
    setView(zoomed(seen, factor, (seen.x0 + seen.x1) / 2, (seen.y0 + seen.y1) / 2, tree));
  };
  const drag = useRef(null);
  const spot = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const onDown = (event) => {
    canvas.current.setPointerCapture(event.pointerId);
    drag.current = { from: spot(event), view, moved: false };
  };
  const onMove = (event) => {
    const [x, y] = spot(event);
    if (drag.current) {
      const { from, view: seen } = drag.current;
      if (Math.hypot(x - from[0], y - from[1]) > 4) drag.current.moved = true;
      if (!drag.current.moved) return;
      const box = picture.current.box;
      const dx = ((x - from[0]) / box.width) * (seen.x1 - seen.x0), dy = ((y - from[1]) / box.height) * (seen.y1 - seen.y0);
      setView(clamped({ x0: seen.x0 - dx, x1: seen.x1 - dx, y0: seen.y0 - dy, y1: seen.y1 - dy }, order));
      return;
    }
    const place = order.at(...picture.current.point(x, y, view));
    setHover(place < 0 ? null : { place, x, y });
  };
  const onUp = (event) => {
    const moved = drag.current?.moved;
    drag.current = null;
    if (moved) return;
    const place = order.at(...picture.current.point(...spot(event), view));
    if (place >= 0) select(place);
  };
  const onDouble = (event) => {
    const place = order.at(...picture.current.point(...spot(event), view));
    if (place < 0) return setView(wholeView(order));
    let far = order.stop[place];
    for (let i = place; i < order.end[place]; i++) if (order.stop[i] > far) far = order.stop[i];
    setView(clamped({ x0: order.start[place], x1: far, y0: order.top[place], y1: order.top[place] + order.lanes[place] }, order));
  };
  const zoomedIn = view.x1 - view.x0 < order.tokens || view.y1 - view.y0 < order.paths;
  return html`<section class="panel lanes"><div class="lanes-head"><label class="inline">colour <select value=${wanted} onChange=${(event) => go(withQuery({ colour: event.target.value }), { replace: true })}>
        ${modes.map((name) => html`<option value=${name}>${MODES[name].name}</option>`)}</select></label>
      <${Legend} colours=${colours} order=${order} />
      <span class="spring"></span>
      ${!done && html`<span class="muted">${whole(order.count)} of ${whole(header.nodes)} nodes</span>`}
      ${header.n_scored > 1 && html`<${Link} href=${withQuery({ compare: where.value.query.get("compare") ? "" : "1" })} class="button" title="b">best vs worst<//>`}
      <span class="buttons"><button onClick=${() => zoomBy(0.6)} aria-label="zoom in">+</button><button onClick=${() => zoomBy(1 / 0.6)} aria-label="zoom out">−</button><button disabled=${!zoomedIn} onClick=${() => setView(wholeView(order))} title="0">whole</button></span></div>
    <div class="canvas-wrap"><canvas ref=${canvas} class="lanes-canvas" tabindex="0" role="img" aria-label=${`Tree of ${order.paths} paths by token position; the grid below has the same as rows.`}
      onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerLeave=${() => setHover(null)} onDblClick=${onDouble}></canvas>
      ${hover && html`<${Tip} order=${order} hover=${hover} colours=${colours} words=${header.words} width=${canvas.current.clientWidth} />`}</div></section>`;
}

function Tip({ order, hover, colours, words, width }) {
  const i = order.number[hover.place];
  const { nodes } = order;
  const side = hover.x > width - 240 ? { right: `${width - hover.x + 12}px` } : { left: `${hover.x + 14}px` };
  const path = order.path(hover.place) || "prompt";
  return html`<div class="tip" style=${{ top: `${hover.y + 12}px`, ...side }}><b>${path.length > 30 ? `…${path.slice(-28)}` : path}</b>
    <div>${whole(nodes.tokens[i])} tok from ${whole(nodes.token_start[i])}, ${counted(order.lanes[hover.place], "path")}</div>
    <div>${Number.isNaN(nodes.value[i]) ? "unscored" : `reward ${fixed(nodes.value[i], 3)}, advantage ${signed(nodes.advantage[i], 3)}`}</div>
    ${told(colours, hover.place) && colours.spec.name !== "advantage" && html`<div>${colours.spec.name} ${told(colours, hover.place)}</div>`}
    <div class="muted">${plain(words.status[nodes.status[i]] ?? "")} ${plain(words.stop[nodes.stop[i]] ?? "")}${nodes.leaves[i] || !hover.place ? "" : "in no sample"}</div></div>`;
}

function Legend({ colours, order }) {
  const canvas = useRef(null);
  const { spec, table } = colours;
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const context = canvas.current.getContext("2d");
    for (let x = 0; x < 128; x++) {
      context.fillStyle = `rgb(${table[6 * x]},${table[6 * x + 1]},${table[6 * x + 2]})`;
      context.fillRect(x, 0, 1, 10);
    }
  }, [colours]);
  let wasted = false;
  for (let i = 1; i < order.nodes.count && !wasted; i++) wasted = !order.nodes.leaves[i];
  const hatched = wasted && html`<span class="key"><span class="swatch hatched"></span>in no sample</span>`;
  if (spec.words) {
    return html`<span class="legend">${colours.words.slice(0, 8).map((word, k) => word && html`<span class="key"><span class="swatch" style=${{ background: colours.colours[k % colours.colours.length] }}></span>${plain(word)}</span>`)}${hatched}</span>`;
  }
  const value = (x) => (spec.name === "waste" ? "" : (spec.sign && x > 0 ? "+" : "") + x.toFixed(spec.digits));
  return html`<span class="legend" title=${spec.title}><span class="muted">${spec.low}</span> <span class="tabular">${value(colours.low)}</span><canvas ref=${canvas} width="128" height="10" aria-hidden="true"></canvas><span class="tabular">${value(colours.high)}</span> <span class="muted">${spec.high}</span>${hatched}</span>`;
}

// The page of one tree: header, picture, grid, details. Nodes come in chunks; the first are drawn at once.
import { html, useEffect, useMemo, useRef, useState } from "./ui.js";
import { ask, useAnswer } from "./api.js";
import { go, Link, place as where, withQuery } from "./router.js";
import { Answered, Crumb, Empty, Head, Said, State, Trouble } from "./parts.js";
import { counted, fixed, lasting, percent, plain, whole } from "./format.js";
import { Nodes, Order, Stretches } from "./shape.js";
import { Lanes } from "./lanesview.js";
import { TreeMap } from "./treemap.js";
import { Grid } from "./grid.js";
import { Find, nextFound, useFound } from "./find.js";
import { Compare, Details } from "./details.js";
import { Save } from "./saving.js";

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
  const other = order && query.get("with") ? order.find(query.get("with") === "root" ? "" : query.get("with")) : -1;
  const two = useMemo(() => (done && other >= 0 && selected >= 0 && other !== selected ? [other, selected] : null), [done, other, selected]);
  const scored = header.n_scored > 0;
  const found = useFound(header, order);
  const hits = useMemo(() => new Set(stretches ? found.places.map((place) => stretches.of[place]) : []), [found.places, stretches]);
  const state = useRef(null);
  state.current = { order, selected, select, places: found.places };
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
      <${Save} path=${`/trees/${encodeURIComponent(header.tree_id)}/export`} name=${`tree-${header.tree_id.slice(0, 16)}.jsonl`} label="export" title="JSON lines, for treeroll inspect --from and treeroll dashboard --from" /><//>
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
        ${order ? html`<${query.get("view") === "map" ? TreeMap : Lanes} order=${order} header=${header} selected=${selected} select=${select} done=${done} />
          ${other >= 0 && !two && html`<p class="notice">Select the block or row to compare <b>${plain(order.path(other) || "prompt")}</b> with. <${Link} href=${withQuery({ with: "" })} class="button">Leave it<//></p>`}
          <${Find} found=${found} selected=${selected} select=${select} />
          <${Grid} order=${order} stretches=${stretches} hits=${hits} words=${header.words} selected=${selected} select=${select} turn=${turn} bump=${bump} />`
          : !error && html`<p class="waiting" aria-busy="true">reading the nodes …</p>`}</div>
      <aside class="panel details" aria-label="selected node">${order && selected >= 0
        ? html`<${Details} id=${header.tree_id} order=${order} place=${selected} select=${select} words=${header.words} />`
        : html`<h2>Prompt</h2><pre class="text" tabindex="0"><${Said} text=${header.prompt} lines=${true} /></pre>
          ${header.prompt.length < header.prompt_chars && html`<p class="muted">First ${whole(header.prompt.length)} of ${whole(header.prompt_chars)} characters; the text of the first block has all.</p>`}
          ${header.answer !== null && header.answer !== undefined && html`<h3>Answer</h3><pre class="text" tabindex="0"><${Said} text=${header.answer} lines=${true} /></pre>`}
          <p class="muted">Select a block or a row for its text and figures.</p>`}</aside></div>`}
    ${pair && pair[0] >= 0 && html`<${Compare} id=${header.tree_id} order=${order} pair=${pair} names=${["Best", "Worst"]} close=${() => go(withQuery({ compare: "" }), { replace: true })} select=${select} />`}
    ${two && !pair && html`<${Compare} id=${header.tree_id} order=${order} pair=${two} names=${two.map((place) => order.path(place) || "prompt")} close=${() => go(withQuery({ with: "" }), { replace: true })} select=${select} />`}`;
}

/** How the tree grew, in a sentence. */
function story(reasons, header) {
  const names = { initial: "initial branch", fork: "fork", fallback: "fallback" };
  const parts = Object.entries(names).map(([name, noun]) => [reasons[name] ?? 0, noun]).filter(([count, noun]) => count || noun !== "fallback")
    .map(([count, noun]) => `${whole(count)} ${noun}${count === 1 ? "" : noun === "initial branch" ? "es" : "s"}`);
  const end = header.stop_reason ? `it was cut by ${plain(header.stop_reason)}` : header.status === "complete" ? "it ended by itself" : `it ended ${plain(header.status)}`;
  return `${parts.join(", ")}; ${end}.`;
}

/** The place of the next node as deep as this one, or of the one before it; -1 for none. */
function sameDepth(order, at, step) {
  for (let place = at + step; place >= 0 && place < order.count; place += step) if (order.depth[place] === order.depth[at]) return place;
  return -1;
}

function useKeys(state) {
  useEffect(() => {
    const onKey = (event) => {
      const { order, selected, select, places } = state.current;
      if (!order || event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const at = Math.max(0, selected);
      const step = {
        ArrowLeft: () => order.up[at],
        ArrowRight: () => (order.children[at] ? at + 1 : -1),
        ArrowUp: () => at - 1,
        ArrowDown: () => (selected < 0 ? 0 : at + 1 < order.count ? at + 1 : -1),
        "[": () => order.siblings(at)[order.siblings(at).indexOf(at) - 1] ?? -1,
        "]": () => order.siblings(at)[order.siblings(at).indexOf(at) + 1] ?? -1,
        "{": () => sameDepth(order, at, -1),
        "}": () => sameDepth(order, at, 1),
        n: () => nextFound(places, selected, 1),
        N: () => nextFound(places, selected, -1),
        f: () => { document.querySelector("#find")?.focus(); return -1; },
      }[event.key];
      if (event.key === "b") go(withQuery({ compare: where.value.query.get("compare") ? "" : "1" }), { replace: true });
      if (event.key === "Escape") go(where.value.query.get("node") !== null ? withQuery({ node: "", compare: "", with: "" }) : "/trees", { replace: where.value.query.get("node") !== null });
      if (!step || event.target.closest("pre")) return;
      event.preventDefault();
      const to = step();
      if (to >= 0) select(to);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

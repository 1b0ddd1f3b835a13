// The map of a tree: convex cells whose area is tokens, nested as the forks are. What is small stands with its parent.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { go, place as where, withQuery } from "./router.js";
import { theme } from "./theme.js";
import { counted, percent, whole } from "./format.js";
import { contains } from "./polygons.js";
import { figures, layout, tokensBelow } from "./cells.js";
import { inWords } from "./lanes.js";
import { draw } from "./celldraw.js";
import { Tools, inks, useColours } from "./pictures.js";

export function TreeMap({ order, header, selected, select, done }) {
  const canvas = useRef(null);
  const [size, setSize] = useState([0, 0]);
  const [hover, setHover] = useState(null);
  const painted = useColours(order, header);
  const { colours } = painted;
  const asked = where.value.query.get("in");
  const root = Math.max(0, asked ? order.find(asked) : 0);
  const sums = useMemo(() => tokensBelow(order), [order]);
  const { cells, frames } = useMemo(() => {
    const begun = performance.now();
    const made = size[0] ? layout(order, sums, root, ...size) : { cells: [], frames: [] };
    performance.measure("treeroll-map", { start: begun, end: performance.now() });
    return made;
  }, [order, sums, root, ...size]);
  const told = useMemo(() => cells.map((cell) => figures(order, colours, cell)), [cells, colours]);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => setSize([canvas.current.clientWidth, canvas.current.clientHeight]));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  const marked = useMemo(() => (selected < 0 ? -1 : cells.findIndex(({ ranges }) => ranges.some((from, k) => k % 2 === 0 && selected >= from && selected < ranges[k + 1]))), [cells, selected]);
  const frame = useRef(0);
  useLayoutEffect(() => {
    cancelAnimationFrame(frame.current);
    if (!size[0]) return;
    frame.current = requestAnimationFrame(() => {
      draw(canvas.current, cells, frames, told, colours, inks(theme.value), marked);
      canvas.current.dataset.drawn = `${order.count}`;
      canvas.current.dataset.cells = `${cells.length}`;
    });
  }, [cells, told, marked, theme.value]);
  const enter = (place) => { if (order.children[place]) go(withQuery({ in: order.path(place), node: order.path(place) || "root" }), { replace: true }); };
  const leave = () => {
    let up = order.up[root];
    while (up > 0 && order.children[order.up[up]] === 1) up = order.up[up];
    go(withQuery({ in: up > 0 ? order.path(up) : "" }), { replace: true });
  };
  const act = useRef(null);
  act.current = { in: () => enter(Math.max(0, selected)), out: leave, whole: () => go(withQuery({ in: "" }), { replace: true }) };
  useEffect(() => {
    const onKey = (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
      const wanted = { "+": "in", "=": "in", "-": "out", 0: "whole" }[event.key];
      if (wanted) act.current[wanted]();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const under = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    return { k: cells.findIndex((cell) => contains(cell.polygon, x, y)), x, y };
  };
  const onMove = (event) => { const at = under(event); setHover(at.k < 0 ? null : at); };
  const onClick = (event) => { const { k } = under(event); if (k >= 0) select(cells[k].place); };
  const onDouble = (event) => { const { k } = under(event); if (k >= 0) enter(cells[k].place); };
  const inner = selected >= 0 && order.children[selected] > 0 && selected !== root;
  return html`<section class="panel lanes"><${Tools} order=${order} header=${header} done=${done} painted=${painted}>
      <button disabled=${!inner} onClick=${() => act.current.in()} title="into the selected  +">into</button><button disabled=${!root} onClick=${leave} title="out of this part  -">out</button><button disabled=${!root} onClick=${() => act.current.whole()} title="0">whole</button><//>
    ${root > 0 && html`<p class="muted">Below <span class="mono">${tail(order.path(root))}</span>: ${whole(order.end[root] - root)} of ${counted(order.count, "node")}, ${percent(sums[root], sums[0])} of the tokens.</p>`}
    <div class="canvas-wrap"><canvas ref=${canvas} class="lanes-canvas tree-map" tabindex="0" role="img" aria-label=${`Map of ${counted(cells.length, "part")} of the tree, as large as their tokens; the grid below has the same as rows.`}
      onPointerMove=${onMove} onPointerLeave=${() => setHover(null)} onClick=${onClick} onDblClick=${onDouble}></canvas>
      ${hover && cells[hover.k] && html`<${Tip} order=${order} cell=${cells[hover.k]} told=${told[hover.k]} hover=${hover} colours=${colours} width=${size[0]} />`}</div></section>`;
}

const tail = (path) => (path.length > 30 ? `…${path.slice(-28)}` : path || "prompt");

function Tip({ order, cell, told, hover, colours, width }) {
  const side = hover.x > width - 240 ? { right: `${width - hover.x + 12}px` } : { left: `${hover.x + 14}px` };
  const what = cell.kind === "stretch" ? "until the next fork or its end" : cell.kind === "more" ? `${counted(cell.parts, "lighter branch").replace("branchs", "branches")} of this fork` : `all ${counted(order.end[cell.place] - cell.place, "node")} from here`;
  const said = colours.spec.name === "waste" ? "" : inWords(colours, told.raw);
  return html`<div class="tip" style=${{ top: `${hover.y + 12}px`, ...side }}><b>${tail(order.path(cell.place))}</b>
    <div>${what}</div><div>${whole(told.tokens)} tok${told.waste > 0 ? `, ${percent(told.waste, 1)} in no sample` : ""}</div>
    ${colours.spec.name !== "waste" && html`<div>${said ? `${colours.spec.name} ${said}${cell.kind === "stretch" ? "" : ", mean by tokens"}` : "unscored"}</div>`}</div>`;
}

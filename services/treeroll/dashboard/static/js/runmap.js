// The map of a run: its tasks, and in them their trees, as large as their tokens.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { go, Link } from "./router.js";
import { theme } from "./theme.js";
import { Answered, Said } from "./parts.js";
import { counted, fixed, percent, plain, whole } from "./format.js";
import { MODES, scaled } from "./colours.js";
import { contains, divide } from "./polygons.js";
import { draw } from "./celldraw.js";
import { Legend, inks } from "./pictures.js";

const MOST = 500;
const COLOURS = {
  value: (tree) => tree.mean_reward, spread: (tree) => tree.spread, waste: (tree) => (tree.wasted_tokens === null || !tree.spent ? null : tree.wasted_tokens / tree.spent),
};

export function RunMap({ run }) {
  const answer = useAnswer(`/trees?${new URLSearchParams({ run: run.run_id, order: "tokens", limit: MOST })}`);
  useRefresh(answer, 5);
  if (answer.data && !answer.data.items.some((tree) => tree.spent > 0)) return null;
  return html`<section class="panel lanes"><${Answered} answer=${answer} what="trees">${(data) => html`<${Drawn} run=${run} data=${data} />`}<//></section>`;
}

/** Frames of tasks and cells of trees in a box; tasks by name, so that they stay where they are. */
function layout(trees, width, height) {
  const tasks = new Map();
  for (const tree of trees) if (tree.spent > 0) tasks.set(tree.task_id, [...(tasks.get(tree.task_id) ?? []), tree]);
  const names = [...tasks.keys()].sort();
  const weights = names.map((name) => tasks.get(name).reduce((sum, tree) => sum + tree.spent, 0));
  const cells = [], frames = [];
  divide([0, 0, width, 0, width, height, 0, height], weights, (k, polygon) => {
    frames.push({ polygon, level: 2 });
    const own = tasks.get(names[k]).sort((a, b) => (a.tree_id < b.tree_id ? -1 : 1));
    divide(polygon, own.map((tree) => tree.spent), (n, piece) => cells.push({ polygon: piece, tree: own[n] }));
  });
  return { cells, frames, tasks: names.length };
}

function Drawn({ run, data }) {
  const canvas = useRef(null);
  const [size, setSize] = useState([0, 0]);
  const [hover, setHover] = useState(null);
  const [mode, setMode] = useState("value");
  const { cells, frames, tasks } = useMemo(() => layout(data.items, ...size), [data, ...size]);
  const colours = useMemo(() => scaled(Float32Array.from(cells, ({ tree }) => COLOURS[mode](tree) ?? NaN), mode, theme.value), [cells, mode, theme.value]);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => setSize([canvas.current.clientWidth, canvas.current.clientHeight]));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (!size[0]) return;
    const told = cells.map(({ tree }, k) => ({ tokens: tree.spent, waste: mode === "waste" ? COLOURS.waste(tree) ?? 0 : 0, level: colours.level[k], raw: colours.raw[k] }));
    draw(canvas.current, cells, frames, told, colours, inks(theme.value));
    canvas.current.dataset.cells = `${cells.length}`;
  }, [cells, colours, ...size]);
  const under = (event) => {
    const box = canvas.current.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    const cell = cells.find(({ polygon }) => contains(polygon, x, y));
    return cell ? { cell, x, y } : null;
  };
  const open = (event) => { const at = under(event); if (at) go(`/trees/${encodeURIComponent(at.cell.tree.tree_id)}`); };
  const left = data.matching - data.items.length;
  return html`<div class="lanes-head"><h2>Trees by task</h2><label class="inline">colour <select value=${mode} onChange=${(event) => setMode(event.target.value)}>
        ${Object.keys(COLOURS).map((name) => html`<option value=${name}>${MODES[name].name}</option>`)}</select></label><${Legend} colours=${colours} /><span class="spring"></span>
      <span class="muted">${left ? `the largest ${whole(data.items.length)} of ${counted(data.matching, "tree")}` : cells.length < data.matching ? `${whole(cells.length)} of ${counted(data.matching, "tree")}, others have no tokens` : `${counted(cells.length, "tree")} of ${counted(tasks, "task")}`}; area: tokens</span>
      <${Link} href=${`/trees?run=${encodeURIComponent(run.run_id)}&order=tokens`} class="button">as a list<//></div>
    <div class="canvas-wrap"><canvas ref=${canvas} class=${`run-map tree-map ${cells.length < 8 ? "few" : ""}`} role="img" aria-label=${`Map of ${counted(cells.length, "tree")}, as large as their tokens; the list of trees has the same as rows.`}
      onPointerMove=${(event) => setHover(under(event))} onPointerLeave=${() => setHover(null)} onClick=${open}></canvas>
      ${hover && html`<${Tip} ...${hover} width=${size[0]} />`}</div>`;
}

function Tip({ cell: { tree }, x, y, width }) {
  const side = x > width - 240 ? { right: `${width - x + 12}px` } : { left: `${x + 14}px` };
  return html`<div class="tip" style=${{ top: `${y + 12}px`, ...side }}><b><${Said} text=${tree.task_id} /></b> <span class="mono">${plain(tree.tree_id.slice(0, 8))}</span>
    <div>${whole(tree.spent)} tok${tree.wasted_tokens ? `, ${percent(tree.wasted_tokens, tree.spent)} in no sample` : ""}</div>
    <div>${tree.mean_reward === null ? "unscored" : `reward ${fixed(tree.mean_reward)}${tree.spread === 0 ? ", all equal: no signal" : `, ${fixed(tree.min_reward)} to ${fixed(tree.max_reward)}`}`}</div></div>`;
}

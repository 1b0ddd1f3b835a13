// The grid: a row per stretch between forks, as many in the document as are seen.
import { html, useLayoutEffect, useMemo, useRef, useState } from "./ui.js";
import { fixed, lasting, plain, signed, whole } from "./format.js";

const ROW = 24;
const SPARE = 8;

export function Grid({ order, stretches, hits, words, selected, select, turn, bump }) {
  const scroller = useRef(null);
  const [from, setFrom] = useState(0);
  const [tall, setTall] = useState(400);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(([entry]) => setTall(entry.contentRect.height));
    watch.observe(scroller.current);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    if (selected < 0) return;
    const row = stretches.reveal(stretches.of[selected]);
    const place = row * ROW;
    const box = scroller.current;
    if (place < box.scrollTop || place > box.scrollTop + box.clientHeight - 3 * ROW) box.scrollTop = Math.max(0, place - box.clientHeight / 2);
    bump();
  }, [selected, stretches]);
  const first = Math.max(0, Math.floor(from / ROW) - SPARE);
  const last = Math.min(stretches.shown, Math.ceil((from + tall) / ROW) + SPARE);
  const rows = [];
  for (let row = first; row < last; row++) rows.push(stretches.rows[row]);
  const chosen = selected < 0 ? -1 : stretches.of[selected];
  const columns = useMemo(() => columnsOf(order, words), [order, words]);
  const wide = 120 + columns.reduce((sum, column) => sum + column.size + 5, 24);
  const layout = { gridTemplateColumns: `minmax(120px, 1fr) ${columns.map((column) => `${column.size}px`).join(" ")}`, minWidth: `${wide}px` };
  return html`<div class="grid" ref=${scroller} onScroll=${(event) => setFrom(event.target.scrollTop)} role="treegrid" tabindex="0"
      aria-label="stretches of the tree" aria-rowcount=${stretches.shown + 1}>
    <div class="grid-head" role="row" aria-rowindex="1" style=${layout}><span role="columnheader" class="path" title="sibling indices from the last fork down">path</span>
      ${columns.map((column) => html`<span role="columnheader" class=${column.cls ?? "n"} title=${column.title}>${column.label}</span>`)}</div>
    <div class="grid-body" role="presentation" style=${{ height: `${stretches.shown * ROW}px`, minWidth: `${wide}px` }}><div class="grid-rows" role="presentation" style=${{ transform: `translateY(${first * ROW}px)` }}>
      ${rows.map((s, k) => html`<${Row} key=${s} s=${s} row=${first + k} order=${order} stretches=${stretches} columns=${columns} layout=${layout} chosen=${s === chosen} hit=${hits.has(s)}
          closed=${stretches.closed[s]} select=${select} bump=${bump} turn=${turn} />`)}</div></div></div>`;
}

/** Columns of the grid: {label, title, size, cls, cell}; some only where they tell rows apart. */
export function columnsOf(order, words) {
  const { nodes } = order;
  const measured = nodes.entropy.some((one) => !Number.isNaN(one));
  const several = (name) => words[name].filter(Boolean).length > 1;
  return [
    { label: "tok", title: "tokens of the stretch", size: 46, cell: (r) => whole(r.tokens) },
    { label: "logprob", title: "mean per token, nats", size: 54, cell: (r) => fixed(r.logprob) },
    { label: "lowest", title: "lowest logprob of a token, nats", size: 52, cell: (r) => fixed(r.lowest) },
    measured && { label: "entropy", title: "mean per token, nats", size: 54, cell: (r) => fixed(r.entropy) },
    { label: "reward", title: "mean of the scored leaves below", size: 50, cell: (r) => fixed(nodes.value[r.i]) },
    { label: "advantage", title: "mean of the scored leaves below", size: 66, cell: (r) => {
      const value = nodes.advantage[r.i];
      return html`<span class=${value > 0 ? "better" : value < 0 ? "worse" : ""}>${signed(value)}</span>`;
    } },
    { label: "leaves", title: "complete leaves at or below", size: 46, cell: (r) => whole(nodes.leaves[r.i]) },
    several("version") && { label: "weights", title: "oldest version that made it", size: 52, cell: (r) => words.version[nodes.version[r.i]] ?? "–" },
    several("replica") && { label: "replica", size: 60, cls: "w", cell: (r) => plain(words.replica[nodes.replica[r.i]] ?? "") },
    { label: "reason", title: "why its branch was started", size: 62, cls: "w", cell: (r) => plain(words.reason[nodes.reason[r.first]] ?? "") },
    { label: "time", title: "since its branch's request was made", size: 48, cell: (r) => lasting(nodes.seconds[r.i]) },
    { label: "end", title: "how it ended", size: 90, cls: "w", cell: (r) => (r.inner ? "" : plain(`${words.status[nodes.status[r.i]] ?? ""} ${words.stop[nodes.stop[r.i]] ?? ""}`.trim())) },
  ].filter(Boolean);
}

/** Figures of a stretch. */
export function figures(order, stretches, s) {
  const { nodes } = order;
  let tokens = 0, sum = 0, lowest = Infinity, entropy = 0, known = 0;
  for (let place = stretches.first[s]; place <= stretches.last[s]; place++) {
    const i = order.number[place];
    tokens += nodes.tokens[i];
    if (!Number.isNaN(nodes.lp_sum[i])) { sum += nodes.lp_sum[i]; known += nodes.tokens[i]; lowest = Math.min(lowest, nodes.lp_min[i]); }
    entropy += nodes.entropy[i] * nodes.tokens[i];
  }
  return {
    tokens, logprob: known ? sum / known : NaN, lowest: known ? lowest : NaN, entropy: tokens ? entropy / tokens : NaN,
    i: order.number[stretches.last[s]], first: order.number[stretches.first[s]], inner: stretches.end[s] > s + 1,
  };
}

function Row({ s, row, order, stretches, columns, layout, chosen, hit, closed, select, bump }) {
  const { nodes } = order;
  const last = stretches.last[s];
  const f = figures(order, stretches, s);
  const level = order.forks[stretches.first[s]];
  const steps = order.path(last).split(".");
  const above = order.up[stretches.first[s]];
  const own = above < 0 ? "prompt" : steps.slice(order.depth[above]).join(".");
  const name = own.length > 9 ? `${own.slice(0, 3)}…${own.slice(-3)}` : own;
  const toggle = (event) => { event.stopPropagation(); stretches.toggle(s); bump(); };
  return html`<div class=${`grid-row ${chosen ? "chosen" : ""} ${hit ? "hit" : ""} ${nodes.leaves[f.i] || !last ? "" : "waste"}`} style=${layout} role="row" aria-rowindex=${row + 2} aria-level=${level + 1}
      aria-expanded=${f.inner ? !closed : undefined} aria-selected=${chosen} onClick=${() => select(last)}>
    <span class="path" role="gridcell" style=${{ paddingLeft: `${Math.min(level, 24) * 11}px` }}>${f.inner
      ? html`<button class="toggle" aria-label=${closed ? "open" : "close"} tabindex="-1" onClick=${toggle}>${closed ? "▸" : "▾"}</button>` : html`<span class="dot"></span>`}<b>${plain(name)}</b>${hit && html`<span class="sr">, has the text</span>`}</span>
    ${columns.map((column) => html`<span class=${column.cls ?? "n"} role="gridcell">${column.cell(f)}</span>`)}</div>`;
}

// Small parts of pages: texts, panels and their states, tables, chips.
import { html, useRef } from "./ui.js";
import { useToken } from "./api.js";
import { plain } from "./format.js";
import { Link, go } from "./router.js";

/** Text of somebody else, apart from ours in direction, with all that is not plain written out. */
export const Said = ({ text, lines = false, cls }) => html`<bdi class=${cls}>${plain(text, lines)}</bdi>`;

/** What went wrong as a sentence, with what to do. */
export function Trouble({ error, retry }) {
  if (error.code === 401) return html`<${Locked} error=${error} />`;
  const advice = error.code === 404 ? "It may have expired or been deleted, or the address is mistyped."
    : error.code === 0 ? "Start it again and open the address that it prints." : "";
  return html`<div class="trouble" role="alert">
    <p><strong>${error.code === 404 ? "Not here" : "Not to be had"}</strong> <${Said} text=${error.message} /></p>
    ${advice && html`<p class="muted">${advice}</p>`}
    ${retry && html`<p><button onClick=${retry}>Try again</button></p>`}
  </div>`;
}

/** Who is let in with another token only. */
function Locked({ error }) {
  const field = useRef(null);
  const open = (event) => { event.preventDefault(); useToken(field.current.value); };
  return html`<div class="trouble" role="alert"><p><strong>Locked</strong> <${Said} text=${error.message} /></p>
    <form class="filters" onSubmit=${open}><label class="field"><span>token</span><input ref=${field} type="password" autocomplete="current-password" /></label><button>Open</button></form></div>`;
}

/** A panel's content once there is an answer, and what there is to say until then; with `title`, the heading of a page. */
export function Answered({ answer, children, what = "page", title }) {
  const head = title && html`<${Head} title=${html`<${Said} text=${title} />`} />`;
  if (answer.error) return html`${head}<${Trouble} error=${answer.error} retry=${answer.retry} />`;
  if (!answer.data) return html`${head}<p class="waiting" aria-busy="true">reading the ${what} …</p>`;
  return children(answer.data);
}

export const Empty = ({ title, children }) => html`<div class="empty"><p><strong>${title}</strong></p>${children}</div>`;

const TONES = { complete: "good", partial: "warn", failed: "bad", filtered: "mute", ended: "mute", ready: "good", dead: "bad", lost: "bad", running: "good", growing: "live", open: "live" };

/** A state in a word; colour only underlines it. */
export const State = ({ word, tone }) => html`<span class=${`state ${tone ?? TONES[word] ?? "mute"}`}>${plain(word)}</span>`;

/** Name and value, side by side. */
export const Facts = ({ rows }) => html`<dl class="facts">${rows.filter((row) => row[1] !== null && row[1] !== undefined && row[1] !== "").map(
  ([name, value, title]) => html`<div><dt title=${title}>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** A figure with its name, large. */
export const Figure = ({ name, value, note, tone }) => html`<div class=${`figure ${tone ?? ""}`}>
  <span class="name">${name}</span><span class="value">${value}</span>${note && html`<span class="note">${note}</span>`}</div>`;

/** A share as a bar; the figure stands beside it. */
export const Bar = ({ share, tone }) => html`<span class=${`bar ${tone ?? ""}`} aria-hidden="true">
  <span style=${{ width: `${Math.max(0, Math.min(1, share || 0)) * 100}%` }}></span></span>`;

/**
 * A table. Columns: {name, label, title, right, cell(row), order}; with `sort` {order, direction, set} their heads sort.
 * `href(row)` makes a whole row lead somewhere.
 */
export function Table({ columns, rows, sort, href, label, selected }) {
  return html`<div class="table-wrap" tabindex="0" role="region" aria-label=${label}><table class="list">
    <thead><tr>${columns.map((column) => html`<th class=${`${column.right ? "right" : ""} ${column.cls ?? ""}`} title=${column.title}
      aria-sort=${sort && column.order && sort.order === column.order ? (sort.direction === "asc" ? "ascending" : "descending") : undefined}>
      ${sort && column.order ? html`<button class="head" onClick=${() => sort.set(column.order)}>${column.label}${
        sort.order === column.order ? html`<span class="arrow">${sort.direction === "asc" ? "▲" : "▼"}</span>` : ""}</button>` : column.label}</th>`)}</tr></thead>
    <tbody>${rows.map((row, i) => html`<tr key=${row.key ?? i} class=${`${href ? "leads" : ""} ${selected === i ? "selected" : ""}`}
      onClick=${href && ((event) => { if (!event.target.closest("a, button") && !String(getSelection())) go(href(row)); })}>
      ${columns.map((column) => html`<td class=${`${column.right ? "right" : ""} ${column.cls ?? ""}`}>${column.cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

export const Head = ({ title, children }) => html`<header class="page-head"><h1>${title}</h1>${children}</header>`;

export const Crumb = ({ href, label }) => html`<${Link} href=${href} class="crumb">${label}<//>`;

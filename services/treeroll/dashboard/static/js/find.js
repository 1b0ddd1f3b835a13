// Finding a text in a tree: which nodes have it, and from one to the next in the order of the grid.
import { html, useEffect, useMemo, useRef } from "./ui.js";
import { useAnswer } from "./api.js";
import { go, place as where, withQuery } from "./router.js";
import { Said } from "./parts.js";
import { plain, whole } from "./format.js";

/** The text that the address asks for, and the places where it ends: {wanted, places, data, error}. */
export function useFound(header, order) {
  const wanted = where.value.query.get("find") ?? "";
  const path = wanted ? `/trees/${encodeURIComponent(header.tree_id)}/find?${new URLSearchParams({ q: wanted })}` : null;
  const answer = useAnswer(path);
  const data = path && answer.path === path ? answer.data : null; // not that of what was looked for before
  useEffect(() => { if (data) answer.retry(); }, [header.nodes]); // a tree that grows
  const places = useMemo(() => (data && order ? data.items.filter((number) => number < order.count).map((number) => order.place[number]).sort((a, b) => a - b) : []), [data, order]);
  return { wanted, places, data, error: answer.error };
}

/** The place after the selected one, or before it; round at the ends. -1 for none. */
export const nextFound = (places, selected, sign) => (sign > 0 ? places.find((one) => one > selected) ?? places[0] : places.findLast((one) => one < selected) ?? places.at(-1)) ?? -1;

export function Find({ found, selected, select }) {
  const timer = useRef(0);
  const draft = useRef(null); // what is being typed: a tree that grows is drawn meanwhile
  useEffect(() => () => clearTimeout(timer.current), []);
  const { wanted, places, data, error } = found;
  const ask = () => { clearTimeout(timer.current); const text = draft.current; draft.current = null; if (text !== null) go(withQuery({ find: text.trim() ? text : "" }), { replace: true }); };
  const typed = (event) => { draft.current = event.target.value; clearTimeout(timer.current); timer.current = setTimeout(ask, 300); };
  const step = (sign) => { const to = nextFound(places, selected, sign); if (to >= 0) select(to); };
  const onKey = (event) => {
    if (event.key === "Enter") { event.preventDefault(); if (draft.current === null) step(event.shiftKey ? -1 : 1); else ask(); }
    if (event.key === "Escape") { draft.current = null; clearTimeout(timer.current); go(withQuery({ find: "" }), { replace: true }); event.target.blur(); }
  };
  const matching = data?.matching ?? 0;
  return html`<div class="find" role="search"><input type="search" id="find" aria-label="find in the texts of this tree" placeholder="find in texts  f" maxlength="200" value=${draft.current ?? wanted} onInput=${typed} onKeyDown=${onKey} />
    ${wanted && html`<span class="muted" role="status">${error ? html`<span class="bad-text"><${Said} text=${error.message} /></span>` : !data ? "looking …"
      : !places.length ? "in no node" : `${places.includes(selected) ? `${whole(places.indexOf(selected) + 1)} of ` : ""}${whole(places.length)} ${places.length === 1 ? "node" : "nodes"}${matching > places.length ? ` shown, of ${whole(matching)}` : ""}`}</span>
      ${places.length > 0 && html`<button onClick=${() => step(-1)} title="N">‹ previous</button><button onClick=${() => step(1)} title="n">next ›</button>`}`}</div>`;
}

/** Somebody's text with what was looked for marked. */
export function Marked({ text }) {
  const wanted = (where.value.query.get("find") ?? "").toLowerCase();
  const lower = text.toLowerCase();
  if (!wanted || lower.length !== text.length) return html`<${Said} text=${text} lines=${true} />`;
  const parts = [];
  let at = 0;
  for (let next = lower.indexOf(wanted); next >= 0; next = lower.indexOf(wanted, at)) {
    parts.push(plain(text.slice(at, next), true), html`<mark>${plain(text.slice(next, next + wanted.length), true)}</mark>`);
    at = next + wanted.length;
  }
  return html`<bdi>${parts}${plain(text.slice(at), true)}</bdi>`;
}

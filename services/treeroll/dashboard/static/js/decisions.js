// Decisions: what the service decided of trees, newest first, each with its reason and a way to its node.
import { html, useEffect, useRef } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { Link, go, place, withQuery } from "./router.js";
import { Answered, Empty, Said, State, Table } from "./parts.js";
import { day, field as dated, meant, time, when, zone } from "./clock.js";
import { counted, plain } from "./format.js";
import { Saves } from "./saving.js";

export const FILTERS = ["kind", "run", "tree", "replica", "q", "since", "until", "before"];
const RESET = Object.fromEntries(FILTERS.map((name) => [name, ""]));
const KINDS = ["started", "forked", "granted", "masked", "ended_path", "let_end", "lost", "cut", "stopped", "ended"];
const SAVED = [["All", {}], ["Budget", { kind: "budget" }], ["Forks", { kind: "forked" }], ["Pruned", { kind: "pruned" }], ["Trouble", { kind: "trouble" }]];
const TONES = { lost: "bad", cut: "bad", stopped: "warn", masked: "warn", gap: "warn", forked: "live", started: "live", ended: "good" };
const named = (kind) => plain(kind).replaceAll("_", " ");
// To the millisecond: there are thousands a second.
const at = (seconds) => html`<span class="tabular"><span class="date">${day(seconds)} </span>${time(seconds)}<span class="muted">${time(seconds, 3).slice(8)}</span></span>`;

const columns = () => [
  { label: `when, ${zone()}`, cls: "when", cell: (one) => (one.at ? at(one.at) : "–"), title: "by the coordinator's clock" },
  { label: "kind", cls: "kind", cell: (one) => html`<${State} word=${named(one.kind)} tone=${TONES[one.kind]} />` },
  { label: "tree", cls: "tree-id", cell: (one) => (one.tree ? html`<${Link} href=${`/${one.page}`} class="mono">${plain(one.tree.slice(0, 8))}<//>` : "") },
  { label: "what", cls: "what", cell: (one) => html`<${Said} text=${one.sentence.charAt(0).toUpperCase() + one.sentence.slice(1)} />` },
];

/** @param {{limit?: number, brief?: boolean}} given `brief`: beside something else, with the way to all of them. */
export function Decisions({ limit = 100, brief = false }) {
  const query = place.value.query;
  const asked = new URLSearchParams({ limit });
  for (const name of FILTERS) if (query.get(name)) asked.set(name, query.get(name));
  const chosen = new URLSearchParams(asked);
  for (const name of ["limit", "before"]) chosen.delete(name);
  const answer = useAnswer(`/decisions?${asked}`);
  useRefresh(answer, query.get("before") || query.get("until") ? 3600 : 2); // what is over does not change
  return html`${!brief && html`<${Filters} query=${query} />`}
    <${Answered} answer=${answer} what="decisions">${(data) => html`${data.missing.map((why) => html`<p class="notice warn"><${Said} text=${why} /></p>`)}
      ${data.items.length ? html`<section class="panel flush events"><${Table} label="decisions" columns=${columns()} rows=${data.items.map((one) => ({ ...one, key: one.id }))} href=${(one) => `/${one.page}`} /></section>`
      : html`<${Nothing} data=${data} query=${query} />`}
      <p class="list-foot">${data.items.length > 0 && html`<span>${counted(data.items.length, "decision")}${data.oldest_at ? html`<span class="muted">, kept back to ${when(data.oldest_at)}</span>` : ""}</span>`}
        ${query.get("before") && html`<${Link} href=${withQuery({ before: "" })} class="button">Newest<//>`}
        ${data.cursor && !brief && html`<${Link} href=${withQuery({ before: data.cursor })} class="button">${data.back_to ? "Look further back" : "Older"}<//>`}
        ${brief && html`<${Link} href=${withQuery({ log: "decisions" })} class="button">All of them, with filters<//>`}${data.items.length > 0 && !brief && html`<${Saves} list="decisions" query=${chosen} />`}</p>`}<//>`;
}

function Nothing({ data, query }) {
  const filtered = FILTERS.some((name) => query.get(name));
  if (data.back_to) return html`<${Empty} title=${`None since ${when(data.back_to)} matches.`} />`;
  if (!data.oldest_at) return html`<${Empty} title="No decision is logged here."><p class="muted">A service logs what it decides unless <code>store.events_mb</code> is 0.</p><//>`;
  return html`<${Empty} title=${filtered ? "No decision matches." : "No decision is kept."}><p class="muted">${filtered && html`<${Link} href=${withQuery(RESET)}>All decisions<//>. `}Kept back to ${when(data.oldest_at)}.</p><//>`;
}

function Filters({ query }) {
  const timer = useRef(0);
  const draft = useRef({}); // what is being typed: rows come meanwhile, and must not take it away
  useEffect(() => () => clearTimeout(timer.current), []);
  const typed = (name) => (event) => {
    clearTimeout(timer.current);
    draft.current[name] = event.target.value;
    timer.current = setTimeout(() => {
      const changes = Object.fromEntries(Object.entries(draft.current).map(([field, text]) => [field, text.trim()]));
      draft.current = {};
      go(withQuery({ ...changes, before: "" }), { replace: true });
    }, 300);
  };
  const upTo = (event) => {
    const seconds = meant(event.target.value);
    go(withQuery({ until: Number.isNaN(seconds) ? "" : Math.ceil(seconds) + 1, before: "" }), { replace: true });
  };
  const field = (name, label, cls) => html`<label class=${`field ${cls}`}><span>${label}</span><input type="search" value=${draft.current[name] ?? query.get(name) ?? ""} onInput=${typed(name)} /></label>`;
  const until = Number(query.get("until"));
  const kind = query.get("kind") ?? "";
  return html`<div class="saved" role="group" aria-label="saved searches">${SAVED.map(([name, wanted]) => html`<${Link} href=${withQuery({ kind: "", before: "", ...wanted })}
      class=${`tab ${kind === (wanted.kind ?? "") ? "on" : ""}`} aria-current=${kind === (wanted.kind ?? "") ? "true" : undefined}>${name}<//>`)}</div>
    <div class="filters">${field("q", "text", "search")}
      <label class="field"><span>kind</span><select value=${kind} onChange=${(event) => go(withQuery({ kind: event.target.value, before: "" }))}>
        ${[["", "all"], ...KINDS.map((one) => [one, named(one)]), ...(kind && !KINDS.includes(kind) ? [[kind, named(kind)]] : [])].map(([one, label]) => html`<option value=${one} selected=${one === kind}>${label}</option>`)}</select></label>
      ${field("run", "run", "")}${field("tree", "tree", "")}${field("replica", "replica", "")}
      <label class="field"><span>up to, ${zone(until || undefined)}</span><input type="datetime-local" step="1" value=${until ? dated(until) : ""} onChange=${upTo} /></label>
      ${FILTERS.some((name) => query.get(name)) && html`<${Link} href=${withQuery(RESET)} class="button clear">Clear<//>`}</div>`;
}

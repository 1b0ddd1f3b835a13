// Events: what happened to the fleet and the runs, newest first, each with where to look next; and what was decided of trees.
import { html } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { Link, go, place, withQuery } from "./router.js";
import { Answered, Empty, Head, Said, State, Table } from "./parts.js";
import { day, time, when, zone } from "./clock.js";
import { counted, plain, whole } from "./format.js";
import { Decisions } from "./decisions.js";
import { Saves } from "./saving.js";

const TONES = { replica_lost: "bad", broken: "bad", run_stopped: "warn", replica_judged: "warn", store_paused: "warn", store_filled: "warn", gap: "warn", took_over: "live", run_cancelled: "warn", replica_joined: "good" };
const named = (kind) => plain(kind).replaceAll("_", " ");
// Of each log that are shown where both are.
const FEW = 15;

const columns = () => [
  { label: `when, ${zone()}`, cls: "when", cell: (one) => (one.at ? html`<span class="tabular"><span class="date">${day(one.at)} </span>${time(one.at)}</span>` : "–"), title: "by the coordinator's clock" },
  { label: "kind", cls: "kind", cell: (one) => html`<${State} word=${named(one.kind)} tone=${TONES[one.kind]} />` },
  { label: "what", cls: "what", cell: (one) => html`<${Said} text=${one.sentence.charAt(0).toUpperCase() + one.sentence.slice(1)} />` },
  { label: "", cell: (one) => html`<${Link} href=${`/${one.page}`}>${plain(one.page.split(/[/?]/)[0])} →<//>` },
];

/** In a service both logs; at a moment the last of each; of results, decisions alone. */
export function Events({ about }) {
  const query = place.value.query;
  const results = about.kind === "results";
  const shown = results ? "decisions" : query.get("log") || (query.get("until") ? "both" : "events");
  const until = Number(query.get("until"));
  const tab = (log, label) => html`<${Link} href=${log === shown ? withQuery({}) : `/events?${new URLSearchParams({ log, ...(until ? { until } : {}) })}`} class=${`tab ${log === shown ? "on" : ""}`} aria-current=${log === shown ? "true" : undefined}>${label}<//>`;
  return html`<${Head} title="Events">${until ? html`<span class="muted">up to ${when(until)}</span> <${Link} href=${withQuery({ until: "", before: "" })} class="button">Up to now<//>` : ""}<//>
    ${!results && html`<div class="saved" role="group" aria-label="logs">${shown === "both" && tab("both", "At that time")}${tab("events", "Fleet and runs")}${tab("decisions", "Decisions")}</div>`}
    ${shown === "both" ? html`<h2>What happened</h2><${Happened} limit=${FEW} brief=${true} /><h2>What was decided</h2><${Decisions} limit=${FEW} brief=${true} />`
      : shown === "decisions" ? html`<${Decisions} />` : html`<${Happened} />`}`;
}

function Happened({ limit = 100, brief = false }) {
  const query = place.value.query;
  const asked = new URLSearchParams({ limit });
  const names = ["kind", "run", "replica", "until", "before"];
  for (const name of names) if (query.get(name)) asked.set(name, query.get(name));
  const chosen = new URLSearchParams(asked);
  for (const name of ["limit", "before"]) chosen.delete(name);
  const answer = useAnswer(`/events?${asked}`);
  useRefresh(answer, 2);
  const filtered = names.some((name) => query.get(name));
  return html`<${Answered} answer=${answer} what="events">${(data) => html`
      ${!brief && html`<div class="filters"><label>kind <${Choice} name="kind" value=${query.get("kind") ?? ""} options=${[["", "all"], ["incidents", "incidents"], ...Object.entries(data.kinds).map(([kind, count]) => [kind, `${named(kind)} (${whole(count)})`])]} /></label>
        <label>run <${Choice} name="run" value=${query.get("run") ?? ""} options=${[["", "all"], ...data.runs.map((run) => [run, plain(run)])]} /></label>
        <span class="muted">${filtered ? `${whole(data.matching)} of ${counted(data.total, "event")}` : counted(data.total, "event")}</span></div>`}
      ${data.items.length ? html`<section class="panel flush events"><${Table} label="events" columns=${columns()} rows=${data.items.map((one) => ({ ...one, key: one.id }))} href=${(one) => `/${one.page}`} /></section>
        ${brief ? html`<p><${Link} href=${withQuery({ log: "events" })} class="button">All of them, with filters<//></p>` : html`<p class="list-foot">${data.cursor && html`<${Link} href=${withQuery({ before: data.cursor })} class="button">Older<//>`}<${Saves} list="events" query=${chosen} /></p>`}`
      : html`<${Empty} title=${filtered ? "No event matches." : "Nothing has happened yet."}><p class="muted">${filtered ? html`<${Link} href="/events">All ${counted(data.total, "event")}<//>` : "What happens to replicas, runs, weights and the store is told here."}</p><//>`}`}<//>`;
}

const Choice = ({ name, value, options }) => html`<select value=${value} onChange=${(event) => go(withQuery({ [name]: event.target.value, before: null }))}>
  ${(options.some(([one]) => one === value) ? options : [...options, [value, plain(value)]]).map(([one, label]) => html`<option value=${one} selected=${one === value}>${label}</option>`)}</select>`;

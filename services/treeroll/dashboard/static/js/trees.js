// The list of trees: filters, saved searches, order, cursor; all of them in the address.
import { html, useEffect, useRef, useState } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { go, Link, place, withQuery } from "./router.js";
import { Answered, Empty, Head, Said, State, Table } from "./parts.js";
import { fixed, lasting, plain, short, whole } from "./format.js";
import { Saves } from "./saving.js";

const SAVED = [
  ["All", {}],
  ["Largest waste", { order: "wasted" }],
  ["Slowest", { order: "seconds" }],
  ["Failed", { status: "failed" }],
  ["Cut by budget", { stop: "budget" }],
  ["No signal", { signal: "none" }],
  ["Widest spread", { order: "spread" }],
];
const ASKED = ["q", "run", "status", "stop", "model", "replica", "signal", "min_reward", "max_reward", "min_waste", "order", "direction", "cursor"];
const SHOWS = ["q", "run", "status", "stop", "model", "replica", "signal", "min_reward", "max_reward", "min_waste"];
const RESET = Object.fromEntries(ASKED.map((name) => [name, ""]));

const reward = (row) => row.mean_reward === null ? html`<span class="muted">unscored</span>`
  : html`<span class="spread" title=${`rewards from ${fixed(row.min_reward, 3)} to ${fixed(row.max_reward, 3)}`}>${fixed(row.mean_reward, 2)}</span>`;

const CAUSES = { late_tokens: "late", dropped_tokens: "past a boundary", pruned_tokens: "pruned", censored_tokens: "cut" };

/** Waste, with what most of it is. */
function waste(row) {
  if (row.wasted_tokens === null) return "–";
  if (!row.wasted_tokens) return html`<span class="muted">0</span>`;
  const causes = Object.entries(CAUSES).filter(([name]) => row[name]).sort((a, b) => row[b[0]] - row[a[0]]);
  if (!causes.length) return whole(row.wasted_tokens);
  return html`<span title=${causes.map(([name, word]) => `${word}: ${whole(row[name])}`).join(", ")}><span class="muted">${causes[0][1]}${causes.length > 1 ? " +" : ""}</span> ${whole(row.wasted_tokens)}</span>`;
}

const versions = (row) => row.min_version === null ? "–" : row.max_version === null ? `≥ ${whole(row.min_version)}` : row.min_version === row.max_version ? whole(row.min_version) : `${whole(row.min_version)}–${whole(row.max_version)}`;

const COLUMNS = [
  { label: "tree", cell: (row) => html`<${Link} href=${`/trees/${encodeURIComponent(row.tree_id)}`} class="mono">${plain(row.tree_id.slice(0, 8))}<//>` },
  { label: "task", order: "task", cell: (row) => html`<${Said} text=${row.task_id} />` },
  { label: "status", cell: (row) => html`<${State} word=${row.status} />${row.stop_reason && html` <span class="muted">${plain(row.stop_reason)}</span>`}` },
  { label: "nodes", right: true, cls: "optional", order: "nodes", cell: (row) => whole(row.nodes) },
  { label: "leaves", right: true, cls: "optional", order: "leaves", cell: (row) => whole(row.n_leaves) },
  { label: "tokens", right: true, order: "tokens", title: "generated, waste included", cell: (row) => whole(row.spent) },
  { label: "waste", right: true, order: "wasted", cls: "waste", title: "tokens in no sample", cell: waste },
  { label: "reward", right: true, order: "reward", title: "mean over scored leaves", cell: reward },
  { label: "spread", right: true, order: "spread", title: "highest minus lowest reward", cell: (row) => row.spread === null ? "–" : row.spread === 0 ? html`<span class="warn-text">0</span>` : fixed(row.spread, 2) },
  { label: "time", right: true, order: "seconds", cell: (row) => lasting(row.wall_s) },
  { label: "weights", right: true, title: "versions that made its tokens", cell: versions },
  { label: "replicas", cls: "optional", cell: (row) => html`<${Said} text=${row.replicas.slice(0, 4).join(" ") + (row.replicas.length > 4 ? ` +${row.replicas.length - 4}` : "")} />` },
  { label: "prompt", cls: "grow optional", cell: (row) => html`<${Said} text=${row.prompt.trim() || row.error} cls="clip" />` },
];

export function Trees() {
  const query = place.value.query;
  const asked = new URLSearchParams();
  for (const name of ASKED) if (query.get(name)) asked.set(name, query.get(name));
  const answer = useAnswer(`/trees?${asked}`);
  useRefresh(answer, 5);
  const [row, setRow] = useState(-1);
  const items = answer.data?.items ?? [];
  const keys = useRef(null);
  keys.current = { items, row };
  useEffect(() => setRow(-1), [asked.toString()]);
  useEffect(() => {
    const onKey = (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      const { items: here, row: at } = keys.current;
      if (event.key === "j") setRow(Math.min(here.length - 1, at + 1));
      if (event.key === "k") setRow(Math.max(0, at - 1));
      if (event.key === "Enter" && here[at] && !event.target.closest("a, button")) go(`/trees/${encodeURIComponent(here[at].tree_id)}`);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => { // its link has the focus: Enter opens it, wherever the focus was before
    document.querySelector("tr.selected a")?.focus({ preventScroll: true });
    document.querySelector("tr.selected")?.scrollIntoView({ block: "nearest" });
  }, [row]);
  const sort = {
    order: query.get("order") || "arrival",
    direction: query.get("direction") || "desc",
    set: (order) => go(withQuery({ order, cursor: "", direction: query.get("order") === order && (query.get("direction") || "desc") === "desc" ? "asc" : "" })),
  };
  return html`<${Head} title="Trees" />
    <${Filters} query=${query} filters=${answer.data?.filters} />
    <${Answered} answer=${answer} what="list">${(data) => html`<${Listed} data=${data} sort=${sort} row=${row} query=${query} asked=${asked} loading=${answer.path !== `/trees?${asked}`} />`}<//>`;
}

function Listed({ data, sort, row, query, asked, loading }) {
  if (!data.total) return html`<${Empty} title="No tree yet."><p class="muted">Trees come here as they end.</p><//>`;
  if (!data.items.length) {
    return html`<${Empty} title=${`0 of ${whole(data.total)} trees match.`}><p><${Link} href=${withQuery(RESET)} class="button">Clear all filters<//></p><//>`;
  }
  const begun = query.get("cursor");
  const cut = data.matching > data.items.length;
  return html`<section class=${`panel flush ${loading ? "busy" : ""}`}><${Table} label="trees" columns=${COLUMNS} rows=${data.items} sort=${sort} selected=${row}
      href=${(tree) => `/trees/${encodeURIComponent(tree.tree_id)}`} /></section>
    <p class="list-foot"><span>${begun ? `${whole(data.items.length)} more` : cut ? `First ${whole(data.items.length)}` : whole(data.items.length)} of ${whole(data.matching)}${
      data.matching < data.total ? ` that match, of ${whole(data.total)} trees` : " trees"}</span>
      ${data.behind && html`<span class="warn-text">still reading older trees</span>`}
      ${begun && html`<${Link} href=${withQuery({ cursor: "" })} class="button">Back to the first<//>`}
      ${data.cursor && html`<${Link} href=${withQuery({ cursor: data.cursor })} class="button">Next ${whole(Math.min(data.items.length, data.matching))}<//>`}<${Saves} list="trees" query=${asked} /></p>`;
}

function Filters({ query, filters }) {
  const set = (name) => (event) => go(withQuery({ [name]: event.target.value, cursor: "", focus: "" }), { replace: true });
  const field = useRef(null);
  const timer = useRef(0);
  useEffect(() => { if (query.get("focus")) field.current?.focus(); }, []);
  const draft = useRef(null); // what is being typed: rows come meanwhile, and must not take it away
  const typed = (event) => {
    clearTimeout(timer.current);
    draft.current = event.target.value;
    timer.current = setTimeout(() => {
      const value = draft.current;
      draft.current = null;
      go(withQuery({ q: value, cursor: "", focus: "" }), { replace: true });
    }, 200);
  };
  const active = SHOWS.filter((name) => query.get(name));
  const saved = ([, wanted]) => {
    const now = Object.fromEntries(ASKED.filter((name) => query.get(name) && name !== "cursor" && name !== "run").map((name) => [name, query.get(name)]));
    return JSON.stringify(Object.entries(now).sort()) === JSON.stringify(Object.entries(wanted).sort());
  };
  const choice = (name, label, values) => html`<label class="field"><span>${label}</span><select value=${query.get(name) ?? ""} onChange=${set(name)}>
    <option value="">any</option>${[...new Set([...values, ...(query.get(name) ? [query.get(name)] : [])])].map((value) => html`<option value=${value}>${plain(value)}</option>`)}</select></label>`;
  const number = (name, label) => html`<label class="field narrow"><span>${label}</span><input type="number" step="any" value=${query.get(name) ?? ""} onChange=${set(name)} /></label>`;
  return html`<div class="saved" role="group" aria-label="saved searches">${SAVED.map((one) => html`<${Link} href=${withQuery({ ...RESET, run: query.get("run"), ...one[1] })}
      class=${`tab ${saved(one) ? "on" : ""}`} aria-current=${saved(one) ? "true" : undefined}>${one[0]}<//>`)}</div>
    <div class="filters"><label class="field search"><span>id, task or prompt</span><input id="search" ref=${field} type="search" placeholder="search  /" value=${draft.current ?? query.get("q") ?? ""} onInput=${typed} /></label>
      ${choice("status", "status", [...(filters?.status ?? []), "complete", "partial", "failed", "filtered"])}
      ${choice("stop", "stopped by", filters?.stop_reason ?? [])}
      ${(filters?.run_id?.length ?? 0) > 1 && choice("run", "run", filters.run_id)}
      ${(filters?.model?.length ?? 0) > 1 && choice("model", "model", filters.model)}
      <label class="field"><span>signal</span><select value=${query.get("signal") ?? ""} onChange=${set("signal")}><option value="">any</option><option value="some">rewards differ</option><option value="none">all rewards equal</option></select></label>
      ${number("min_reward", "reward from")}${number("max_reward", "to")}${number("min_waste", "waste from")}
      ${active.length > 0 && html`<${Link} href=${withQuery(RESET)} class="button clear">Clear ${short(active.length)}<//>`}</div>`;
}

// Replicas: the fleet, one row each; who lags, who is silent, who was lost and why.
import { html, useState } from "./ui.js";
import { state } from "./live.js";
import { Link, place } from "./router.js";
import { Bar, Empty, Facts, Head, Said, State, Table } from "./parts.js";
import { Greyed, Unknown, greyed } from "./bar.js";
import { counted, fixed, lasting, percent, plain, whole } from "./format.js";
import { when } from "./clock.js";
import { Saves } from "./saving.js";

const TONES = { ready: "good", starting: "warn", draining: "warn", quarantined: "bad", lost: "bad" };

const COLUMNS = [
  { name: "replica", label: "replica", cell: (r) => html`<${Said} text=${`${r.replica_id}.${r.incarnation}`} />`, key: (r) => r.replica_id },
  { name: "state", label: "state", cell: (r) => html`<${State} word=${r.state} tone=${TONES[r.state]} />`, key: (r) => r.state },
  { name: "branches", label: "branches", right: true, title: "granted / slots", cell: (r) => `${whole(r.branches)}/${whole(r.slots)}`, key: (r) => r.branches },
  { name: "running", label: "running", right: true, cls: "optional", title: "requests that decode in its engine", cell: (r) => whole(r.running), key: (r) => r.running },
  { name: "waiting", label: "waiting", right: true, cls: "optional", title: "requests that wait in its engine", cell: (r) => whole(r.waiting), key: (r) => r.waiting },
  { name: "kv", label: "KV", right: true, cls: "optional", title: "of its KV blocks, in use", cell: (r) => html`<span class="with-bar"><${Bar} share=${r.kv_usage} tone=${r.kv_usage > 0.9 ? "warn" : ""} />${percent(r.kv_usage, 1, 0)}</span>`, key: (r) => r.kv_usage },
  { name: "speed", label: "tok/s", right: true, title: "made in a second, over 2 minutes", cell: (r) => (r.tokens_per_s === null ? "–" : whole(r.tokens_per_s)), key: (r) => r.tokens_per_s ?? -1 },
  { name: "median", label: "× median", right: true, title: "of its pool", cell: (r) => (r.of_median === null ? "–" : html`<span class=${r.of_median < 0.5 ? "warn-text" : ""}>${fixed(r.of_median)}</span>`), key: (r) => r.of_median ?? -1 },
  { name: "preempted", label: "preempted", right: true, title: "since it started", cell: (r) => whole(r.preempted), key: (r) => r.preempted },
  { name: "silent", label: "heard", right: true, title: "seconds since it was last heard", cell: (r) => html`<span class=${r.silent_s > 3 ? "warn-text" : ""}>${r.state === "lost" ? "–" : lasting(r.silent_s)}</span>`, key: (r) => r.silent_s },
  { name: "losses", label: "lost", right: true, title: "times since the service started", cell: (r) => (r.losses ? html`<span class="warn-text">${whole(r.losses)}</span>` : "0"), key: (r) => r.losses },
  { name: "weights", label: "weights", right: true, cell: (r) => whole(r.weight_version), key: (r) => r.weight_version },
  { name: "why", label: "why", cls: "grow", cell: (r) => html`<${Said} text=${r.reason || r.lost_cause} />`, key: (r) => r.reason },
];

/** Of each pool that follows its demand, how many replicas this asks for, and why. */
const Demand = ({ pools }) => html`${pools.filter((pool) => pool.desired_because).map((pool) => html`<p class="muted">Demand asks for ${counted(pool.desired_replicas, "replica")}${pool.name && html` of <${Said} text=${pool.name} />`}: <${Said} text=${pool.desired_because} /></p>`)}`;

export function Replicas() {
  const unknown = Unknown();
  const [order, setOrder] = useState({ name: "replica", direction: "asc" });
  const [chosen, choose] = useState(place.value.query.get("replica") ?? place.value.path.split("/")[2] ?? "");
  if (unknown) return html`<${Head} title="Replicas" />${unknown}`;
  const s = state.value.snapshot;
  if (!s.replicas.length) {
    return html`<${Head} title="Replicas" /><${Demand} pools=${s.pools} /><${Empty} title="No replica has joined."><p class="muted">${s.waiting_tasks ? `${counted(s.waiting_tasks, "task")} wait. ` : ""}<code>treeroll replica --address HOST:PORT</code> starts one.</p><//>`;
  }
  const by = COLUMNS.find((column) => column.name === order.name);
  const sign = order.direction === "asc" ? 1 : -1;
  const rows = [...s.replicas].sort((a, b) => sign * (by.key(a) < by.key(b) ? -1 : by.key(a) > by.key(b) ? 1 : 0)).map((one) => ({ ...one, key: one.replica_id }));
  const sort = { order: order.name, direction: order.direction, set: (name) => setOrder({ name, direction: order.name === name && order.direction === "desc" ? "asc" : order.name === name ? "desc" : "desc" }) };
  const columns = COLUMNS.map((column) => ({ ...column, order: column.name === "why" ? undefined : column.name, cell: column.name === "replica"
    ? (r) => html`<button class="link" onClick=${() => choose(r.replica_id)}><${Said} text=${`${r.replica_id}.${r.incarnation}`} /></button>` : column.cell }));
  const one = s.replicas.find((r) => r.replica_id === chosen);
  return html`<${Head} title="Replicas"><span class="muted">${s.pools.map((pool) => `${pool.name ? `${plain(pool.name)}: ` : ""}${whole(pool.ready_replicas)} of ${whole(pool.replicas)} ready`).join(", ")}</span><${Saves} list="replicas" /><//><${Greyed} />
    <div class=${greyed()}><${Demand} pools=${s.pools} /><section class="panel flush"><${Table} label="replicas" columns=${columns} rows=${rows} sort=${sort} selected=${rows.findIndex((r) => r.replica_id === chosen)} /></section>
    ${one && html`<section class="panel"><div class="details-head"><h2><${Said} text=${one.replica_id} /></h2><span class="buttons"><${Link} href=${`/trees?replica=${encodeURIComponent(one.replica_id)}`} class="button">Its trees<//><button onClick=${() => choose("")}>Close</button></span></div><${Facts} rows=${[
      ["pool", one.pool && html`<${Said} text=${one.pool} />`], ["state", html`<${State} word=${one.state} tone=${TONES[one.state]} />`], ["why", one.reason && html`<${Said} text=${one.reason} />`],
      ["tried again in", one.retry_s ? lasting(one.retry_s) : null], ["incarnation", whole(one.incarnation)], ["tokens", `${whole(one.generated_tokens)} made since its engine started, ${whole(one.reported_tokens)} reported in this incarnation`],
      ["preempted", `${whole(one.preempted)} requests`], ["started again", `${whole(one.restarts)} times by this service`],
      ["lost", one.losses ? `${whole(one.losses)} times, ${whole(one.recent_losses)} in the last 10 min, last ${when(one.lost_at)}` : "never"], ["last cause", one.lost_cause && html`<${Said} text=${one.lost_cause} />`]]} /></section>`}</div>`;
}

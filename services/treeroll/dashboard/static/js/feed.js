// Feed: what waits for whom. And Store: what Redis says of itself.
import { html, useEffect } from "./ui.js";
import { useAnswer } from "./api.js";
import { state, useRefresh } from "./live.js";
import { Link, place, withQuery } from "./router.js";
import { Answered, Bar, Empty, Facts, Figure, Head, Said, Table } from "./parts.js";
import { Greyed, Unknown, greyed } from "./bar.js";
import { Chart, keep } from "./chart.js";
import { brief, counted, lasting, percent, plain, short, whole } from "./format.js";
import { Saves } from "./saving.js";

const COLUMNS = [
  { label: "run", cell: (g) => html`<${Link} href=${`/runs/${encodeURIComponent(g.run_id)}`}><${Said} text=${g.run_id} /><//>` },
  { label: "group", cell: (g) => html`<${Link} href=${withQuery({ run: g.run_id, group: g.group })}><${Said} text=${g.group} /><//>` },
  { label: "acknowledged", right: true, cell: (g) => whole(g.acknowledged) },
  { label: "leased", right: true, title: "handed out, and not yet acknowledged", cell: (g) => whole(g.leased) },
  { label: "waiting", right: true, title: "ended, and not yet handed out", cell: (g) => whole(g.waiting) },
  { label: "", cls: "bar-cell", cell: (g) => html`<${Bar} share=${g.acknowledged / Math.max(1, g.acknowledged + g.leased + g.waiting)} />` },
  { label: "no ack for", right: true, title: "while trees wait", cell: (g) => (g.stuck_s ? html`<span class=${g.stuck_s > 300 ? "warn-text" : ""}>${lasting(g.stuck_s)}</span>` : "–") },
];

export function Feed() {
  const unknown = Unknown();
  if (unknown) return html`<${Head} title="Feed" />${unknown}`;
  const s = state.value.snapshot;
  const query = place.value.query;
  const held = s.runs.filter((run) => run.waits_for_group || run.held_up || run.stuck);
  return html`<${Head} title="Feed">${s.groups.length > 0 && html`<${Saves} list="groups" />`}<//><${Greyed} /><div class=${greyed()}>
    ${held.map((run) => html`<p class="notice warn">Run <${Link} href=${`/runs/${encodeURIComponent(run.run_id)}`}><${Said} text=${run.run_id} /><//>: <${Said} text=${run.stuck || run.held_up} />${run.waits_for_group && html` (group <${Said} text=${run.waits_for_group} />)`}</p>`)}
    ${s.groups.length ? html`<section class="panel flush"><${Table} label="groups" columns=${COLUMNS} rows=${s.groups.map((g) => ({ ...g, key: `${g.run_id}/${g.group}` }))} href=${(g) => withQuery({ run: g.run_id, group: g.group })}
        selected=${s.groups.findIndex((g) => g.run_id === query.get("run") && g.group === query.get("group"))} /></section>
      <p class="muted">Trees of each run's feed by where they stand with each group. A group comes to be when it first asks for trees.</p>`
    : html`<${Empty} title="No group has asked for trees."><p class="muted">Trees wait in the feed until one does: <code>for batch in run.batches(group="trainer-0")</code>.</p><//>`}</div>
    ${query.get("group") && html`<${Unacknowledged} key=${`${query.get("run")}/${query.get("group")}`} run=${query.get("run")} group=${query.get("group")} />`}`;
}

const WAITING = [
  { label: "place", right: true, title: "in the run's feed", cell: (one) => whole(one.place) },
  { label: "tree", cell: (one) => html`<${Link} href=${`/trees/${encodeURIComponent(one.tree_id)}`} class="mono">${plain(one.tree_id.slice(0, 8))}<//>` },
  { label: "waits", cls: "wrap", cell: (one) => html`<${Said} text=${one.waits_for} />` },
  { label: "consumer", cls: "optional", cell: (one) => (one.consumer ? html`<${Said} text=${one.consumer} />` : "–") },
  { label: "handed out", right: true, title: "last, ago", cell: (one) => lasting(one.since_s) },
  { label: "times", right: true, title: "that it was handed out", cell: (one) => html`<span class=${one.deliveries > 1 ? "warn-text" : ""}>${whole(one.deliveries)}</span>` },
  { label: "lease ends in", right: true, cell: (one) => (one.left_s === null ? "–" : one.left_s < 0 ? html`<span class="warn-text">ended</span>` : lasting(one.left_s)) },
];

/** The trees that a group has not acknowledged, and what each waits for. */
function Unacknowledged({ run, group }) {
  const answer = useAnswer(`/feed/${encodeURIComponent(run)}/${encodeURIComponent(group)}`);
  useRefresh(answer, 3);
  return html`<section class="panel flush"><div class="details-head padded"><h2>What <${Said} text=${group} /> has not acknowledged, the oldest first</h2><${Link} href=${withQuery({ run: "", group: "" })} class="button">Close<//></div>
    <${Answered} answer=${answer} what="group">${(data) => data.items.length ? html`<${Table} label="unacknowledged trees" columns=${WAITING} rows=${data.items.map((one) => ({ ...one, key: one.place }))} href=${(one) => `/trees/${encodeURIComponent(one.tree_id)}`} />`
      : html`<p class="muted padded">Nothing: it has acknowledged every tree that there is.</p>`}<//></section>`;
}

export function Store() {
  const answer = useAnswer("/store");
  const turn = state.value ? Math.floor(state.value.turn / 5) : 0;
  useEffect(() => { if (turn) answer.retry(); }, [turn]);
  keep();
  const s = state.value?.snapshot;
  const m = state.value;
  return html`<${Head} title="Store" /><${Greyed} /><${Answered} answer=${answer} what="store">${(data) => {
    const info = data.info;
    const used = Number(info.used_memory), most = Number(info.maxmemory);
    return html`<div class=${data.error ? "greyed" : ""}>${data.error && html`<p class="notice bad"><${Said} text=${data.error} /></p>`}
      ${Number(info.evicted_keys) > 0 && html`<p class="notice bad">It has evicted ${whole(Number(info.evicted_keys))} keys that it had answered for: set its maxmemory-policy to noeviction.</p>`}
      <div class="figures"><${Figure} name="memory" value=${bytes(used)} note=${most ? `${percent(used, most)} of ${bytes(most)}` : "without a limit"} />
        <${Figure} name="keys" value=${whole(data.keys)} /><${Figure} name="evicted" value=${whole(Number(info.evicted_keys))} note="must be 0" tone=${Number(info.evicted_keys) ? "bad" : ""} />
        <${Figure} name="commit p50" value=${m?.work?.commit_p50_s ? `≤ ${brief(m.work.commit_p50_s)}` : "–"} note="last 5 min" />
        <${Figure} name="commit p99" value=${m?.work?.commit_p99_s ? `≤ ${brief(m.work.commit_p99_s)}` : "–"} note="last 5 min" />
        <${Figure} name="calls" value=${`${whole(Number(info.instantaneous_ops_per_sec))}/s`} /></div>
      <div class="charts"><${Chart} title="Slowest commit" unit="ms, in each second" lines=${[["commit_s", "slowest"]]} format=${(v) => short(v * 1000)} /></div>
      <div class="columns"><section class="panel"><h2>Redis</h2><${Facts} rows=${[
        ["address", html`<${Said} text=${data.address} />`], ["version", plain(info.redis_version)], ["up for", lasting(Number(info.uptime_in_seconds))], ["role", plain(info.role)], ["clients", whole(Number(info.connected_clients))],
        ["when full", plain(info.maxmemory_policy)], ["append-only file", info.aof_enabled === "1" ? `on, ${bytes(Number(info.aof_current_size))}` : "off: nothing survives its end"],
        ["last write", plain(info.aof_last_write_status)], ["delayed syncs", whole(Number(info.aof_delayed_fsync))], ["durability", s && plain(s.durability)]]} /></section>
        ${s && html`<section class="panel"><h2>The coordinator's loop</h2><${Facts} rows=${[["ticks", whole(s.loop.ticks)], ["events that wait", whole(s.loop.inbox)], ["late by", `${brief(s.loop.lag_max_s)} at most in the last second`], ["outages", counted(s.loop.outages, "outage")], ["fenced reports", whole(s.loop.fenced_reports)]]} /></section>`}</div></div>`;
  }}<//>`;
}

function bytes(count) {
  if (!Number.isFinite(count)) return "–";
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (count >= size) return `${(count / size).toFixed(1)} ${unit}`;
  return `${count} B`;
}

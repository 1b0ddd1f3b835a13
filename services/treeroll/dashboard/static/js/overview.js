// Overview: is the fleet doing useful work, what is stuck and why, what does it cost.
import { html } from "./ui.js";
import { phase, state } from "./live.js";
import { Link } from "./router.js";
import { Bar, Figure, Head, Said } from "./parts.js";
import { Greyed, Sentence, Unknown, greyed } from "./bar.js";
import { Chart, Marks, keep } from "./chart.js";
import { brief, counted, fixed, lasting, percent, plain, short, whole } from "./format.js";

const WAITS = {
  slot: ["a slot", "no replica has a free slot"], engine: ["an engine", "granted, and queue in an engine: for room in its KV cache, or behind other prompts"],
  budget: ["budget", "for others to return some of it"], rate: ["rate", "for time, by tokens_per_second"],
  held: ["their policy", "held for a decision"], judge: ["the judge", "paths to be judged"], scorer: ["a scorer", "paths that no scorer has yet"],
};

export function Overview() {
  const unknown = Unknown();
  if (unknown) return html`<${Head} title="Overview" />${unknown}`;
  keep();
  const m = state.value;
  const s = m.snapshot;
  const slots = s.pools.reduce((sum, pool) => sum + pool.slots, 0);
  const busy = s.pools.reduce((sum, pool) => sum + pool.running + pool.waiting_engine + pool.stopping, 0);
  const waiting = Object.values(m.waiting).reduce((a, b) => a + b, 0);
  return html`<${Head} title="Overview"><span class="muted">serving for ${lasting(s.at - s.since)}</span>${s.draining && html`<span class="state warn">draining</span>`}<//>
    <${Verdict} findings=${m.verdict} />
    <${Greyed} brief=${m.verdict.length > 0} />
    <div class=${greyed()}><div class="figures">
      <${Figure} name="speed" value=${m.work.tokens_per_s === null ? "–" : `${short(m.work.tokens_per_s)} tok/s`} note=${m.work.leaves_per_s === null ? "last 15 s" : `${fixed(m.work.leaves_per_s, 1)} leaves/s, last 15 s`} />
      <${Figure} name="worth" value=${fixed(m.work.effective_per_1k)} note="effective leaves per 1k tok" />
      <${Figure} name="growing" value=${whole(s.growing_trees)} note=${`trees; ${counted(s.waiting_tasks, "task")} wait`} />
      <${Figure} name="slots" value=${percent(busy, slots, 0)} note=${`${whole(busy)} of ${whole(slots)} in use`} />
      <${Figure} name="waiting" value=${whole(waiting)} note="branches and paths" />
      <${Figure} name="commit" value=${m.work.commit_p99_s ? `≤ ${brief(m.work.commit_p99_s)}` : "–"} note="p99 of 5 min" />
    </div>
    <div class="charts"><${Chart} title="Speed" unit="tokens/s" lines=${[["tokens_per_s", "tok/s"]]} />
      <${Chart} title="Branches" unit="" lines=${[["running", "running"], ["waiting", "waiting"]]} format=${whole} /></div>
    <${Marks} />
    <div class="columns">
      <${Waiting} waiting=${m.waiting} total=${waiting} />
      <${Tokens} waste=${m.waste} />
      <${Fleet} replicas=${s.replicas} />
      <${Runs} runs=${s.runs} known=${s.known_runs} />
      <${Groups} groups=${s.groups} />
      <${Scorers} scorers=${s.scorers} />
    </div></div>`;
}

const Verdict = ({ findings }) => findings.length
  ? html`<section class="panel verdict" aria-label="verdict">${findings.slice(0, 6).map((one) => html`<p><${Sentence} one=${one} /></p>`)}${findings.length > 6 && html`<p class="muted">and ${findings.length - 6} more</p>`}</section>`
  : phase() === "live" ? html`<section class="panel verdict well" aria-label="verdict"><p><span class="good-text">All well.</span> <span class="muted">No promise is broken, nothing is stuck, and waste is in bounds.</span></p></section>` : null;

function Waiting({ waiting, total }) {
  return html`<section class="panel"><h2>What branches wait for</h2>${total ? html`<table class="bars">${Object.entries(waiting).filter(([, count]) => count).sort((a, b) => b[1] - a[1]).map(([what, count]) => html`<tr>
    <td title=${WAITS[what]?.[1]}>${WAITS[what]?.[0] ?? what}</td><td class="right">${whole(count)}</td><td class="wide"><${Bar} share=${count / total} /></td><td class="right muted">${percent(count, total, 0)}</td></tr>`)}</table>`
    : html`<p class="muted">For nothing.</p>`}</section>`;
}

function Tokens({ waste }) {
  if (!waste) return html`<section class="panel"><h2>What tokens became</h2><p class="muted">No tokens in the last minutes.</p></section>`;
  const rows = [["kept", waste.kept, ""], ...Object.entries(waste.causes).map(([cause, count]) => [cause, count, "warn"])];
  return html`<section class="panel"><h2>What tokens became <span class="muted">last ${lasting(waste.seconds)}</span></h2><table class="bars">${rows.map(([name, count, tone]) => html`<tr><td>${name}</td>
    <td class="right">${short(count)}</td><td class="wide"><${Bar} share=${count / waste.spent} tone=${tone} /></td><td class="right muted">${percent(count, waste.spent)}</td></tr>`)}</table>
    <p class="muted">Of ${whole(waste.spent)} tokens.${waste.scored_trees ? ` ${percent(waste.no_signal, waste.scored_trees, 0)} of ${counted(waste.scored_trees, "scored tree")} had no signal.` : ""}</p></section>`;
}

function Fleet({ replicas }) {
  const there = replicas.filter((one) => one.state !== "lost");
  return html`<section class="panel"><h2><${Link} href="/replicas">Fleet<//> <span class="muted">${counted(there.length, "replica")}</span></h2>
    ${there.length ? html`<div class="cells">${there.map((one) => html`<${Link} href=${`/replicas?replica=${encodeURIComponent(one.replica_id)}`} class=${`cell ${one.state} ${one.silent_s > 3 ? "silent" : ""}`}
      title=${`${plain(one.replica_id)}: ${plain(one.state)}, KV ${percent(one.kv_usage, 1, 0)}, ${one.branches}/${one.slots} branches`}><span class="fill" style=${{ height: `${Math.round(100 * one.kv_usage)}%` }}></span><span class="sr">${plain(one.replica_id)}</span><//>`)}</div>
    <p class="muted">Fill: KV cache in use. Outline: state. Hatched: silent for 3 s.</p>` : html`<p class="muted">No replica has joined. <code>treeroll replica --address HOST:PORT</code> starts one.</p>`}</section>`;
}

function Runs({ runs, known }) {
  const few = runs.slice(0, 6);
  return html`<section class="panel"><h2><${Link} href="/runs">Runs<//> <span class="muted">${counted(known, "run")}</span></h2>${few.length ? html`<table class="bars">${few.map((run) => html`<tr><td><${Link} href=${`/runs/${encodeURIComponent(run.run_id)}`}><${Said} text=${run.run_id} /><//></td>
    <td class="right">${whole(run.trees)}/${whole(run.submitted)}</td><td class="wide"><${Bar} share=${run.submitted ? run.trees / run.submitted : 0} /></td><td class="right muted">${run.growing ? `${whole(run.growing)} grow` : plain(run.state)}</td></tr>`)}</table>`
    : html`<p class="muted">None yet. Submit tasks with <code>treeroll rollout tasks.jsonl --address HOST:PORT</code>.</p>`}</section>`;
}

function Groups({ groups }) {
  const stuck = groups.filter((one) => one.waiting || one.leased).sort((a, b) => b.stuck_s - a.stuck_s).slice(0, 6);
  return html`<section class="panel"><h2><${Link} href="/feed">Feed<//></h2>${stuck.length ? html`<table class="bars">${stuck.map((one) => html`<tr><td><${Link} href=${`/feed?run=${encodeURIComponent(one.run_id)}&group=${encodeURIComponent(one.group)}`}><${Said} text=${one.group} /><//></td><td class="right">${whole(one.waiting)} wait</td><td class="right">${whole(one.leased)} leased</td>
    <td class=${`right ${one.stuck_s > 300 ? "warn-text" : "muted"}`}>${one.stuck_s ? `no ack for ${lasting(one.stuck_s)}` : "moving"}</td></tr>`)}</table>` : html`<p class="muted">No tree waits for a consumer.</p>`}</section>`;
}

function Scorers({ scorers }) {
  if (!scorers.length) return null;
  return html`<section class="panel"><h2>Scorers</h2><table class="bars">${scorers.map((one) => html`<tr><td><${Said} text=${one.scorer} /></td><td class="right">${whole(one.scored)} scored</td><td class=${`right ${one.failed ? "warn-text" : "muted"}`}>${whole(one.failed)} failed</td><td class="right muted" title="mean of a batch">${one.mean_s === null ? "" : brief(one.mean_s)}</td></tr>
    ${one.error && html`<tr><td class="said muted" colspan="4"><${Said} text=${one.error} /></td></tr>`}`)}</table></section>`;
}

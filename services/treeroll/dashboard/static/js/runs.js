// Runs, and one run.
import { html } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { go, Link, place as where, withQuery } from "./router.js";
import { Answered, Bar, Empty, Facts, Figure, Head, Said, State, Table } from "./parts.js";
import { RunMap } from "./runmap.js";
import { Tasks } from "./tasks.js";
import { Saves } from "./saving.js";
import { counted, fixed, lasting, percent, plain, whole } from "./format.js";

const COLUMNS = [
  { label: "run", cell: (run) => html`<${Link} href=${`/runs/${encodeURIComponent(run.run_id)}`}><${Said} text=${run.run_id} /><//>` },
  { label: "state", cell: (run) => html`<${State} word=${run.state} />` },
  { label: "recipe", cell: (run) => plain(run.recipe) },
  { label: "trees", right: true, cell: (run) => whole(run.trees) },
  { label: "leaves", right: true, cell: (run) => whole(run.leaves) },
  { label: "tokens", right: true, title: "generated, waste included", cell: (run) => whole(run.spent) },
  { label: "waste", right: true, title: "of the tokens generated, in no sample", cell: (run) => percent(run.wasted, run.spent) },
  { label: "no signal", right: true, title: "of scored trees, all rewards equal", cell: (run) => percent(run.no_signal, run.scored, 0) },
  { label: "reward", right: true, title: "mean over scored leaves", cell: (run) => fixed(run.mean_reward, 3) },
  { label: "time", right: true, cell: (run) => lasting(run.wall_s) },
];

const PAGE = 100;

export function Runs() {
  const { query } = where.value;
  const wanted = query.get("q") ?? "", skip = Math.max(0, Number.parseInt(query.get("skip") ?? "0", 10) || 0);
  const answer = useAnswer(`/runs?${new URLSearchParams({ q: wanted, skip, limit: PAGE })}`);
  useRefresh(answer, 3);
  return html`<${Head} title="Runs" /><${Answered} answer=${answer} what="runs">${(data) => html`<${Listed} data=${data} wanted=${wanted} skip=${skip} />`}<//>`;
}

function Listed({ data, wanted, skip }) {
  if (!data.total) return html`<${Empty} title="No run yet."><p class="muted">Submit tasks with <code>treeroll rollout tasks.jsonl --address HOST:PORT</code>, or from Python with <code>treeroll.connect("HOST:PORT")</code>.</p><//>`;
  const last = skip + data.items.length;
  return html`${(data.total > PAGE || wanted) && html`<div class="filters"><label class="field search"><span>name of the run</span><input id="search" type="search" placeholder="search  /" value=${wanted}
      onChange=${(event) => go(withQuery({ q: event.target.value, skip: "" }), { replace: true })} /></label></div>`}
    ${data.items.length > 0 && html`<section class="panel flush"><${Table} label="runs" columns=${COLUMNS} rows=${data.items} href=${(run) => `/runs/${encodeURIComponent(run.run_id)}`} /></section>`}
    ${!data.items.length && html`<${Empty} title=${`0 of ${whole(data.total)} runs here.`}><p><${Link} href="/runs" class="button">All runs<//></p><//>`}
    ${data.items.length > 0 && html`<p class="list-foot"><span>${data.matching > PAGE ? `${whole(skip + 1)} to ${whole(last)} of ` : ""}${whole(data.matching)}${wanted ? ` that match, of ${counted(data.total, "run")}` : data.matching === 1 ? " run" : " runs, newest first"}</span>
      ${skip > 0 && html`<${Link} href=${withQuery({ skip: skip > PAGE ? skip - PAGE : "" })} class="button">Newer<//>`}
      ${last < data.matching && html`<${Link} href=${withQuery({ skip: last })} class="button">Older<//>`}<${Saves} list="runs" query=${new URLSearchParams(wanted ? { q: wanted } : {})} /></p>`}`;
}

export function Run({ id, about }) {
  const answer = useAnswer(`/runs/${encodeURIComponent(id)}`);
  useRefresh(answer, 3);
  return html`<${Answered} answer=${answer} what="run" title=${`run ${id}`}>${(run) => html`<${Content} run=${run} about=${about} />`}<//>`;
}

// A live run counts trees with samples together; results tell those that are whole from those that are not.
const ENDS = ["finished", "complete", "partial", "failed", "filtered"];

function Content({ run, about }) {
  const s = run.summary ?? {};
  const live = run.growing !== undefined;
  const trees = (query) => `/trees?run=${encodeURIComponent(run.run_id)}${query}`;
  return html`<${Head} title=${html`<span class="muted">run</span> <${Said} text=${run.run_id} />`}><${State} word=${run.state} />
      <${Link} href=${trees("")} class="button">${counted(run.trees, "tree")}<//>
      ${about.pages.includes("events") && html`<${Link} href=${`/events?log=decisions&run=${encodeURIComponent(run.run_id)}`} class="button">Decisions<//>
        <${Link} href=${`/events?log=decisions&kind=budget&run=${encodeURIComponent(run.run_id)}`} class="button">Who got the budget, and why<//>`}<//>
    ${run.held_up && html`<p class="notice warn"><${Said} text=${run.held_up} /></p>`}
    ${run.stuck && html`<p class="notice bad"><${Said} text=${run.stuck} /></p>`}
    ${run.stop_detail && html`<p class="notice warn"><${Said} text=${run.stop_detail} /></p>`}
    ${run.engine_error && html`<p class="notice bad">Last error of the engine: <${Said} text=${run.engine_error} /></p>`}
    ${run.policy_error && html`<p class="notice bad">Last failure of the policy: <${Said} text=${run.policy_error} /></p>`}
    <div class="figures">${live ? html`
      <${Figure} name="trees" value=${`${whole(run.trees)} of ${whole(run.submitted)}`} note=${`${whole(run.growing)} grow, ${whole(run.waiting)} wait`} />
      <${Figure} name="leaves" value=${whole(run.leaves)} note=${`${whole(run.figures.effective_leaves)} effective`} />
      <${Figure} name="tokens" value=${whole(run.spent)} note=${`generated; ${whole(run.outstanding)} reserved`} />
      <${Figure} name="waste" value=${percent(run.wasted, run.spent)} note="of tokens, in no sample" />
      <${Figure} name="no signal" value=${percent(run.no_signal, run.scored, 0)} note=${`of ${counted(run.scored, "scored tree")}`} />
      <${Figure} name="reward errors" value=${whole(run.reward_errors)} note="leaves whose scorer failed" tone=${run.reward_errors ? "warn" : ""} />` : html`
      <${Figure} name="reward" value=${fixed(run.mean_reward, 3)} note=${run.mean_reward_se ? `± ${fixed(run.mean_reward_se, 3)} standard error` : "mean over scored leaves"} />
      <${Figure} name="unbiased" value=${fixed(s.mean_reward_unbiased, 3)} note=${s.mean_reward_unbiased_se ? `± ${fixed(s.mean_reward_unbiased_se, 3)}, by path weight` : "by path weight"} />
      <${Figure} name="leaves" value=${whole(run.leaves)} note=${`of ${counted(run.trees, "tree")}`} />
      <${Figure} name="tokens" value=${whole(run.spent)} note="generated, waste included" />
      <${Figure} name="sharing" value=${s.sharing_ratio ? `${fixed(s.sharing_ratio)} ×` : "–"} note="delivered / generated tokens" />
      <${Figure} name="speed" value=${s.tokens_per_s ? `${whole(s.tokens_per_s)} tok/s` : "–"} note=${`in ${lasting(run.wall_s)}`} />`}
    </div>
    ${run.trees > 0 && html`<${RunMap} run=${run} /><${Tasks} run=${run} />`}
    <div class="columns">
      <section class="panel"><h2>How trees ended</h2><table class="bars">${ENDS.filter((status) => run[status] !== undefined).map((status) => html`<tr>
          <td>${status === "finished" ? "with samples" : html`<${Link} href=${trees(`&status=${status}`)}>${status}<//>`}</td><td class="right">${whole(run[status])}</td><td class="wide"><${Bar} share=${run[status] / run.trees} tone=${{ partial: "warn", failed: "bad" }[status]} /></td><td class="right muted">${percent(run[status], run.trees)}</td></tr>`)}
          <tr><td><${Link} href=${trees("&signal=none")}>no signal<//></td><td class="right">${whole(run.no_signal)}</td><td class="wide"><${Bar} share=${run.no_signal / run.scored} tone="warn" /></td><td class="right muted">${percent(run.no_signal, run.scored)}</td></tr></table>
          <p class="muted">No signal: scored, and all rewards equal; of ${whole(run.scored)} scored trees.</p></section>
      <section class="panel"><h2>What tokens bought</h2><table class="bars">
          <tr><td>in samples</td><td class="right">${whole(run.spent - run.wasted)}</td><td class="wide"><${Bar} share=${(run.spent - run.wasted) / run.spent} /></td><td class="right muted">${percent(run.spent - run.wasted, run.spent)}</td></tr>
          <tr><td><${Link} href=${trees("&order=wasted")}>in no sample<//></td><td class="right">${whole(run.wasted)}</td><td class="wide"><${Bar} share=${run.wasted / run.spent} tone="warn" /></td><td class="right muted">${percent(run.wasted, run.spent)}</td></tr></table>
        <${Caps} caps=${run.caps} /></section>
      <section class="panel"><h2>Figures of the service</h2><${Facts} rows=${Object.entries(run.figures ?? {}).map(([name, value]) => [name.replaceAll("_", " "), whole(value)])} /></section>
      <${Config} run=${run} />
      ${run.quarantined?.length > 0 && html`<section class="panel"><h2>Tasks that replicas died of</h2><ul class="plain">${run.quarantined.map((task) => html`<li><${Said} text=${task} /></li>`)}</ul></section>`}
      ${run.failures?.length > 0 && html`<section class="panel"><h2>Tasks without a sample</h2><table class="bars">${run.failures.map((one) => html`<tr><td><${Said} text=${one.task_id} /></td><td class="said"><${Said} text=${one.error} /></td></tr>`)}</table></section>`}
    </div>`;
}

/** Each cap: its limit and what of it is used. */
const Caps = ({ caps }) => caps?.length ? html`<h3>Budget</h3><table class="bars">${caps.map((cap) => html`<tr><td>${plain(cap.resource)}</td>
  <td class="right">${whole(cap.spent)}</td><td class="wide"><${Bar} share=${cap.spent / cap.limit} tone=${cap.spent >= cap.limit ? "warn" : ""} /></td><td class="right muted">of ${whole(cap.limit)}</td></tr>`)}</table>` : html`<p class="muted">The run had no budget.</p>`;

const said = (value) => typeof value === "string" ? value : JSON.stringify(value);

function Config({ run }) {
  const policies = Object.entries(run.policies ?? {});
  const plainSettings = Object.entries(run.config ?? {}).filter(([, value]) => value === null || typeof value !== "object");
  const known = run.tasks_file || run.model || run.engine || plainSettings.length > 0; // a rollout that was cut short may lack all
  return html`${known && html`<section class="panel"><h2>Asked for</h2><${Facts} rows=${[
      ["task file", run.tasks_file && html`<${Said} text=${run.tasks_file} />`],
      ["model", run.model && html`<${Said} text=${run.model} />`], ["engine", run.engine],
      ...plainSettings.filter(([, value]) => value !== null && value !== "").map(([name, value]) => [name, html`<${Said} text=${said(value)} />`])]} /></section>`}
    ${policies.length > 0 && html`<section class="panel"><h2>Policies</h2>${policies.map(([kind, policy]) => html`<h3>${plain(kind)} <span class="muted">${plain(policy?.name ?? "")}</span></h3>
      <${Facts} rows=${Object.entries(policy ?? {}).filter(([name, value]) => name !== "name" && value !== null).map(([name, value]) => [plain(name), html`<${Said} text=${said(value)} />`])} />`)}</section>`}`;
}

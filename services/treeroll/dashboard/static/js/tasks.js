// The tasks of a run: what each got and what it came to. Order and place are of this page alone.
import { html, useState } from "./ui.js";
import { useAnswer } from "./api.js";
import { useRefresh } from "./live.js";
import { Link } from "./router.js";
import { Answered, Said, Table } from "./parts.js";
import { Saves } from "./saving.js";
import { fixed, percent, whole } from "./format.js";

const PAGE = 20;
const trees = (run, task) => `/trees?${new URLSearchParams({ run, q: task })}`;

const columns = (run) => [
  { label: "task", order: "task", cell: (row) => html`<${Link} href=${trees(run, row.task_id)}><${Said} text=${row.task_id} /><//>` },
  { label: "trees", right: true, order: "trees", cell: (row) => html`${whole(row.trees)}${row.unfinished ? html` <span class="muted" title="grow or wait">${whole(row.unfinished)} grow</span>` : ""}${row.failed ? html` <span class="warn-text">${whole(row.failed)} failed</span>` : ""}` },
  { label: "leaves", right: true, order: "leaves", cell: (row) => whole(row.leaves) },
  { label: "reward", right: true, order: "reward", title: "mean over scored leaves", cell: (row) => (row.mean_reward === null ? html`<span class="muted">unscored</span>` : fixed(row.mean_reward, 3)) },
  { label: "spread", right: true, order: "spread", title: "highest minus lowest reward, over all its trees", cell: (row) => (row.spread === null ? "–" : row.spread === 0 ? html`<span class="warn-text">0</span>` : fixed(row.spread)) },
  { label: "no signal", right: true, title: "trees whose rewards are all equal", cell: (row) => whole(row.no_signal) },
  { label: "tokens", right: true, order: "tokens", title: "generated, waste included", cell: (row) => whole(row.spent) },
  { label: "waste", right: true, order: "wasted", title: "tokens in no sample, of trees that ended; share of those generated", cell: (row) => (row.wasted === null ? "–" : html`${whole(row.wasted)} <span class="muted">${percent(row.wasted, row.spent)}</span>`) },
];

export function Tasks({ run }) {
  const [asked, ask] = useState({ order: "reward", direction: "asc", skip: 0 });
  const answer = useAnswer(`/runs/${encodeURIComponent(run.run_id)}/tasks?${new URLSearchParams({ ...asked, limit: PAGE })}`);
  useRefresh(answer, 5);
  const sort = { ...asked, set: (order) => ask({ order, direction: asked.order === order && asked.direction === "desc" ? "asc" : "desc", skip: 0 }) };
  return html`<section class="panel flush"><h2 class="padded">Tasks</h2><${Answered} answer=${answer} what="tasks">${({ items, total, behind }) => html`
    <${Table} label="tasks" columns=${columns(run.run_id)} rows=${items.map((row) => ({ ...row, key: row.task_id }))} sort=${sort} href=${(row) => trees(run.run_id, row.task_id)} />
    <p class="list-foot padded"><span>${total > PAGE ? `${whole(asked.skip + 1)} to ${whole(asked.skip + items.length)} of ` : ""}${whole(total)} ${total === 1 ? "task" : "tasks"} with a tree</span>
      ${behind && html`<span class="warn-text">still reading older trees</span>`}
      ${asked.skip > 0 && html`<button onClick=${() => ask({ ...asked, skip: Math.max(0, asked.skip - PAGE) })}>Previous</button>`}
      ${asked.skip + items.length < total && html`<button onClick=${() => ask({ ...asked, skip: asked.skip + PAGE })}>Next</button>`}
      <${Saves} list="tasks" query=${new URLSearchParams({ run: run.run_id, order: asked.order, direction: asked.direction })} /></p>`}<//></section>`;
}

// What is shown here, with which versions, under which licences.
import { html } from "./ui.js";
import { Facts, Head, Said } from "./parts.js";
import { when } from "./clock.js";
import { whole } from "./format.js";

export function About({ about }) {
  const record = about.record ?? {};
  const versions = Object.entries(about.versions ?? {});
  return html`<${Head} title="About" />
    <section class="panel"><h2>Source</h2><${Facts} rows=${[
      ["kind", about.kind === "results" ? "results of a rollout" : about.scenario ? "a scenario, with simulated engines" : "a service's store"],
      ["place", html`<${Said} text=${about.name} />`],
      ["what is wrong", about.lesson && html`<${Said} text=${about.lesson} />`],
      ["trees", about.trees === null ? null : whole(about.trees)],
      ["complete", about.kind !== "results" ? null : about.complete === null || about.complete === undefined ? "still being written, or cut short" : about.complete ? "every task came to its end" : "cut short by a signal"],
      ["task file", record.tasks && html`<${Said} text=${record.tasks} />`],
      ["model", record.model && html`<${Said} text=${record.model} />`],
      ["engine", record.engine],
      ["as of", when(about.as_of)],
    ]} /></section>
    <section class="panel"><h2>Versions</h2><${Facts} rows=${[["dashboard", about.version], ...versions.map(([name, value]) => [name, html`<${Said} text=${value} />`])]} /></section>
    <section class="panel"><h2>Of others</h2><p>Pages use preact, @preact/signals, htm and uPlot; <a href="/static/vendor/LICENSES.txt">their licences</a>.
      They load nothing from elsewhere. <code>/api/1/</code> is public and versioned: docs/dashboard.md describes it.</p></section>`;
}

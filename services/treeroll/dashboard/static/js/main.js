// The shell: rail, top bar, and the page that the address names.
import { html, render, useEffect, useState } from "./ui.js";
import { takeToken, useAnswer } from "./api.js";
import { place, Link, go } from "./router.js";
import { applyTheme, theme, toggleTheme } from "./theme.js";
import { local, toggleClock } from "./clock.js";
import { Answered, Empty, Head } from "./parts.js";
import { plain } from "./format.js";
import { Runs, Run } from "./runs.js";
import { Trees } from "./trees.js";
import { Tree } from "./tree.js";
import { About } from "./about.js";
import { Overview } from "./overview.js";
import { Replicas } from "./replicas.js";
import { Feed, Store } from "./feed.js";
import { Events } from "./events.js";
import { LiveBar } from "./bar.js";
import { follow } from "./live.js";

const NAMES = { overview: "Overview", replicas: "Replicas", runs: "Runs", trees: "Trees", feed: "Feed", store: "Store", events: "Events", about: "About" };

function Page({ about }) {
  const [, section = "", id] = place.value.path.split("/");
  const name = section || about.pages[0];
  if (!about.pages.includes(name)) return html`<${Nowhere} about=${about} name=${name} />`;
  const key = decodeURIComponent(id ?? "");
  if (name === "runs") return key ? html`<${Run} id=${key} key=${key} about=${about} />` : html`<${Runs} about=${about} />`;
  if (name === "trees") return key ? html`<${Tree} id=${key} key=${key} about=${about} />` : html`<${Trees} about=${about} />`;
  const pages = { overview: Overview, replicas: Replicas, feed: Feed, store: Store, events: Events };
  return html`<${pages[name] ?? About} about=${about} />`;
}

const Nowhere = ({ about, name }) => html`<${Head} title="Nothing here" /><${Empty} title=${
  name in NAMES ? `${NAMES[name]} is of a running service.` : "There is no such page."}>
  <p class="muted">${about.kind === "results" ? "These are the results of a rollout: they have Runs and Trees." : ""}</p>
  <p><${Link} href=${`/${about.pages[0]}`}>Go to ${NAMES[about.pages[0]]}<//></p><//>`;

function Shell({ about }) {
  const section = place.value.path.split("/")[1] || about.pages[0];
  const [help, setHelp] = useState(false);
  if (about.kind === "live") follow();
  useEffect(() => {
    document.title = `${NAMES[section] ?? "treeroll"} · treeroll`;
  }, [section]);
  useEffect(() => {
    const onKey = (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "?") setHelp((open) => !open);
      if (event.key === "Escape") setHelp(false);
      if (event.key === "/") {
        event.preventDefault();
        const field = document.querySelector("#search");
        if (field) field.focus();
        else go("/trees?focus=1");
      }
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return html`<div class="shell">
    <nav class="rail" aria-label="pages"><${Link} href=${`/${about.pages[0]}`} class="mark">treeroll<//>
      <ul>${about.pages.map((name) => html`<li><${Link} href=${`/${name}`} aria-current=${name === section ? "page" : undefined}>${NAMES[name]}<//></li>`)}</ul>
      <div class="rail-foot"><button class="quiet" onClick=${toggleTheme} title="Light or dark">${theme.value === "dark" ? "Light" : "Dark"}</button>
      <button class="quiet" onClick=${toggleClock} title=${local.value ? "Times are of this machine's clock" : "Times are in UTC"}>${local.value ? "UTC" : "Local time"}</button>
      <button class="quiet" onClick=${() => setHelp(true)} title="Keys">Keys</button></div></nav>
    <div class="main"><div class="topbar"><span class="source"><span class="muted">${about.kind === "results" ? "results of" : about.scenario ? "scenario" : "store"}</span> <bdi title=${plain(about.name)}>${plain(about.name)}</bdi></span>${about.kind === "live" && html`<${LiveBar} brief=${section === "overview"} />`}</div>
      <main><${Page} about=${about} /></main></div>
    ${help && html`<${Help} close=${() => setHelp(false)} />`}
  </div>`;
}

const KEYS = [
  ["/", "search trees"], ["j k", "next, previous row"], ["Enter", "open the row"], ["Esc", "close, or back to the list"],
  ["← →", "tree: parent, first child"], ["↑ ↓", "tree: previous, next branch"], ["[ ]", "tree: previous, next sibling"], ["{ }", "tree: previous, next of the same depth"],
  ["+ − 0", "tree: zoom in, out, whole; map: into, out, whole"], ["f", "tree: find a text"], ["n N", "tree: next, previous node with it"], ["b", "tree: best and worst leaf, compared"], ["?", "these keys"],
];

const Help = ({ close }) => html`<div class="veil" onClick=${close}><div class="dialog" role="dialog" aria-label="Keys" aria-modal="true" onClick=${(e) => e.stopPropagation()}>
  <h2>Keys</h2><table class="keys">${KEYS.map(([key, what]) => html`<tr><td>${key.split(" ").map((one) => html`<kbd>${one}</kbd>`)}</td><td>${what}</td></tr>`)}</table>
  <p><button onClick=${close}>Close</button></p></div></div>`;

function App() {
  const about = useAnswer("/about");
  return html`<${Answered} answer=${about} what="source" title="treeroll">${(data) => html`<${Shell} about=${data} />`}<//>`;
}

takeToken();
applyTheme();
const root = document.querySelector("#app");
root.replaceChildren();
render(html`<${App} />`, root);

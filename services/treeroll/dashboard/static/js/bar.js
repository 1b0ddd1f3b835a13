// The top bar of a live source: what is wrong first, and how old the news are.
import { html } from "./ui.js";
import { connection, phase, state } from "./live.js";
import { Link } from "./router.js";
import { Said } from "./parts.js";
import { time, zone } from "./clock.js";
import { lasting } from "./format.js";

const WORDS = { connecting: "connecting", live: "live", stale: "stale", empty: "no news", away: "store away", lost: "no dashboard" };

/** `brief`: the page below says what is wrong. */
export function LiveBar({ brief }) {
  const now = phase();
  const message = state.value;
  const worst = message?.verdict?.[0];
  const snapshot = message?.snapshot;
  const age = message?.age_s;
  return html`<span class=${`age ${now}`} role="status">${WORDS[now]}${age !== null && age !== undefined && now !== "lost" ? ` ${lasting(Math.max(0, age))}` : ""}</span>
    ${snapshot && html`<span class="muted epoch">epoch ${snapshot.epoch}</span>`}
    <span class="worst">${now === "lost" ? html`<span class="bad-text">The dashboard's process does not answer; trying again.</span>`
      : brief ? "" : worst ? html`<${Sentence} one=${worst} />${message.verdict.length > 1 && html` <span class="muted">and ${message.verdict.length - 1} more</span>`}`
      : now === "live" ? html`<span class="good-text">all well</span>` : ""}</span>`;
}

/** A sentence of the verdict; a click leads to where it is seen in detail. */
export function Sentence({ one }) {
  const tone = { page: "bad", warn: "warn" }[one.severity] ?? "mute";
  const sentence = html`<${Said} text=${one.sentence.charAt(0).toUpperCase() + one.sentence.slice(1)} />`;
  const page = one.page.split("/").map(encodeURIComponent).join("/");
  return html`<span class=${`finding ${tone}`}><span class="severity">${one.severity}</span> ${sentence}${page && html` <${Link} href=${`/${page}`}>${one.page.split("/")[0]} →<//>`}</span>`;
}

/** What is to be said instead of figures; null where they may be shown. */
export function Unknown() {
  const now = phase();
  if (connection.value === "refused") return html`<p class="waiting">The token is not in force any more; load the page again.</p>`;
  if (now === "connecting") return html`<p class="waiting" aria-busy="true">connecting …</p>`;
  if (!state.value?.snapshot) {
    return html`<div class="empty"><p><strong>${now === "away" ? "The store does not answer." : "No service has said anything here yet."}</strong></p>
      <p class="muted">${now === "away" ? html`<${Said} text=${state.value.error} />` : html`Start one on this store with <code>treeroll serve --store URL</code>; it says how it is once a second.`}</p></div>`;
  }
  return null;
}

/** Why values are greyed; `brief` where the verdict says it beside. */
export function Greyed({ brief = false }) {
  const now = phase();
  const message = state.value;
  if (now === "live" || !message?.snapshot) return null;
  const s = message.snapshot;
  const why = now === "lost" ? "The dashboard's process does not answer." : now === "away" ? message.error
    : `No news from the coordinator for ${lasting(message.age_s)}; last epoch ${s.epoch}, pid ${s.pid} on ${s.host}.`;
  return html`<p class="notice warn">${!brief && html`<${Said} text=${why} /> `}Figures are as of ${time(s.at)} ${zone(s.at)}.</p>`;
}

export const greyed = () => (phase() === "live" ? "" : "greyed");

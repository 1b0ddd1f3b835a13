// What is known of one node, and two paths side by side. Texts are asked for when they are shown.
import { html, useEffect, useRef, useState } from "./ui.js";
import { askJson, useAnswer } from "./api.js";
import { Answered, Facts, Said, Trouble } from "./parts.js";
import { Link, withQuery } from "./router.js";
import { when } from "./clock.js";
import { Marked } from "./find.js";
import { fixed, lasting, plain, signed, whole } from "./format.js";

const at = (id) => `/trees/${encodeURIComponent(id)}`;

/** @param {{id: string, order: object, place: number, select: (place: number) => void}} given */
export function Details({ id, order, place, select, words }) {
  const number = order.number[place];
  const answer = useAnswer(`${at(id)}/nodes?numbers=${number}`);
  const siblings = order.siblings(place);
  const best = siblings.filter((one) => one !== place).reduce((top, one) => (
    top < 0 || order.nodes.value[order.number[one]] > order.nodes.value[order.number[top]] ? one : top), -1);
  const path = order.path(place);
  return html`<div class="details-head"><h2><${Said} text=${path || "prompt"} /></h2><div class="buttons">
      <button disabled=${order.up[place] < 0} onClick=${() => select(order.up[place])} title="←">parent</button>
      <button disabled=${siblings.indexOf(place) === 0} onClick=${() => select(siblings[siblings.indexOf(place) - 1])} title="[">‹ sibling</button>
      <button disabled=${siblings.indexOf(place) === siblings.length - 1} onClick=${() => select(siblings[siblings.indexOf(place) + 1])} title="]">sibling ›</button>
      <button disabled=${best < 0} onClick=${() => select(best)}>best sibling</button>
      <${Link} href=${withQuery({ with: path || "root", compare: "" })} class="button" title="its path beside that of the block or row that is selected next">compare with …<//></div></div>
    <${Answered} answer=${answer} what="node">${(data) => html`<${Node} id=${id} node=${data.items[0]} key=${data.items[0].number} order=${order} place=${order.place[data.items[0].number]} words=${words} />`}<//>`;
}

function Node({ id, node, order, place }) {
  const advantage = order.nodes.advantage[order.number[place]];
  const sampled = node.logprobs.length - node.inserted_tokens - node.observation_tokens;
  const sum = node.logprobs.reduce((a, b) => a + b, 0);
  const leaf = node.leaf;
  return html`<${Facts} rows=${[
      ["why", html`<${Said} text=${node.why_begun} />`],
      ["waited", node.why_waited && html`<${Said} text=${node.why_waited} />`],
      ["end", node.why_ended && html`<${Said} text=${node.why_ended} />`],
      ["tokens", `${whole(node.token_ids.length)} from ${whole(node.token_start)}${node.inserted_tokens ? `, ${node.inserted_tokens} inserted` : ""}${node.observation_tokens ? `, ${node.observation_tokens} of a tool` : ""}`],
      ["logprob", sampled > 0 ? `${fixed(sum / sampled)} mean, ${fixed(Math.min(...node.logprobs))} lowest` : null],
      ["entropy", node.entropies?.length ? `${fixed(node.entropies.reduce((a, b) => a + b, 0) / node.entropies.length)} nats mean` : null],
      ["reward", node.value === null ? "no scored leaf below" : leaf ? fixed(leaf.reward, 3) : `${fixed(node.value, 3)} mean of ${whole(node.n_leaves)} ${node.n_leaves === 1 ? "leaf" : "leaves"} below`],
      ["advantage", Number.isNaN(advantage) ? null : signed(advantage, 3)],
      ["path weight", leaf ? fixed(leaf.path_weight, 4) : null],
      ["status", `${node.status}${node.stop_reason ? `: ${node.stop_reason}` : ""}${node.n_leaves || !place ? "" : ", in no sample"}`],
      ["replica", node.replica_id ? html`<${Said} text=${`${node.replica_id}.${node.incarnation}`} />${node.attempt > 1 ? `, attempt ${node.attempt}` : ""}` : null],
      ["weights", node.weight_versions?.map((span) => `version ${span.version}: ${whole(span.tokens)} tok`).join(", ")],
      ["prefix", node.cached_tokens === null || !place ? null : `${whole(node.cached_tokens)} cached, ${whole(node.recomputed_tokens)} computed again`],
      ["dropped", node.dropped_tokens ? `${whole(node.dropped_tokens)} tokens decoded past it` : null],
      ["time", node.finished_at && place ? `${lasting(node.finished_at - node.started_at)} since its request, until ${when(node.finished_at)}` : null],
      ...node.rewards.map((one) => [`by ${one.scorer}`, one.value === null ? html`<span class="bad-text">failed: <${Said} text=${one.error} /></span>` : fixed(one.value, 3)]),
    ]} />
    <${Text} text=${node.text} chars=${node.text_chars} more=${() => askJson(`${at(id)}/nodes?numbers=${node.number}&whole=1`).then((d) => d.items[0].text)} />
    ${place > 0 && html`<${Whole} id=${id} number=${node.number} key=${node.number} />`}`;
}

/** A text with its lines, cut where the server cut it. */
function Text({ text, chars, more }) {
  const [all, setAll] = useState(null);
  const [error, setError] = useState(null);
  const shown = all ?? text;
  return html`<pre class="text" tabindex="0"><${Marked} text=${shown} /></pre>
    ${shown.length < chars && html`<p class="muted">First ${whole(text.length)} of ${whole(chars)} characters. <button onClick=${() => more().then(setAll, setError)}>Show all</button></p>`}
    ${error && html`<${Trouble} error=${error} />`}`;
}

/** The text from the prompt to here, on demand. */
function Whole({ id, number }) {
  const [open, setOpen] = useState(false);
  const answer = useAnswer(open ? `${at(id)}/path/${number}` : null);
  if (!open) return html`<p><button onClick=${() => setOpen(true)}>Show the whole path</button></p>`;
  return html`<h3>Whole path</h3><${Answered} answer=${answer} what="path">${(data) => html`<pre class="text" tabindex="0">${data.items.map((node, k) => html`<span class=${k % 2 ? "alternate" : ""}><${Marked} text=${node.text} /></span>`)}</pre>`}<//>`;
}

/** Two paths: what they share once, then each. `names` of both; the best and the worst have those. */
export function Compare({ id, order, pair, names, close, select }) {
  const [paths, setPaths] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const abort = new AbortController();
    Promise.all(pair.map((place) => askJson(`${at(id)}/path/${order.number[place]}`, abort.signal))).then(
      (both) => setPaths(both.map((one) => one.items)), (problem) => problem.name !== "AbortError" && setError(problem));
    return () => abort.abort();
  }, [id, ...pair]);
  const panel = useRef(null);
  useEffect(() => { if (paths) panel.current.scrollIntoView({ block: "nearest" }); }, [paths]); // it is below the grid
  const shared = paths ? paths[0].filter((node, k) => paths[1][k]?.number === node.number) : [];
  const tokens = shared.reduce((sum, node) => sum + node.token_ids.length, 0);
  return html`<section class="panel compare" ref=${panel}><div class="details-head"><h2>${plain(names[0])} against ${plain(names[1].toLowerCase())}</h2><button onClick=${close}>Close</button></div>
    ${error && html`<${Trouble} error=${error} />`}
    ${!paths && !error && html`<p class="waiting" aria-busy="true">reading both paths …</p>`}
    ${paths && html`<h3>Shared: ${whole(tokens)} tokens</h3><pre class="text shared" tabindex="0">${shared.map((node) => html`<${Said} text=${node.text} lines=${true} />`)}</pre>
      <div class="versus">${paths.map((path, k) => {
        const own = path.slice(shared.length);
        const leaf = path.at(-1);
        return html`<div><h3>${plain(names[k])}: ${leaf.value === null ? "unscored" : `reward ${fixed(leaf.leaf?.reward ?? leaf.value, 3)}${leaf.leaf ? "" : " below"}, advantage ${signed(order.nodes.advantage[leaf.number], 3)}`}
            <button onClick=${() => select(pair[k])}>select</button></h3>
          <p class="muted">${whole(own.reduce((sum, node) => sum + node.token_ids.length, 0))} tokens of its own${leaf.stop_reason ? `, ended by ${plain(leaf.stop_reason)}` : ""}</p>
          <pre class="text" tabindex="0">${own.map((node) => html`<${Said} text=${node.text} lines=${true} />`)}</pre></div>`;
      })}</div>`}</section>`;
}

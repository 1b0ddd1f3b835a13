// What the pictures of a tree share: their inks, the colours that were chosen, and the tools above them.
import { html, useLayoutEffect, useMemo, useRef } from "./ui.js";
import { go, Link, place as where, withQuery } from "./router.js";
import { theme } from "./theme.js";
import { plain, whole } from "./format.js";
import { MODES, known, paint, UNSCORED } from "./colours.js";

const INKS = {
  light: { ground: "#ffffff", muted: "#5d636b", edge: "rgba(20,24,30,.32)", accent: "#1d4fd8", strip: "#c3cad3", margin: "#f0f0ee", hatch: "rgba(40,30,30,.62)" },
  dark: { ground: "#1a1c20", muted: "#9aa1aa", edge: "rgba(0,0,0,.55)", accent: "#ffffff", strip: "#4a525d", margin: "#24272b", hatch: "rgba(235,225,215,.62)" },
};

export const inks = (name) => ({ theme: name, ...INKS[name], unscoredRgb: hex(UNSCORED[name]), hatchRgb: name === "dark" ? [225, 215, 205] : [40, 30, 30] });
const hex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

/** The colours that the address asks for: {wanted, modes, colours}. */
export function useColours(order, header) {
  const mode = where.value.query.get("colour") ?? (header.n_scored > 0 ? "advantage" : "logprob");
  const wanted = MODES[mode] && mode !== "spread" ? mode : "logprob";
  const modes = useMemo(() => Object.keys(MODES).filter((name) => name === wanted || known(order.nodes, name, header.words)), [order, wanted]);
  const colours = useMemo(() => paint(order, wanted, theme.value, header.words), [order, wanted, theme.value]);
  return { wanted, modes, colours };
}

const VIEWS = [["lanes", "", "a lane for each path, by token position"], ["map", "map", "a cell for each part, by tokens"]];

/** What stands above a picture; `children` are its own buttons. */
export function Tools({ order, header, done, painted, children }) {
  const { wanted, modes, colours } = painted;
  const { query } = where.value;
  const shown = query.get("view") === "map" ? "map" : "";
  return html`<div class="lanes-head"><span class="switch" role="group" aria-label="picture">${VIEWS.map(([name, view, title]) => html`<${Link}
        href=${withQuery({ view, in: "" })} class=${`tab ${view === shown ? "on" : ""}`} aria-current=${view === shown ? "true" : undefined} title=${title}>${name}<//>`)}</span>
      <label class="inline">colour <select value=${wanted} onChange=${(event) => go(withQuery({ colour: event.target.value }), { replace: true })}>
        ${modes.map((name) => html`<option value=${name}>${MODES[name].name}</option>`)}</select></label>
      <${Legend} colours=${colours} order=${order} />
      <span class="spring"></span>
      ${!done && html`<span class="muted">${whole(order.count)} of ${whole(header.nodes)} nodes</span>`}
      ${header.n_scored > 1 && html`<${Link} href=${withQuery({ compare: query.get("compare") ? "" : "1" })} class="button" title="b">best vs worst<//>`}
      <span class="buttons">${children}</span></div>`;
}

/** What the colours stand for; of a tree with `order`, hatching, too. */
export function Legend({ colours, order }) {
  const canvas = useRef(null);
  const { spec, table } = colours;
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const context = canvas.current.getContext("2d");
    for (let x = 0; x < 128; x++) {
      context.fillStyle = `rgb(${table[6 * x]},${table[6 * x + 1]},${table[6 * x + 2]})`;
      context.fillRect(x, 0, 1, 10);
    }
  }, [colours]);
  let wasted = false;
  for (let i = 1; order && i < order.nodes.count && !wasted; i++) wasted = !order.nodes.leaves[i];
  const hatched = wasted && html`<span class="key"><span class="swatch hatched"></span>in no sample</span>`;
  if (spec.words) {
    return html`<span class="legend">${colours.words.slice(0, 8).map((word, k) => word && html`<span class="key"><span class="swatch" style=${{ background: colours.colours[k % colours.colours.length] }}></span>${plain(word)}</span>`)}${hatched}</span>`;
  }
  const value = (x) => (spec.name === "waste" ? "" : (spec.sign && x > 0 ? "+" : "") + x.toFixed(spec.digits));
  return html`<span class="legend" title=${spec.title}><span class="muted">${spec.low}</span> <span class="tabular">${value(colours.low)}</span><canvas ref=${canvas} width="128" height="10" aria-hidden="true"></canvas><span class="tabular">${value(colours.high)}</span> <span class="muted">${spec.high}</span>${hatched}</span>`;
}

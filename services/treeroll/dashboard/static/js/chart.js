// Lines over the last quarter of an hour, from the history that the store keeps.
import { html, uPlot, useEffect, useLayoutEffect, useRef, signal } from "./ui.js";
import { askJson } from "./api.js";
import { theme } from "./theme.js";
import { local, time } from "./clock.js";
import { short } from "./format.js";
import { Link, go } from "./router.js";
import { Said } from "./parts.js";

/** Columns, replaced as a whole whenever a point comes. */
export const past = signal(null);

let begun = false;

/** Ask for the history every five seconds from now on. */
export function keep() {
  if (begun) return;
  begun = true;
  const read = () => askJson("/history").then((found) => { past.value = found; }, () => {});
  read();
  setInterval(read, 5000);
}

/** A line for each incident, on the time axis. */
function marks(u, colour) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.setLineDash([3, 3]);
  for (const one of past.value?.events ?? []) {
    const x = Math.round(u.valToPos(one.at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

/** What was amiss in the time that the charts show, each with the events around it. */
export function Marks() {
  const events = (past.value?.events ?? []).slice(-3).reverse();
  if (!events.length) return null;
  return html`<p class="marks muted">${events.map((one) => html`<${Link} href=${`/events?until=${Math.ceil(one.at) + 5}`}><span class="tabular">${time(one.at)}</span> <${Said} text=${one.what} /><//>`)}</p>`;
}

/** @param {{title: string, unit: string, lines: Array<[string, string]>}} given lines: column and what it is called. */
export function Chart({ title, lines, unit = "", format = short }) {
  const place = useRef(null);
  const plot = useRef(null);
  const columns = past.value;
  useLayoutEffect(() => {
    const css = getComputedStyle(document.documentElement);
    const ink = (name) => css.getPropertyValue(name).trim();
    const inks = [ink("--line-1"), ink("--line-2"), ink("--line-3")];
    const axis = { stroke: ink("--muted"), grid: { stroke: ink("--soft"), width: 1 }, ticks: { stroke: ink("--line"), width: 1, size: 4 }, font: "11px system-ui" };
    const made = new uPlot({
      width: place.current.clientWidth, height: 130, legend: { show: false }, cursor: { y: false, points: { size: 5 } }, padding: [6, 28, 0, 0],
      scales: { y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, size: 24, space: 80, values: (u, ticks, k, space, step) => ticks.map((t) => time(t, step < 60 ? 0 : -1)) }, { ...axis, size: 46, space: 24, values: (u, ticks) => ticks.map((v) => format(v)) }],
      hooks: { draw: [(u) => marks(u, ink("--warn"))] },
      series: [{}, ...lines.map((line, k) => ({ stroke: inks[k], width: 1.5, spanGaps: false, points: { show: false } }))],
    }, [[], ...lines.map(() => [])], place.current);
    plot.current = made;
    made.over.addEventListener("click", () => { const at = made.posToVal(made.cursor.left, "x"); if (at) go(`/events?until=${Math.ceil(at) + 5}`); });
    const watch = new ResizeObserver(() => made.setSize({ width: place.current.clientWidth, height: 130 }));
    watch.observe(place.current);
    return () => { watch.disconnect(); made.destroy(); };
  }, [theme.value, local.value]);
  useEffect(() => {
    if (!columns || !plot.current) return;
    plot.current.setData([columns.at, ...lines.map(([name]) => columns[name])]);
    const end = columns.at.at(-1) ?? Date.now() / 1000;
    plot.current.setScale("x", { min: Math.min(columns.at[0] ?? end - 60, end - 60), max: end });
  }, [columns, theme.value, local.value]);
  const last = (name) => columns?.[name]?.at(-1);
  return html`<section class="panel chart"><h2>${title} <span class="muted">${unit}</span></h2>
    <p class="chart-key">${lines.map(([name, label], k) => html`<span class="key"><span class=${`swatch line-${k + 1}`}></span>${label} <b class="tabular">${last(name) === null || last(name) === undefined ? "–" : format(last(name))}</b></span>`)}</p>
    <div ref=${place} class="plot" role="img" aria-label=${`${title} over the last 15 minutes`}></div></section>`;
}

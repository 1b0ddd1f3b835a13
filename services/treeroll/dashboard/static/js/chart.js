// Lines over the last quarter of an hour, from the history that the store keeps.
import { html, uPlot, useEffect, useLayoutEffect, useRef, signal } from "./ui.js";
import { askJson } from "./api.js";
import { theme } from "./theme.js";
import { short } from "./format.js";

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
      width: place.current.clientWidth, height: 130, legend: { show: false }, cursor: { y: false, points: { size: 5 } }, padding: [6, 8, 0, 0],
      scales: { y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, size: 24, space: 80, values: (u, ticks, k, space, step) => ticks.map((t) => new Date(t * 1000).toISOString().slice(11, step < 60 ? 19 : 16)) }, { ...axis, size: 46, values: (u, ticks) => ticks.map((v) => format(v)) }],
      series: [{}, ...lines.map((line, k) => ({ stroke: inks[k], width: 1.5, spanGaps: false, points: { show: false } }))],
    }, [[], ...lines.map(() => [])], place.current);
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: place.current.clientWidth, height: 130 }));
    watch.observe(place.current);
    return () => { watch.disconnect(); made.destroy(); };
  }, [theme.value]);
  useEffect(() => {
    if (!columns || !plot.current) return;
    plot.current.setData([columns.at, ...lines.map(([name]) => columns[name])]);
    const end = columns.at.at(-1) ?? Date.now() / 1000;
    plot.current.setScale("x", { min: Math.min(columns.at[0] ?? end - 60, end - 60), max: end });
  }, [columns, theme.value]);
  const last = (name) => columns?.[name]?.at(-1);
  return html`<section class="panel chart"><h2>${title} <span class="muted">${unit}</span></h2>
    <p class="chart-key">${lines.map(([name, label], k) => html`<span class="key"><span class=${`swatch line-${k + 1}`}></span>${label} <b class="tabular">${last(name) === null || last(name) === undefined ? "–" : format(last(name))}</b></span>`)}</p>
    <div ref=${place} class="plot" role="img" aria-label=${`${title} over the last 15 minutes`}></div></section>`;
}

// Drawing the cells of a map onto a canvas.
import { percent, short } from "./format.js";
import { area, middle } from "./polygons.js";
import { hatching, inWords } from "./lanes.js";

// Of frames by how deep they lie, in CSS pixels.
const WIDTHS = [0, 4.5, 3.5, 2.5, 2, 1.5];

function trace(context, polygon, ratio) {
  context.moveTo(polygon[0] * ratio, polygon[1] * ratio);
  for (let i = 2; i < polygon.length; i += 2) context.lineTo(polygon[i] * ratio, polygon[i + 1] * ratio);
  context.closePath();
}

/**
 * Draw cells {polygon}, with `told` {tokens, waste, level, raw} of each in `colours`, and the frames {polygon, level}
 * around them; the outer ones are wider.
 */
export function draw(canvas, cells, frames, told, colours, style, marked = -1) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const context = canvas.getContext("2d", { alpha: false });
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.fillStyle = style.ground;
  context.fillRect(0, 0, width, height);
  const shades = told.map(({ level }) => (level !== level ? style.unscoredRgb : [0, 1, 2].map((c) => colours.table[3 * (level | 0) + c])));
  const hatch = hatching(context, style, ratio);
  context.lineJoin = "round";
  cells.forEach((cell, k) => {
    context.beginPath();
    trace(context, cell.polygon, ratio);
    context.fillStyle = `rgb(${shades[k].join()})`;
    context.fill();
    if (told[k].waste > 0.5) { context.fillStyle = hatch; context.fill(); }
    context.strokeStyle = style.edge;
    context.lineWidth = 1;
    context.stroke();
  });
  context.strokeStyle = style.ground;
  for (let deep = Math.max(0, ...frames.map((one) => one.level)); deep > 0; deep--) { // the outer ones last, over the inner
    context.beginPath();
    for (const one of frames) if (one.level === deep) trace(context, one.polygon, ratio);
    context.lineWidth = (WIDTHS[deep] ?? 1) * ratio;
    context.stroke();
  }
  cells.forEach((cell, k) => label(context, cell, told[k], shades[k], colours, ratio));
  if (marked >= 0) {
    context.beginPath();
    trace(context, cells[marked].polygon, ratio);
    context.strokeStyle = style.accent;
    context.lineWidth = 3 * ratio;
    context.stroke();
  }
}

/** What fits a cell: its value, and below it its tokens. */
function label(context, cell, told, shade, colours, ratio) {
  if (area(cell.polygon) < 500) return;
  const [x, y] = middle(cell.polygon);
  let free = Infinity; // from the middle to the nearest side
  for (let i = 0, j = cell.polygon.length - 2; i < cell.polygon.length; j = i, i += 2) {
    const dx = cell.polygon[i] - cell.polygon[j], dy = cell.polygon[i + 1] - cell.polygon[j + 1];
    const far = Math.hypot(dx, dy);
    if (far > 1e-6) free = Math.min(free, Math.abs(dx * (y - cell.polygon[j + 1]) - dy * (x - cell.polygon[j])) / far);
  }
  const said = colours.spec.name === "waste" ? (told.waste > 0 ? percent(told.waste, 1, 0) : "") : inWords(colours, told.raw);
  const lines = [said, free > 26 ? `${short(told.tokens)} tok` : ""].filter(Boolean);
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 130 ? "#16181b" : "#f6f7f8";
  lines.forEach((line, k) => {
    const off = (k - (lines.length - 1) / 2) * 14;
    const room = 2 * Math.sqrt(Math.max(0, free * free - (Math.abs(off) + 5) ** 2));
    if (context.measureText(line).width / ratio <= room) context.fillText(line, x * ratio, (y + off) * ratio);
  });
}

// The lanes picture: x is the token position, one lane per path. What is thinner than a pixel is averaged by area.
import { UNSCORED } from "./colours.js";

const AXIS = 20; // CSS pixels above the lanes
const STRIP = 26; // below: how many paths are alive
const MARGIN = 10; // right: share of each lane's tokens that is in no sample
const THIN = 2; // device pixels below which blocks are averaged

/** What of the tree is seen: tokens x0..x1, lanes y0..y1. */
export const wholeView = (order) => ({ x0: 0, x1: Math.max(1, order.tokens), y0: 0, y1: Math.max(1, order.paths) });

/** A view with its sides inside the tree, at least a few tokens and half a lane large. */
export function clamped(view, order) {
  const all = wholeView(order);
  const width = Math.min(all.x1, Math.max(Math.min(8, all.x1), view.x1 - view.x0));
  const height = Math.min(all.y1, Math.max(Math.min(1, all.y1), view.y1 - view.y0));
  const x0 = Math.max(0, Math.min(all.x1 - width, view.x0));
  const y0 = Math.max(0, Math.min(all.y1 - height, view.y0));
  return { x0, x1: x0 + width, y0, y1: y0 + height };
}

/** Zoom by a factor about a point in tokens and lanes. */
export function zoomed(view, factor, x, y, order) {
  return clamped({ x0: x - (x - view.x0) * factor, x1: x + (view.x1 - x) * factor, y0: y - (y - view.y0) * factor, y1: y + (view.y1 - y) * factor }, order);
}

const STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

export class Picture {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.buffers = null;
  }

  /** Where the lanes are, in CSS pixels. */
  get box() {
    const width = this.canvas.clientWidth - MARGIN - 2;
    return { left: 0, top: AXIS, width, height: Math.max(10, this.canvas.clientHeight - AXIS - STRIP) };
  }

  /** Token and lane under a point of the canvas in CSS pixels. */
  point(x, y, view) {
    const box = this.box;
    return [view.x0 + ((x - box.left) / box.width) * (view.x1 - view.x0), view.y0 + ((y - box.top) / box.height) * (view.y1 - view.y0)];
  }

  /** Draw. `colours` from `paint`; `style` has the theme's inks. */
  draw(order, colours, view, style, selected = -1, ratio = Math.min(2, devicePixelRatio || 1)) {
    const { canvas, context } = this;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    context.fillStyle = style.ground;
    context.fillRect(0, 0, width, height);
    if (!order.count || !width) return;
    const box = this.box;
    const left = Math.round(box.left * ratio), top = Math.round(box.top * ratio);
    const w = Math.round(box.width * ratio), h = Math.round(box.height * ratio);
    const sx = w / (view.x1 - view.x0), sy = h / (view.y1 - view.y0);
    const labels = this.blocks(order, colours, view, style, { left, top, w, h, sx, sy, ratio });
    context.save();
    context.beginPath();
    context.rect(left, top, w, h);
    context.clip();
    this.labels(order, colours, labels, style, ratio);
    if (selected >= 0) this.mark(order, view, selected, style, { left, top, sx, sy, ratio });
    context.restore();
    this.axis(view, style, { left, w, sx, ratio });
    this.strip(order, view, style, { left, w, h, top, ratio });
    this.margin(order, view, style, { left, w, h, top, ratio });
  }

  blocks(order, colours, view, style, { left, top, w, h, sx, sy, ratio }) {
    const { context } = this;
    const { nodes, number, start, stop, top: lane, lanes, end, count } = order;
    const { leaves } = nodes;
    const { level, table } = colours;
    const css = [];
    for (let i = 0; i < 256; i++) css.push(`rgb(${table[3 * i]},${table[3 * i + 1]},${table[3 * i + 2]})`);
    const unscored = UNSCORED[style.theme];
    const border = 4 * ratio;
    const labels = [];
    const hatched = [];
    let thin = false;
    let buffers = null;
    let colour = null;
    for (let i = 0; i < count;) {
      const y0 = (lane[i] - view.y0) * sy, y1 = y0 + lanes[i] * sy;
      const x0 = (start[i] - view.x0) * sx;
      if (y1 <= 0 || y0 >= h || x0 >= w) { i = end[i]; continue; } // none of what is below can be seen
      const x1 = (stop[i] - view.x0) * sx;
      if (x1 > 0 && x1 > x0) {
        const from = Math.max(0, x0), to = Math.min(w, x1);
        const tall = y1 - y0;
        if (tall >= THIN) {
          const px = Math.round(from), pw = Math.max(1, Math.round(to) - px);
          const py = Math.max(0, Math.round(y0)), ph = Math.max(1, Math.min(h, Math.round(y1)) - py);
          const v = level[i];
          const wanted = v !== v ? unscored : css[v | 0];
          if (wanted !== colour) context.fillStyle = colour = wanted;
          context.fillRect(left + px, top + py, pw, ph);
          if (!leaves[number[i]] && i) hatched.push(left + px, top + py, pw, ph);
          if (tall >= border && x1 - x0 >= 3 * ratio) labels.push(i, left + px, top + py, pw, ph);
        } else {
          if (!thin) { thin = true; buffers = this.cleared(w, h); }
          add(buffers, w, h, from, to, Math.max(0, y0), Math.min(h, y1), level[i], leaves[number[i]] ? 0 : 1);
        }
      }
      i += 1;
    }
    if (thin) this.blend(buffers, w, h, left, top, table, style);
    this.hatch(hatched, style, ratio);
    return labels;
  }

  /** Sums per pixel: value x area, scored area, area, area in no sample. */
  cleared(w, h) {
    if (!this.buffers || this.buffers.size !== w * h) {
      const made = () => new Float32Array(w * h);
      this.buffers = { size: w * h, value: made(), scored: made(), area: made(), waste: made(), image: new ImageData(w, h) };
    } else for (const name of ["value", "scored", "area", "waste"]) this.buffers[name].fill(0);
    return this.buffers;
  }

  /** One pass over the pixels that something thin covers; they go onto what is drawn. */
  blend(buffers, w, h, left, top, table, style) {
    const { value, scored, area, waste } = buffers;
    const image = this.context.getImageData(left, top, w, h);
    const out = image.data;
    const grey = style.unscoredRgb;
    for (let p = 0, n = w * h; p < n; p++) {
      const a = area[p];
      if (a < 0.004) continue;
      const cover = a > 1 ? 1 : a;
      const q = 4 * p;
      let r = grey[0], g = grey[1], b = grey[2];
      const s = scored[p];
      if (s > 0) {
        const t = 3 * ((value[p] / s) | 0), part = s / a;
        r += (table[t] - r) * part; g += (table[t + 1] - g) * part; b += (table[t + 2] - b) * part;
      }
      if (waste[p] > 0.5 * a && (((p % w) + ((p / w) | 0)) & 3) === 0) { r = style.hatchRgb[0]; g = style.hatchRgb[1]; b = style.hatchRgb[2]; }
      out[q] += (r - out[q]) * cover; out[q + 1] += (g - out[q + 1]) * cover; out[q + 2] += (b - out[q + 2]) * cover;
    }
    this.context.putImageData(image, left, top);
  }

  hatch(boxes, style, ratio) {
    if (!boxes.length) return;
    const { context } = this;
    if (!this.pattern || this.patternOf !== style.theme) {
      this.pattern = hatching(context, style, ratio);
      this.patternOf = style.theme;
    }
    context.fillStyle = this.pattern;
    for (let i = 0; i < boxes.length; i += 4) context.fillRect(boxes[i], boxes[i + 1], boxes[i + 2], boxes[i + 3]);
  }

  labels(order, colours, boxes, style, ratio) {
    const { context } = this;
    const { nodes } = order;
    context.lineWidth = 1;
    context.strokeStyle = style.edge;
    context.beginPath();
    for (let k = 0; k < boxes.length; k += 5) context.rect(boxes[k + 1] + 0.5, boxes[k + 2] + 0.5, boxes[k + 3] - 1, boxes[k + 4] - 1);
    context.stroke();
    const size = 11 * ratio;
    context.font = `${size}px system-ui, sans-serif`;
    context.textBaseline = "top";
    const letter = context.measureText("0").width;
    for (let k = 0; k < boxes.length; k += 5) {
      const [place, x, y, w, h] = boxes.slice(k, k + 5);
      if (h < 14 * ratio) continue;
      const i = order.number[place];
      const forked = nodes.sibling[i] > 0;
      const room = w - (forked ? 12 : 5) * ratio;
      const v = colours.level[place];
      const shade = v !== v ? style.unscoredRgb : [0, 1, 2].map((c) => colours.table[3 * (v | 0) + c]);
      context.fillStyle = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] > 130 ? "#16181b" : "#f6f7f8";
      if (forked && w > 12 * ratio) {
        context.beginPath();
        context.moveTo(x + 4 * ratio, y + 4 * ratio); context.lineTo(x + 9 * ratio, y + 7.5 * ratio); context.lineTo(x + 4 * ratio, y + 11 * ratio);
        context.fill();
      }
      const said = told(colours, place);
      const long = `${nodes.tokens[i]} tok${said ? ` ${said}` : ""}`;
      const text = long.length * letter <= room ? long : said && said.length * letter <= room ? said : "";
      if (text) context.fillText(text, x + (forked ? 12 : 4) * ratio, y + 2.5 * ratio);
    }
  }

  mark(order, view, place, style, { left, top, sx, sy, ratio }) {
    const { context } = this;
    // The path to it as a line, and its own block framed.
    const x = left + (order.start[place] - view.x0) * sx, y = top + (order.top[place] - view.y0) * sy;
    const w = Math.max(3, (order.stop[place] - order.start[place]) * sx), h = Math.max(3, order.lanes[place] * sy);
    context.strokeStyle = style.accent;
    context.lineWidth = 2 * ratio;
    context.strokeRect(x + ratio, y + ratio, Math.max(1, w - 2 * ratio), Math.max(1, h - 2 * ratio));
    const middle = y + h / 2;
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(left - view.x0 * sx, middle);
    context.lineTo(x, middle);
    context.stroke();
  }

  axis(view, style, { left, w, sx, ratio }) {
    const { context } = this;
    context.fillStyle = style.ground;
    context.fillRect(0, 0, this.canvas.width, AXIS * ratio);
    let step = STEPS.find((one) => one * sx >= 60 * ratio);
    if (!step) for (step = 512; step * sx < 60 * ratio;) step *= 2;
    context.fillStyle = style.muted;
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (let token = Math.ceil(view.x0 / step) * step; token <= view.x1; token += step) {
      const x = left + Math.round((token - view.x0) * sx);
      const text = token.toLocaleString("en-US");
      context.fillRect(x, (AXIS - 4) * ratio, ratio, 4 * ratio);
      if (x + context.measureText(text).width + 4 * ratio < left + w) context.fillText(text, x + 3 * ratio, 9 * ratio);
    }
  }

  /** How many paths are alive at each token position in view. */
  strip(order, view, style, { left, w, h, top, ratio }) {
    const { context } = this;
    const alive = new Float32Array(w + 1);
    const scale = w / (view.x1 - view.x0);
    for (let i = 0; i < order.count; i++) {
      const x0 = Math.max(0, (order.start[i] - view.x0) * scale), x1 = Math.min(w, (order.stop[i] - view.x0) * scale);
      if (x1 <= x0) continue;
      // A block that is narrower than a pixel counts for its part of it.
      const a = x0 | 0, b = x1 | 0;
      if (a === b) { alive[a] += order.lanes[i] * (x1 - x0); alive[a + 1] -= order.lanes[i] * (x1 - x0); } else {
        alive[a] += order.lanes[i] * (a + 1 - x0);
        alive[a + 1] += order.lanes[i] * (x0 - a);
        alive[b] -= order.lanes[i] * (b + 1 - x1);
        if (b < w) alive[b + 1] -= order.lanes[i] * (x1 - b);
      }
    }
    const base = top + h + STRIP * ratio - ratio, tall = (STRIP - 6) * ratio;
    context.fillStyle = style.ground;
    context.fillRect(0, top + h, this.canvas.width, STRIP * ratio);
    context.fillStyle = style.strip;
    for (let x = 0, sum = 0; x < w; x++) {
      sum += alive[x];
      const y = (Math.max(0, sum) / order.paths) * tall;
      context.fillRect(left + x, base - y, 1, y);
    }
    context.fillStyle = style.muted;
    context.font = `${10 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "top";
    context.textAlign = "right";
    context.fillText("paths alive", left + w - 2 * ratio, top + h + 4 * ratio);
    context.textAlign = "left";
  }

  /** Share of each pixel row's tokens, of the whole tree's length, that are in no sample. */
  margin(order, view, style, { left, w, h, top, ratio }) {
    const { context } = this;
    const x = left + w + 3 * ratio;
    context.fillStyle = style.ground;
    context.fillRect(left + w, top, this.canvas.width - left - w, h);
    context.fillStyle = style.margin;
    context.fillRect(x, top, MARGIN * ratio - 3 * ratio, h);
    const waste = new Float32Array(h + 1), all = new Float32Array(h + 1);
    const scale = h / (view.y1 - view.y0);
    const leaves = order.nodes.leaves;
    for (let i = 1; i < order.count; i++) {
      const a = Math.max(0, Math.min(h, Math.floor((order.top[i] - view.y0) * scale)));
      const b = Math.max(0, Math.min(h, Math.ceil((order.top[i] + order.lanes[i] - view.y0) * scale)));
      if (b <= a) continue;
      const tokens = order.stop[i] - order.start[i];
      all[a] += tokens; all[b] -= tokens;
      if (!leaves[order.number[i]]) { waste[a] += tokens; waste[b] -= tokens; }
    }
    context.fillStyle = style.hatch;
    for (let y = 0, some = 0, sum = 0; y < h; y++) {
      some += waste[y]; sum += all[y];
      if (some > 0 && sum > 0) context.fillRect(x, top + y, Math.max(1, (some / sum) * (MARGIN - 3) * ratio), 1);
    }
  }
}

/** Slanted lines, for what is in no sample. */
export function hatching(context, style, ratio) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6 * Math.ceil(ratio);
  const c = tile.getContext("2d");
  c.strokeStyle = style.hatch;
  c.lineWidth = ratio;
  c.beginPath();
  c.moveTo(0, tile.height); c.lineTo(tile.width, 0);
  c.stroke();
  return context.createPattern(tile, "repeat");
}

/** A place's value in words, for its block. */
export const told = (colours, place) => inWords(colours, colours.raw[place]);

/** A value of the chosen colour in words; "" for none. */
export function inWords(colours, value) {
  if (value !== value) return "";
  if (colours.spec.words) return colours.words[value] ?? "";
  if (colours.spec.name === "waste") return "";
  return (colours.spec.sign && value >= 0 ? "+" : "") + value.toFixed(colours.spec.digits);
}

/** Add a block's area to every pixel that it covers in part. */
function add(buffers, w, h, x0, x1, y0, y1, level, wasted) {
  const { value, scored, area, waste } = buffers;
  const firstRow = y0 | 0, lastRow = Math.min(h - 1, y1 | 0), firstColumn = x0 | 0, lastColumn = Math.min(w - 1, x1 | 0);
  const known = level === level;
  for (let row = firstRow; row <= lastRow; row++) {
    const tall = Math.min(y1, row + 1) - Math.max(y0, row);
    if (tall <= 0) continue;
    for (let column = firstColumn, p = row * w + firstColumn; column <= lastColumn; column++, p++) {
      const a = tall * (Math.min(x1, column + 1) - Math.max(x0, column));
      area[p] += a;
      if (known) { value[p] += level * a; scored[p] += a; }
      if (wasted) waste[p] += a;
    }
  }
}

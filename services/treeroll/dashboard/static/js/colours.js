// What a block's colour says: a value per place, its range, and 256 colours.

const DIVERGING = {
  light: ["#a84b04", "#e88a1a", "#fdc98c", "#f3f3f1", "#abd0e6", "#4a98c9", "#0f5a9e"],
  dark: ["#ffb45e", "#d17a1c", "#6f4a22", "#303338", "#234d6b", "#2f86bf", "#7cc4f5"],
};
const RISING = {
  light: ["#f2f3f5", "#cfe0ec", "#8dbbd8", "#3f86b8", "#14507f"],
  dark: ["#2a2d32", "#28465a", "#2f6f95", "#4ba0cf", "#a6dcff"],
};
const KINDS = {
  light: ["#7aa6d8", "#e0a458", "#84b98c", "#c98bb5", "#9a9ad0", "#c9b458", "#6fbdbd", "#d58a7c"],
  dark: ["#4c7fb8", "#b87f35", "#5a9464", "#a5668f", "#7474b5", "#a08c33", "#479797", "#b3665a"],
};
export const UNSCORED = { light: "#d4d2cd", dark: "#45484e" };

export const MODES = {
  // `title` says what the value is a mean of.
  advantage: { title: "mean advantage of the scored leaves below", name: "advantage", low: "worse", high: "better", diverging: true, digits: 2, sign: true },
  value: { title: "mean reward of the scored leaves below", name: "mean reward", low: "low", high: "high", digits: 2 },
  logprob: { title: "mean logprob per token, nats", name: "logprob", low: "unsure", high: "sure", digits: 2 },
  entropy: { title: "mean top-k entropy per token, nats", name: "entropy", low: "low", high: "high, nats", digits: 2 },
  spread: { title: "highest minus lowest reward of a tree", name: "spread", low: "no signal", high: "wide", digits: 2 },
  waste: { name: "waste", low: "in a sample", high: "in no sample", digits: 0 },
  version: { name: "weights", words: "version", digits: 0 },
  replica: { name: "replica", words: "replica", digits: 0 },
  reason: { name: "branch reason", words: "reason", digits: 0 },
};

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** 256 colours between the stops, as [r, g, b] triples one after the other. */
function ramp(stops) {
  const table = new Uint8Array(768);
  const points = stops.map(rgb);
  for (let i = 0; i < 256; i++) {
    const x = (i / 255) * (points.length - 1);
    const at = Math.min(points.length - 2, Math.floor(x));
    for (let c = 0; c < 3; c++) table[3 * i + c] = Math.round(points[at][c] + (x - at) * (points[at + 1][c] - points[at][c]));
  }
  return table;
}

/** Whether the values of a mode are known for any node. */
export function known(nodes, mode, words) {
  if (mode === "spread") return false; // of trees, not of nodes
  if (mode === "entropy" || mode === "advantage" || mode === "value") {
    for (let i = 0; i < nodes.count; i++) if (!Number.isNaN(nodes[mode][i])) return true;
    return false;
  }
  return mode === "waste" || mode === "logprob" || (words[MODES[mode].words]?.filter(Boolean).length ?? 0) > 1;
}

/** Values 0..255 per place (by NaN: none), the range they stand for, and their colours. */
export function paint(order, mode, theme, words) {
  const { nodes } = order;
  const spec = MODES[mode];
  const raw = new Float32Array(order.count);
  if (spec.words) {
    const level = new Float32Array(order.count);
    const colours = KINDS[theme];
    const table = new Uint8Array(768);
    for (let i = 0; i < 256; i++) table.set(rgb(colours[i % colours.length]), 3 * i);
    for (let place = 0; place < order.count; place++) {
      const code = nodes[spec.words][order.number[place]];
      const none = spec.words === "version" ? code === 0xffff : !words[spec.words][code];
      raw[place] = level[place] = none ? NaN : code % 256;
    }
    return { level, raw, table, spec, low: 0, high: 0, words: words[spec.words], colours };
  }
  for (let place = 0; place < order.count; place++) {
    const i = order.number[place];
    raw[place] = mode === "logprob" ? (nodes.tokens[i] && !Number.isNaN(nodes.lp_sum[i]) ? nodes.lp_sum[i] / nodes.tokens[i] : NaN)
      : mode === "waste" ? (nodes.leaves[i] ? 0 : 1) : nodes[mode][i];
  }
  return scaled(raw, mode, theme);
}

/** Colours of one value each, by NaN none. @param {Float32Array} raw */
export function scaled(raw, mode, theme) {
  const spec = MODES[mode];
  const level = new Float32Array(raw.length);
  const [low, high] = range(raw, spec, mode);
  const scale = high > low ? 255 / (high - low) : 0;
  for (let place = 0; place < raw.length; place++) level[place] = scale ? Math.max(0, Math.min(255, (raw[place] - low) * scale)) : Number.isNaN(raw[place]) ? NaN : 128;
  return { level, raw, table: ramp((spec.diverging ? DIVERGING : RISING)[theme]), spec, low, high };
}

/** Between the 2nd and 98th percentile, so that one strange node does not take the colours from all others. */
function range(raw, spec, mode) {
  if (mode === "waste") return [0, 1];
  const step = Math.max(1, Math.floor(raw.length / 20000));
  const some = [];
  for (let i = 0; i < raw.length; i += step) if (!Number.isNaN(raw[i])) some.push(spec.diverging ? Math.abs(raw[i]) : raw[i]);
  if (!some.length) return [0, 0];
  some.sort((a, b) => a - b);
  const at = (share) => some[Math.min(some.length - 1, Math.floor(share * some.length))];
  if (spec.diverging) return [-at(0.98), at(0.98)];
  return mode === "value" ? [some[0], some.at(-1)] : [at(0.02), at(0.98)];
}

// The cells of the map: which parts of a tree have one, and where each lies. A cell is a stretch between two forks, or
// all below a fork that is too small to be told apart. Area = tokens.
import { area, divide } from "./polygons.js";

export const MOST_CELLS = 500;
// A fork with more children shows the heaviest so many by themselves, and the others as one cell.
const MOST_CHILDREN = 96;
// CSS pixels squared: what is smaller is not divided.
const SMALL = 260;

/** Tokens at or below each place. */
export function tokensBelow(order) {
  const sums = new Float64Array(order.count);
  for (let place = order.count - 1; place >= 0; place--) {
    sums[place] += order.stop[place] - order.start[place];
    if (order.up[place] >= 0) sums[order.up[place]] += sums[place];
  }
  return sums;
}

/** The last place of the stretch that begins at a place. */
function lastOf(order, place) {
  let last = place;
  while (order.children[last] === 1 && (last || place)) last += 1;
  return last;
}

/**
 * Cells and frames of what is at or below `root`, in a box of CSS pixels. A cell: {place, polygon, ranges, level, kind};
 * `place` is selected with it, `ranges` are places from, to, from, to ... whose tokens it stands for, `kind` is "stretch",
 * "below" (a whole part of the tree) or "more" (the lightest children of a fork). A frame is the outline of a part that
 * was divided: {polygon, level}.
 */
export function layout(order, sums, root, width, height) {
  const cells = [], frames = [];
  const heap = new Heaviest();
  heap.push({ place: root, polygon: [0, 0, width, 0, width, height, 0, height], weight: sums[root], level: 0 });
  let count = 1;
  while (heap.size) {
    const part = heap.pop();
    const { place, polygon, level } = part;
    const last = lastOf(order, place);
    const whole = { place, polygon, level, kind: "below", ranges: [place, order.end[place]] };
    if (!order.children[last]) { cells.push({ ...whole, place: last, kind: "stretch" }); continue; }
    const parts = divided(order, sums, place, last);
    if (part.weight <= 0 || area(polygon) < SMALL || count + parts.length - 1 > MOST_CELLS) { cells.push(whole); continue; }
    count += parts.length - 1;
    frames.push({ polygon, level });
    divide(polygon, parts.map((one) => one.weight), (k, piece) => {
      const one = { ...parts[k], polygon: piece, level: level + 1 };
      if (one.kind) cells.push(one); else heap.push(one);
    });
  }
  return { cells, frames };
}

/** The stretch itself, and its children in their order; of too many, the lightest as one. */
function divided(order, sums, first, last) {
  let own = 0;
  for (let place = first; place <= last; place++) own += order.stop[place] - order.start[place];
  const children = [];
  for (let child = last + 1; child < order.end[last]; child = order.end[child]) if (sums[child] > 0) children.push(child);
  let least = 0;
  if (children.length > MOST_CHILDREN) least = children.map((child) => sums[child]).sort((a, b) => b - a)[MOST_CHILDREN - 1];
  const alone = children.filter((child) => sums[child] >= least).slice(0, MOST_CHILDREN);
  const told = new Set(alone);
  const rest = children.length > alone.length ? children.filter((child) => !told.has(child)) : [];
  const parts = own ? [{ kind: "stretch", place: last, weight: own, ranges: [first, last + 1] }] : [];
  parts.push(...alone.map((child) => ({ place: child, weight: sums[child] })));
  if (rest.length) parts.push({ kind: "more", place: last, weight: rest.reduce((sum, child) => sum + sums[child], 0), ranges: rest.flatMap((child) => [child, order.end[child]]), parts: rest.length });
  return parts;
}

/** Tokens of a cell, its share in no sample, and what its colour says: {tokens, waste, level, raw}. */
export function figures(order, colours, cell) {
  const { nodes, number, start, stop } = order;
  let tokens = 0, waste = 0, known = 0, level = 0, raw = 0;
  const words = new Map();
  for (let r = 0; r < cell.ranges.length; r += 2) {
    for (let place = cell.ranges[r]; place < cell.ranges[r + 1]; place++) {
      const size = stop[place] - start[place];
      tokens += size;
      if (place && !nodes.leaves[number[place]]) waste += size;
      const value = colours.level[place];
      if (value !== value) continue;
      known += size; level += value * size; raw += colours.raw[place] * size;
      if (colours.spec.words) words.set(value, (words.get(value) ?? 0) + size);
    }
  }
  if (colours.spec.words) {
    const most = [...words].reduce((best, one) => (one[1] > best[1] ? one : best), [NaN, 0]);
    return { tokens, waste: waste / tokens, level: most[0], raw: most[0] };
  }
  return { tokens, waste: waste / tokens, level: known ? level / known : NaN, raw: known ? raw / known : NaN };
}

/** Parts by weight, the heaviest first; of equals the one that came first. */
class Heaviest {
  constructor() { this.items = []; this.turn = 0; }

  get size() { return this.items.length; }

  before(a, b) { return a.weight > b.weight || (a.weight === b.weight && a.turn < b.turn); }

  push(item) {
    const { items } = this;
    item.turn = this.turn++;
    let at = items.push(item) - 1;
    for (let up = (at - 1) >> 1; at && this.before(items[at], items[up]); at = up, up = (at - 1) >> 1) [items[at], items[up]] = [items[up], items[at]];
  }

  pop() {
    const { items } = this;
    const top = items[0], end = items.pop();
    if (items.length) {
      items[0] = end;
      for (let at = 0; ;) {
        const left = 2 * at + 1, right = left + 1;
        let first = at;
        if (left < items.length && this.before(items[left], items[first])) first = left;
        if (right < items.length && this.before(items[right], items[first])) first = right;
        if (first === at) break;
        [items[at], items[first]] = [items[first], items[at]];
        at = first;
      }
    }
    return top;
  }
}

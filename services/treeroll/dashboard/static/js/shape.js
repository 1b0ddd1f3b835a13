// A tree as columns of numbers: reading TRV1, and putting nodes into depth-first order with lanes.

const TYPES = { u4: Uint32Array, u2: Uint16Array, u1: Uint8Array, f4: Float32Array };

// In the order of the bytes; dashboard/shape.py has the same table.
export const COLUMNS = [
  ["parent", "u4"], ["token_start", "u4"], ["tokens", "u4"], ["leaves", "u4"],
  ["lp_sum", "f4"], ["lp_min", "f4"], ["entropy", "f4"], ["value", "f4"], ["advantage", "f4"], ["seconds", "f4"],
  ["sibling", "u2"], ["version", "u2"],
  ["status", "u1"], ["stop", "u1"], ["reason", "u1"], ["replica", "u1"],
];
export const NONE = 0xffffffff;

/** Columns for all nodes of a tree, of which the first `count` are known. */
export class Nodes {
  /** @param {number} total */
  constructor(total) {
    this.total = total;
    this.count = 0;
    for (const [name, type] of COLUMNS) this[name] = new TYPES[type](total);
  }

  /** Take up one answer of the server. @param {ArrayBuffer} raw */
  take(raw) {
    const view = new DataView(raw);
    const magic = String.fromCharCode(...new Uint8Array(raw, 0, 4));
    if (magic !== "TRV1" || view.getUint32(12, true) !== COLUMNS.length) throw new Error("the tree is in a format of another version; load the page again");
    const first = view.getUint32(4, true);
    const count = view.getUint32(8, true);
    if (first !== this.count || first + count > this.total) throw new Error("the tree has changed while it was read; load the page again");
    let place = 16;
    for (const [name, type] of COLUMNS) {
      const part = new TYPES[type](raw, place, count);
      this[name].set(part, first);
      place += part.byteLength + ((4 - (part.byteLength % 4)) % 4);
    }
    this.count += count;
  }
}

/**
 * Nodes in depth-first order, siblings by index. All arrays are by place in that order:
 * `number` of the node; `up` its parent's place (-1: none); `end` the place behind its last descendant;
 * `top`, `lanes`: the first lane below and how many; `start`, `stop` its tokens; `forks` above it.
 */
export class Order {
  /** @param {Nodes} nodes */
  constructor(nodes) {
    const n = nodes.count;
    this.nodes = nodes;
    this.count = n;
    this.number = new Uint32Array(n);
    this.place = new Uint32Array(n);
    this.up = new Int32Array(n);
    this.end = new Uint32Array(n);
    this.top = new Uint32Array(n);
    this.lanes = new Uint32Array(n);
    this.start = new Uint32Array(n);
    this.stop = new Uint32Array(n);
    this.forks = new Uint16Array(n);
    this.depth = new Uint16Array(n);
    this.children = new Uint16Array(n);
    this.paths = 0;
    this.tokens = 0;
    if (n) this.walk();
  }

  walk() {
    const { nodes, count: n } = this;
    const { parent, sibling } = nodes;
    // Children lists as chains: `first` child and `next` sibling, kept in order of sibling index.
    const first = new Int32Array(n).fill(-1);
    const next = new Int32Array(n).fill(-1);
    const last = new Int32Array(n).fill(-1);
    const sizes = new Uint16Array(n);
    for (let i = 1; i < n; i++) {
      const p = parent[i];
      sizes[p] += 1;
      if (last[p] < 0) first[p] = last[p] = i;
      else if (sibling[last[p]] <= sibling[i]) { next[last[p]] = i; last[p] = i; }
      else {
        let before = -1;
        let after = first[p];
        while (after >= 0 && sibling[after] <= sibling[i]) { before = after; after = next[after]; }
        next[i] = after;
        if (before < 0) first[p] = i; else next[before] = i;
      }
    }
    const stack = new Int32Array(n + 1);
    let depth = 1;
    let at = 0;
    stack[0] = 0;
    let lanes = 0;
    let furthest = 0;
    // A node's children are pushed in reverse by chaining: the next sibling waits below the first child.
    while (depth) {
      const i = stack[--depth];
      const place = at++;
      this.number[place] = i;
      this.place[i] = place;
      const up = i ? this.place[parent[i]] : -1;
      this.up[place] = up;
      this.depth[place] = up < 0 ? 0 : this.depth[up] + 1;
      this.forks[place] = up < 0 ? 0 : this.forks[up] + (sizes[parent[i]] > 1 ? 1 : 0);
      this.children[place] = sizes[i];
      this.start[place] = nodes.token_start[i];
      this.stop[place] = nodes.token_start[i] + nodes.tokens[i];
      if (this.stop[place] > furthest) furthest = this.stop[place];
      this.top[place] = lanes;
      if (next[i] >= 0) stack[depth++] = next[i];
      if (first[i] >= 0) stack[depth++] = first[i];
      else lanes += 1;
    }
    for (let place = n - 1; place >= 0; place--) {
      if (!this.end[place]) this.end[place] = place + 1;
      if (!this.lanes[place]) this.lanes[place] = 1;
      const up = this.up[place];
      if (up >= 0) {
        if (this.end[place] > this.end[up]) this.end[up] = this.end[place];
        this.lanes[up] += this.lanes[place];
      }
    }
    this.paths = lanes;
    this.tokens = furthest;
  }

  /** The place of what is drawn at a token position and lane; -1 for nothing. */
  at(token, lane) {
    let i = 0;
    while (i < this.count) {
      if (lane < this.top[i] || lane >= this.top[i] + this.lanes[i]) i = this.end[i];
      else if (token < this.start[i]) return -1;
      else if (token < this.stop[i]) return i;
      else i += 1;
    }
    return -1;
  }

  /** Path of a node: sibling indices, joined by dots. */
  path(place) {
    const steps = [];
    for (let at = place; this.up[at] >= 0; at = this.up[at]) steps.push(this.nodes.sibling[this.number[at]]);
    return steps.reverse().join(".");
  }

  /** The place of a path; -1 if the tree has none. */
  find(path) {
    let at = 0;
    for (const step of path === "" ? [] : path.split(".")) {
      let child = this.children[at] ? at + 1 : this.end[at];
      while (child < this.end[at] && this.nodes.sibling[this.number[child]] !== Number(step)) child = this.end[child];
      if (child >= this.end[at]) return -1;
      at = child;
    }
    return at;
  }

  /** Places of a node's siblings in order, itself among them. */
  siblings(place) {
    const up = this.up[place];
    if (up < 0) return [place];
    const found = [];
    for (let child = up + 1; child < this.end[up]; child = this.end[child]) found.push(child);
    return found;
  }

  /** Place of the leaf with the highest or lowest mean reward; -1 if none is scored. */
  extreme(sign) {
    const { nodes } = this;
    let best = -1;
    for (let place = 0; place < this.count; place++) {
      const i = this.number[place];
      if (this.children[place] || Number.isNaN(nodes.value[i])) continue;
      if (best < 0 || sign * nodes.value[i] > sign * nodes.value[this.number[best]]) best = place;
    }
    return best;
  }
}

/** Stretches: chains of nodes without a fork between them. Arrays by stretch, in depth-first order. */
export class Stretches {
  /** @param {Order} order */
  constructor(order) {
    const n = order.count;
    const of = new Uint32Array(n);
    const first = new Uint32Array(n);
    const last = new Uint32Array(n);
    let count = 0;
    for (let place = 0; place < n; place++) {
      const up = order.up[place];
      if (up >= 0 && order.children[up] === 1 && up > 0) {
        of[place] = of[up];
        last[of[place]] = place;
      } else {
        of[place] = count;
        first[count] = last[count] = place;
        count += 1;
      }
    }
    this.order = order;
    this.count = count;
    this.of = of;
    this.first = first.slice(0, count);
    this.last = last.slice(0, count);
    this.end = new Uint32Array(count);
    for (let s = 0; s < count; s++) {
      const behind = order.end[this.first[s]];
      this.end[s] = behind < n ? of[behind] : count;
    }
    this.closed = new Uint8Array(count);
    this.rows = new Uint32Array(count);
    this.shown = 0;
    this.list();
  }

  /** Work out which stretches have a row. */
  list() {
    let shown = 0;
    for (let s = 0; s < this.count;) {
      this.rows[shown++] = s;
      s = this.closed[s] ? this.end[s] : s + 1;
    }
    this.shown = shown;
  }

  toggle(s) {
    this.closed[s] ^= 1;
    this.list();
  }

  /** Close all below this many forks, or open all. */
  level(forks) {
    for (let s = 0; s < this.count; s++) this.closed[s] = this.order.forks[this.first[s]] >= forks && this.end[s] > s + 1 ? 1 : 0;
    this.list();
  }

  /** Open what hides a stretch; its row. */
  reveal(s) {
    let changed = false;
    for (let place = this.order.up[this.first[s]]; place >= 0; place = this.order.up[this.first[this.of[place]]]) {
      if (this.closed[this.of[place]]) { this.closed[this.of[place]] = 0; changed = true; }
    }
    if (changed) this.list();
    let low = 0;
    let high = this.shown - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.rows[middle] <= s) low = middle; else high = middle - 1;
    }
    return low;
  }
}

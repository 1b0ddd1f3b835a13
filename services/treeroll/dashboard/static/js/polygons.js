// Nested convex cells of given areas whose shape stays bounded: halve the children by weight, cut along the best of 16
// directions, and again. Bound and proof: arXiv 1009.1866, 1012.1749. A polygon is [x0, y0, x1, y1, ...], in a turn.

const DIRECTIONS = Array.from({ length: 16 }, (_, k) => [Math.cos((k * Math.PI) / 16), Math.sin((k * Math.PI) / 16)]);

export function area(polygon) {
  let twice = 0;
  for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) twice += polygon[j] * polygon[i + 1] - polygon[i] * polygon[j + 1];
  return Math.abs(twice) / 2;
}

/** Squared diameter by area: 1.3 for a circle, 2 for a square, and more the thinner a cell is. */
export function thinness(polygon) {
  let far = 0;
  for (let i = 0; i < polygon.length; i += 2) for (let j = 0; j < i; j += 2) far = Math.max(far, (polygon[i] - polygon[j]) ** 2 + (polygon[i + 1] - polygon[j + 1]) ** 2);
  return far / Math.max(area(polygon), 1e-12);
}

/** The middle of a polygon's area. */
export function middle(polygon) {
  let x = 0, y = 0, sum = 0;
  for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
    const cross = polygon[j] * polygon[i + 1] - polygon[i] * polygon[j + 1];
    x += (polygon[j] + polygon[i]) * cross; y += (polygon[j + 1] + polygon[i + 1]) * cross; sum += cross;
  }
  return sum ? [x / (3 * sum), y / (3 * sum)] : [polygon[0], polygon[1]];
}

export function contains(polygon, x, y) {
  let side = 0;
  for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
    const cross = (polygon[i] - polygon[j]) * (y - polygon[j + 1]) - (polygon[i + 1] - polygon[j + 1]) * (x - polygon[j]);
    if (cross * side < 0) return false;
    if (cross) side = cross;
  }
  return true;
}

/** The part of a polygon where x nx + y ny <= offset. */
function below(polygon, nx, ny, offset) {
  const kept = [];
  let px = polygon.at(-2), py = polygon.at(-1), p = px * nx + py * ny - offset;
  for (let i = 0; i < polygon.length; i += 2) {
    const x = polygon[i], y = polygon[i + 1], q = x * nx + y * ny - offset;
    if ((p < 0 && q > 0) || (p > 0 && q < 0)) { const t = p / (p - q); kept.push(px + t * (x - px), py + t * (y - py)); }
    if (q <= 0) kept.push(x, y);
    px = x; py = y; p = q;
  }
  return kept;
}

/** Both parts of a polygon, the first with this share of the area: between two corners the area is quadratic. */
function cut(polygon, share, nx, ny) {
  const wanted = share * area(polygon);
  const stops = [];
  for (let i = 0; i < polygon.length; i += 2) stops.push(polygon[i] * nx + polygon[i + 1] * ny);
  stops.sort((a, b) => a - b);
  let low = stops[0], high = stops.at(-1), under = 0;
  for (let k = 1; k < stops.length; k++) {
    const here = k + 1 < stops.length ? area(below(polygon, nx, ny, stops[k])) : Infinity;
    if (here >= wanted) { low = stops[k - 1]; high = stops[k]; break; }
    under = here;
  }
  const half = (low + high) / 2;
  const whole = area(below(polygon, nx, ny, high)) - under, first = area(below(polygon, nx, ny, half)) - under;
  // area(t) = a t + b t^2 for t in 0..1 of the way from low to high
  const b = 2 * whole - 4 * first, a = whole - b, need = wanted - under;
  const root = Math.sqrt(Math.max(0, a * a + 4 * b * need));
  const t = Math.max(0, Math.min(1, a + root ? (2 * need) / (a + root) : 0));
  const offset = low + t * (high - low);
  return [below(polygon, nx, ny, offset), below(polygon, -nx, -ny, -offset)];
}

/** The cut after which the thinner part is the least thin. */
function bestCut(polygon, share) {
  let best = null, least = Infinity;
  for (const [nx, ny] of DIRECTIONS) {
    const parts = cut(polygon, share, nx, ny);
    const worst = Math.max(thinness(parts[0]), thinness(parts[1]));
    if (worst < least * 0.999) { least = worst; best = parts; } // of equals the first: a small change moves little
  }
  return best;
}

/**
 * A polygon for each weight, in their order: `found(index, polygon)`. Weights are positive. Neighbours stay neighbours,
 * and the order decides which side is whose, so that one more weight at the end leaves the others about where they were.
 * @param {number[]} polygon @param {ArrayLike<number>} weights
 */
export function divide(polygon, weights, found) {
  const sums = new Float64Array(weights.length + 1);
  for (let i = 0; i < weights.length; i++) sums[i + 1] = sums[i] + weights[i];
  const open = [[polygon, 0, weights.length]];
  while (open.length) {
    const [part, first, last] = open.pop();
    if (last - first < 2) { if (last > first) found(first, part); continue; }
    const half = (sums[first] + sums[last]) / 2;
    let at = first + 1;
    while (at + 1 < last && Math.abs(sums[at + 1] - half) <= Math.abs(sums[at] - half)) at += 1;
    const parts = bestCut(part, (sums[at] - sums[first]) / (sums[last] - sums[first]));
    open.push([parts[1], at, last], [parts[0], first, at]);
  }
}

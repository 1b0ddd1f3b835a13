// Figures and texts for people.

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** 1,234,567; a dash for none. */
export const whole = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : WHOLE.format(value));

/** With a number of digits behind the point. */
export const fixed = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);

/** With its sign, so that no meaning hangs on a colour alone. */
export const signed = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "–"
    : (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(digits);

/** 1.2k, 3.4M: for places without room. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${(value / size).toFixed(Math.abs(value) >= 100 * size ? 0 : 1)}${unit}`;
  }
  return Number.isInteger(value) ? String(value) : value.toFixed(Math.abs(value) < 10 ? 2 : 0);
}

/** Part of a whole in percent; the base is named where it is shown. */
export const percent = (part, base, digits = 1) => (base ? `${((100 * part) / base).toFixed(digits)} %` : "–");

/** 0.4 s, 12 s, 3 min, 2 h, 4 d. */
export function lasting(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

/** 0.40 ms, 25 ms, 1.0 s: how long a machine took. */
export const brief = (seconds) => (seconds === null || seconds === undefined ? "–" : seconds < 1 ? `${short(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);

/** 1 tree, 2 trees. */
export const counted = (count, noun) => `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;

// Characters that hide, reorder or are nothing: controls, formats, surrogates, unassigned, private, separators.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}]/gu;

/** Text in which everything that is not a plain character is written out. Lines and tabs stay if `lines`. */
export function plain(text, lines = false) {
  return String(text ?? "").replace(UNSAFE, (one) => {
    if (one === "\n") return lines ? "\n" : "\\n";
    if (one === "\t") return lines ? "\t" : "\\t";
    if (one === "\r") return "\\r";
    const code = one.codePointAt(0);
    const hex = code.toString(16);
    return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  });
}

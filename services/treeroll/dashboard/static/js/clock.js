// Times for people: in UTC, or as the clock of this machine has them; which is chosen here and kept.
import { signal } from "./ui.js";

const KEY = "treeroll-clock";

export const local = signal(localStorage.getItem(KEY) === "local");

export function toggleClock() {
  local.value = !local.value;
  localStorage.setItem(KEY, local.value ? "local" : "utc");
}

/** Minutes that the chosen clock is ahead of UTC at a moment. */
const ahead = (seconds) => (local.value ? -new Date(seconds * 1000).getTimezoneOffset() : 0);

/** 2026-12-01T17:04:47.123 by the chosen clock. */
const written = (seconds) => new Date((seconds + 60 * ahead(seconds)) * 1000).toISOString().slice(0, 23);

/** UTC, or by how much the chosen clock differs from it: UTC+02:00. */
export function zone(seconds = Date.now() / 1000) {
  const minutes = ahead(seconds);
  const two = (count) => String(count).padStart(2, "0");
  return minutes ? `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}` : "UTC";
}

export const day = (seconds) => written(seconds).slice(0, 10);

/** 17:04:47; with `digits` behind the seconds, or 17:04 with -1. */
export const time = (seconds, digits = 0) => written(seconds).slice(11, digits < 0 ? 16 : digits ? 20 + digits : 19);

/** Date, time and zone; a dash for none. */
export const when = (seconds) => (seconds ? `${day(seconds)} ${time(seconds)} ${zone(seconds)}` : "–");

/** What a field of date and time shows, and the seconds that it means; NaN for none. */
export const field = (seconds) => written(seconds).slice(0, 19);
export const meant = (text) => (local.value ? Date.parse(text) : Date.parse(`${text}Z`)) / 1000;

// The state of a service, once a second: a stream that is read with fetch, since EventSource sends no token.
import { signal, useEffect } from "./ui.js";
import { ask } from "./api.js";

/** The last message, null before the first. */
export const state = signal(null);
/** "connecting", "open", or "lost": the dashboard's own process does not answer. */
export const connection = signal("connecting");

let begun = false;

/** Read the stream, again and again, for as long as the page lives. */
export function follow() {
  if (begun) return;
  begun = true;
  (async () => {
    for (let wait = 500; ; wait = Math.min(5000, wait * 2)) {
      try {
        const answer = await ask("/live");
        connection.value = "open";
        for await (const message of messages(answer.body)) {
          if (message.snapshot) message.snapshot.replicas = rowsOf(message.snapshot.replicas);
          state.value = message;
          wait = 500;
        }
      } catch (error) {
        if (error.code === 401) { connection.value = "refused"; return; }
      }
      connection.value = "lost";
      await new Promise((done) => { setTimeout(done, wait); });
    }
  })();
}

/** Objects of a table whose names are said once. */
const rowsOf = ({ names, rows }) => rows.map((row) => Object.fromEntries(names.map((name, k) => [name, row[k]])));

async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    for (let at = held.indexOf("\n\n"); at >= 0; at = held.indexOf("\n\n")) {
      const data = held.slice(0, at).split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      held = held.slice(at + 2);
      if (data) yield JSON.parse(data);
    }
  }
}

/** How things stand, in one word: connecting, live, stale, empty, away, lost. */
export function phase() {
  if (connection.value === "lost") return "lost";
  if (!state.value) return "connecting";
  return { live: "live", stale: "stale", "nothing yet": "empty", "store away": "away" }[state.value.phase];
}

/** Ask again every so many seconds, of a source that changes. */
export function useRefresh(answer, seconds) {
  useEffect(() => {
    if (!begun) return undefined;
    const timer = setInterval(answer.retry, 1000 * seconds);
    return () => clearInterval(timer);
  }, [answer.retry, seconds]);
}

// Asking the server: JSON and columns, with the token that came in the address.
import { useEffect, useState, useCallback, useRef } from "./ui.js";

const KEY = "treeroll-token";

/** Take the token out of the address, where bookmarks and onlookers would find it. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given !== null) {
    localStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
}

/** Go on with another token, as if it had come in the address. */
export function useToken(token) {
  localStorage.setItem(KEY, token.trim());
  location.reload();
}

/** A refusal: a sentence for people, and the status. */
export class Refused extends Error {
  /** @param {string} sentence @param {number} code */
  constructor(sentence, code) {
    super(sentence);
    this.code = code;
  }
}

/** @param {string} path below /api/1 @param {AbortSignal} [signal] @returns {Promise<Response>} */
export async function ask(path, signal) {
  const token = localStorage.getItem(KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(`/api/1${path}`, { headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The dashboard's own process does not answer; it may have been stopped.", 0);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(said.error ?? `The dashboard answered with status ${answer.status}.`, answer.status);
  }
  return answer;
}

/** @param {string} path @param {AbortSignal} [signal] */
export const askJson = async (path, signal) => (await ask(path, signal)).json();

/** What a path answers. While another is asked for, the last answer stays; `path` null asks nothing. */
export function useAnswer(path) {
  const [state, setState] = useState({ data: null, error: null, loading: true, path: null });
  const [turn, setTurn] = useState(0);
  const shown = useRef(null);
  useEffect(() => {
    if (path === null) return undefined;
    const abort = new AbortController();
    setState((old) => ({ ...old, loading: true }));
    askJson(path, abort.signal).then(
      (data) => { shown.current = path; setState({ data, error: null, loading: false, path }); },
      (error) => { if (error.name !== "AbortError") setState((old) => ({ ...old, error, loading: false })); },
    );
    return () => abort.abort();
  }, [path, turn]);
  const retry = useCallback(() => setTurn((n) => n + 1), []);
  return { ...state, retry };
}

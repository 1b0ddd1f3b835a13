// Where we are: the path, and the query, which holds filters, order, cursor and selection.
import { html, signal } from "./ui.js";

const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });

export const place = signal(here());

addEventListener("popstate", () => { place.value = here(); });

/** Go to an address of ours. */
export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  const before = place.value.path;
  place.value = here();
  if (place.value.path !== before) scrollTo(0, 0);
}

/** The same place with other values in its query; those that are "" or null go. */
export function withQuery(changes) {
  const query = new URLSearchParams(place.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  return place.value.path + (text ? `?${text}` : "");
}

/** A link that goes without loading the page again, unless it is asked for in another tab. */
export function Link({ href, children, ...rest }) {
  const onClick = (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(href);
  };
  return html`<a href=${href} onClick=${onClick} ...${rest}>${children}</a>`;
}

// Files that the server makes: fetched with the token, and saved as a download.
import { html, useState } from "./ui.js";
import { ask } from "./api.js";
import { Said } from "./parts.js";

/** A button that saves what a path below /api/1 answers. */
export function Save({ path, name, label, title }) {
  const [state, setState] = useState({ busy: false, error: null });
  const save = async () => {
    setState({ busy: true, error: null });
    try {
      const answer = await ask(path);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      setState({ busy: false, error: null });
    } catch (error) { setState({ busy: false, error }); }
  };
  return html`<button onClick=${save} disabled=${state.busy} title=${title}>${label}</button>${state.error && html`<span class="bad-text" role="alert"><${Said} text=${state.error.message} /></span>`}`;
}

/** All rows of a list under its filters, as a table or as JSON. @param {{list: string, query?: URLSearchParams}} given */
export function Saves({ list, query }) {
  const asked = query?.toString();
  return html`<span class="saves">${["csv", "json"].map((form) => html`<${Save} path=${`/download/${list}.${form}${asked ? `?${asked}` : ""}`} name=${`${list}.${form}`} label=${form.toUpperCase()} title="all rows that match, as a file" />`)}</span>`;
}

// The lanes of a tree in a page: zooming, dragging, what is under the pointer.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./ui.js";
import { theme } from "./theme.js";
import { counted, fixed, plain, signed, whole } from "./format.js";
import { Picture, clamped, told, wholeView, zoomed } from "./lanes.js";
import { Tools, inks, useColours } from "./pictures.js";

export function Lanes({ order, header, selected, select, done }) {
  const canvas = useRef(null);
  const picture = useRef(null);
  const [size, setSize] = useState(0);
  const [view, setView] = useState(() => wholeView(order));
  const [hover, setHover] = useState(null);
  const painted = useColours(order, header);
  const { colours } = painted;
  // A tree that grows stays in view where all of it was, and else where it was.
  const before = useRef(order);
  useEffect(() => {
    const all = wholeView(before.current);
    setView((old) => (old.x0 <= all.x0 && old.x1 >= all.x1 && old.y0 <= all.y0 && old.y1 >= all.y1 ? wholeView(order) : clamped(old, order)));
    before.current = order;
  }, [order]);
  useLayoutEffect(() => {
    picture.current = new Picture(canvas.current);
    const watch = new ResizeObserver(() => setSize((n) => n + 1));
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  const frame = useRef(0);
  useLayoutEffect(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      const begun = performance.now();
      picture.current.draw(order, colours, view, inks(theme.value), selected);
      performance.measure("treeroll-draw", { start: begun, end: performance.now() });
      canvas.current.dataset.drawn = `${order.count}`;
    });
  }, [order, colours, view, selected, size, theme.value]);
  const live = useRef(null);
  live.current = { order, view };
  useEffect(() => {
    const onWheel = (event) => {
      event.preventDefault();
      const box = canvas.current.getBoundingClientRect();
      const [x, y] = picture.current.point(event.clientX - box.left, event.clientY - box.top, live.current.view);
      setView(zoomed(live.current.view, Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.005), x, y, live.current.order));
    };
    const onKey = (event) => {
      if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey) return;
      if (event.key === "0") setView(wholeView(live.current.order));
      if (event.key === "+" || event.key === "=") zoomBy(0.6);
      if (event.key === "-") zoomBy(1 / 0.6);
    };
    canvas.current.addEventListener("wheel", onWheel, { passive: false });
    addEventListener("keydown", onKey);
    const node = canvas.current;
    return () => { node.removeEventListener("wheel", onWheel); removeEventListener("keydown", onKey); };
  }, []);
  const zoomBy = (factor) => {
    const { order: tree, view: seen } = live.current;
    setView(zoomed(seen, factor, (seen.x0 + seen.x1) / 2, (seen.y0 + seen.y1) / 2, tree));
  };
  const drag = useRef(null);
  const spot = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const onDown = (event) => {
    canvas.current.setPointerCapture(event.pointerId);
    drag.current = { from: spot(event), view, moved: false };
  };
  const onMove = (event) => {
    const [x, y] = spot(event);
    if (drag.current) {
      const { from, view: seen } = drag.current;
      if (Math.hypot(x - from[0], y - from[1]) > 4) drag.current.moved = true;
      if (!drag.current.moved) return;
      const box = picture.current.box;
      const dx = ((x - from[0]) / box.width) * (seen.x1 - seen.x0), dy = ((y - from[1]) / box.height) * (seen.y1 - seen.y0);
      setView(clamped({ x0: seen.x0 - dx, x1: seen.x1 - dx, y0: seen.y0 - dy, y1: seen.y1 - dy }, order));
      return;
    }
    const place = order.at(...picture.current.point(x, y, view));
    setHover(place < 0 ? null : { place, x, y });
  };
  const onUp = (event) => {
    const moved = drag.current?.moved;
    drag.current = null;
    if (moved) return;
    const place = order.at(...picture.current.point(...spot(event), view));
    if (place >= 0) select(place);
  };
  const onDouble = (event) => {
    const place = order.at(...picture.current.point(...spot(event), view));
    if (place < 0) return setView(wholeView(order));
    let far = order.stop[place];
    for (let i = place; i < order.end[place]; i++) if (order.stop[i] > far) far = order.stop[i];
    setView(clamped({ x0: order.start[place], x1: far, y0: order.top[place], y1: order.top[place] + order.lanes[place] }, order));
  };
  const zoomedIn = view.x1 - view.x0 < order.tokens || view.y1 - view.y0 < order.paths;
  return html`<section class="panel lanes"><${Tools} order=${order} header=${header} done=${done} painted=${painted}>
      <button onClick=${() => zoomBy(0.6)} aria-label="zoom in">+</button><button onClick=${() => zoomBy(1 / 0.6)} aria-label="zoom out">−</button><button disabled=${!zoomedIn} onClick=${() => setView(wholeView(order))} title="0">whole</button><//>
    <div class="canvas-wrap"><canvas ref=${canvas} class="lanes-canvas" tabindex="0" role="img" aria-label=${`Tree of ${order.paths} paths by token position; the grid below has the same as rows.`}
      onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerLeave=${() => setHover(null)} onDblClick=${onDouble}></canvas>
      ${hover && html`<${Tip} order=${order} hover=${hover} colours=${colours} words=${header.words} width=${canvas.current.clientWidth} />`}</div></section>`;
}

function Tip({ order, hover, colours, words, width }) {
  const i = order.number[hover.place];
  const { nodes } = order;
  const side = hover.x > width - 240 ? { right: `${width - hover.x + 12}px` } : { left: `${hover.x + 14}px` };
  const path = order.path(hover.place) || "prompt";
  return html`<div class="tip" style=${{ top: `${hover.y + 12}px`, ...side }}><b>${path.length > 30 ? `…${path.slice(-28)}` : path}</b>
    <div>${whole(nodes.tokens[i])} tok from ${whole(nodes.token_start[i])}, ${counted(order.lanes[hover.place], "path")}</div>
    <div>${Number.isNaN(nodes.value[i]) ? "unscored" : `reward ${fixed(nodes.value[i], 3)}, advantage ${signed(nodes.advantage[i], 3)}`}</div>
    ${told(colours, hover.place) && colours.spec.name !== "advantage" && html`<div>${colours.spec.name} ${told(colours, hover.place)}</div>`}
    <div class="muted">${plain(words.status[nodes.status[i]] ?? "")} ${plain(words.stop[nodes.stop[i]] ?? "")}${nodes.leaves[i] || !hover.place ? "" : "in no sample"}</div></div>`;
}

// What the pages import, in one file: static/vendor/ui-<sha8>.js.
import { h, render, Fragment } from "preact";
import { useEffect, useLayoutEffect, useRef, useState, useMemo, useCallback } from "preact/hooks";
import { signal, computed, effect, batch, untracked } from "@preact/signals";
import htm from "htm";
import uPlot from "uplot";

export const html = htm.bind(h);
export {
  h, render, Fragment, useEffect, useLayoutEffect, useRef, useState, useMemo, useCallback,
  signal, computed, effect, batch, untracked, uPlot,
};

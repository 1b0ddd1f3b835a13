// Light or dark: what the system has, or what was chosen here.
import { signal } from "./ui.js";

const KEY = "treeroll-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const current = () => localStorage.getItem(KEY) ?? (system.matches ? "dark" : "light");

export const theme = signal(current());

export function applyTheme() {
  theme.value = current();
  document.documentElement.dataset.theme = theme.value;
}

system.addEventListener("change", applyTheme);

export function toggleTheme() {
  localStorage.setItem(KEY, theme.value === "dark" ? "light" : "dark");
  applyTheme();
}

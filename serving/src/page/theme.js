// Light and dark: what the system says, until one is chosen here.

import { $ } from "./dom.js";

const CHOSEN = "highwater-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

/** Follows the switch and the system; tells when the colours are others. */
export function followTheme(changed) {
  const show = () => {
    $("theme").setAttribute("aria-pressed", String(isDark()));
    changed();
  };
  const chosen = localStorage.getItem(CHOSEN);
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  $("theme").addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(CHOSEN, next);
    show();
  });
  system.addEventListener("change", show);
  show();
}

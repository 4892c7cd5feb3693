/** Light or dark: as the system has it, until somebody chooses. */

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "laneway.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored(): Theme {
  const value = localStorage.getItem(KEY);
  return value === "light" || value === "dark" ? value : "system";
}

export const theme = signal<Theme>(stored());
/** Which one is on the screen. */
export const dark = signal(false);

export function choose(next: Theme): void {
  if (next === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, next);
  theme.value = next;
  apply();
}

export function apply(): void {
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset["theme"];
  else root.dataset["theme"] = theme.value;
  dark.value = theme.value === "dark" || (theme.value === "system" && system.matches);
}

system.addEventListener("change", apply);

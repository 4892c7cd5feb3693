/** Keys. They do nothing while somebody types, nor while a dialog is open. */

import { useLayoutEffect, useRef } from "preact/hooks";

export type Keys = Record<string, (event: KeyboardEvent) => void>;

/** A second key after one such as `g` must come within this. */
const PAIR_MS = 1_200;
const layers: Keys[] = [];
let prefix = "";
let prefixAt = 0;

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target as HTMLElement | null;
  if (target?.matches("input:not([type=checkbox]), textarea, select, [contenteditable]")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  // A button or link has keys of its own.
  if ((event.key === "Enter" || event.key === " ") && target?.closest("a, button, summary, label, input")) return;
  const paired = prefix && event.timeStamp - prefixAt < PAIR_MS ? `${prefix} ${event.key}` : "";
  prefix = "";
  for (const key of [paired, event.key]) {
    for (let i = layers.length - 1; key && i >= 0; i--) {
      const act = layers[i]?.[key];
      if (!act) continue;
      event.preventDefault();
      act(event);
      return;
    }
  }
  if (layers.some((keys) => Object.keys(keys).some((name) => name.startsWith(`${event.key} `)))) {
    prefix = event.key;
    prefixAt = event.timeStamp;
  }
});

/** These keys work while the component is there; later ones go first. */
export function useKeys(keys: Keys): void {
  const latest = useRef(keys);
  latest.current = keys;
  // With what is shown, not after it is painted: whoever sees the page may press its keys.
  useLayoutEffect(() => {
    const layer: Keys = new Proxy({}, {
      get: (_, name) => latest.current[name as string],
      ownKeys: () => Object.keys(latest.current),
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    });
    layers.push(layer);
    return () => void layers.splice(layers.indexOf(layer), 1);
  }, []);
}

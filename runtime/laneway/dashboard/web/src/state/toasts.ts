/** Short words on what was done. */

import { signal } from "@preact/signals";

export interface Toast {
  n: number;
  text: string;
  bad: boolean;
}

export const toasts = signal<Toast[]>([]);
const MOST = 4;
let last = 0;

export function say(text: string, bad = false): void {
  const toast = { n: ++last, text, bad };
  toasts.value = [...toasts.value.slice(1 - MOST), toast];
  setTimeout(() => dismiss(toast.n), bad ? 12_000 : 6_000);
}

export function dismiss(n: number): void {
  toasts.value = toasts.value.filter((toast) => toast.n !== n);
}

/** Where the user is: the address bar is the state, so that every view can be bookmarked and sent. */

import { computed, signal } from "@preact/signals";

export const BASE = "/dashboard";

const address = signal({ path: location.pathname, search: location.search });

addEventListener("popstate", sync);

function sync(): void {
  address.value = { path: location.pathname, search: location.search };
}

export interface Place {
  queue: string | null;
  page: string;
  /** What comes after the page: a task's id. */
  item: string | null;
}

export const place = computed<Place>(() => {
  const parts = address.value.path.slice(BASE.length).split("/").filter(Boolean).map(decoded);
  if (parts[0] !== "q" || !parts[1]) return { queue: null, page: parts.length ? "unknown" : "", item: null };
  return { queue: parts[1], page: parts[2] ?? "overview", item: parts[3] ?? null };
});

export const params = computed(() => new URLSearchParams(address.value.search));

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // an address that somebody mistyped is still a place
  }
}

export function href(queue: string, page: string, item?: string | null, search = ""): string {
  const parts = [BASE, "q", encodeURIComponent(queue)];
  if (page !== "overview" || item) parts.push(page);
  if (item) parts.push(encodeURIComponent(item));
  return parts.join("/") + search;
}

export function go(to: string, { replace = false } = {}): void {
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  const before = address.value.path;
  sync();
  if (address.value.path !== before) scrollTo(0, 0);
}

/** Changes some of the query's values, leaving the others; null removes one. */
export function change(values: Record<string, string | string[] | null>, { replace = false } = {}): void {
  const next = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    next.delete(name);
    for (const one of Array.isArray(value) ? value : value ? [value] : []) next.append(name, one);
  }
  const text = next.toString();
  go(location.pathname + (text && `?${text}`), { replace });
}

/** A link is followed here, unless it leads elsewhere or is to open in a tab of its own. */
export function catchLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!link.pathname.startsWith(`${BASE}/`) || link.pathname.endsWith(".txt") || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

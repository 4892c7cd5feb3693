/** A list's filters: in the address they have the same names as in the API. */

import { query } from "../api/client";
import { ENDED } from "../api/types";

export const FILTERS = [
  "state", "lane", "type", "tenant", "createdFrom", "createdTo", "endedFrom", "endedTo", "error", "q",
] as const;
export type FilterName = (typeof FILTERS)[number];

export interface Filter {
  values: Partial<Record<FilterName | "fingerprint", string>>;
  labels: string[];
}

export function filterOf(params: URLSearchParams, names: readonly string[] = FILTERS): Filter {
  const values: Filter["values"] = {};
  for (const name of names) {
    const value = params.get(name);
    if (value) values[name as FilterName] = value;
  }
  return { values, labels: params.getAll("label").filter(Boolean) };
}

/** As a query of the API. */
export function asQuery({ values, labels }: Filter, more: Record<string, string | number | null> = {}): string {
  return query({ ...values, label: labels, ...more });
}

/** As the body of an action on all that it matches. */
export function asBody({ values, labels }: Filter): Record<string, unknown> {
  return { ...values, ...(labels.length ? { label: labels } : {}) };
}

export function isEmpty({ values, labels }: Filter): boolean {
  return labels.length === 0 && Object.keys(values).length === 0;
}

export function statesOf(params: URLSearchParams): string[] {
  return (params.get("state") ?? "").split(",").filter(Boolean);
}

export const SORTS: Record<string, string> = {
  ended: "oldest end first",
  "-created": "newest submitted first",
  created: "oldest submitted first",
};

/** The order that a list of these states has by itself, and the others that the API can give for them. */
export function ordersFor(states: string[]): { usual: string; others: string[] } {
  const only = (...of: string[]): boolean => states.length > 0 && states.every((state) => of.includes(state));
  if (only(...ENDED)) return { usual: "newest end first", others: ["ended"] };
  if (only("running", "dispatched")) return { usual: "by state", others: ["created", "-created"] };
  if (only("scheduled")) return { usual: "due first", others: [] };
  if (only("queued")) return { usual: "next to run", others: [] };
  return { usual: "by state", others: [] };
}

/** A time in the browser's zone as a field of a form has it, and back. */
export function toLocal(at: string | null): string {
  if (!at) return "";
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function fromLocal(text: string): string | null {
  return text ? new Date(text).toISOString() : null;
}

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
  next: "next to run",
  due: "due first",
  "-ended": "newest end first",
  ended: "oldest end first",
  "-created": "newest first",
  created: "oldest first",
};

/** The sorts that can be had for these states: others the API refuses, saying why. */
export function sortsFor(states: string[]): string[] {
  if (states.length && states.every((state) => ENDED.has(state))) return ["-ended", "ended"];
  if (states.length === 1 && states[0] === "scheduled") return ["due"];
  if (states.length && states.every((state) => state === "queued" || state === "parked")) return ["next"];
  return [];
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

/** The filters of a list. They live in the address: what is here is what a link to it would show. */

import { useEffect, useRef, useState } from "preact/hooks";
import { STATES } from "../api/types";
import { fromLocal, ordersFor, SORTS, statesOf, toLocal } from "../lib/filters";
import { compact } from "../lib/format";
import { useKeys } from "../lib/keys";
import { change, params } from "../router";
import { stats } from "../state/live";
import { Button } from "./basics";
import { Icon } from "./icons";

/** Typing is over when nothing was typed for this long. */
const SETTLE_MS = 350;

const MORE = ["tenant", "label", "error", "createdFrom", "createdTo", "endedFrom", "endedTo", "sort"];

export function FilterBar({ states }: { states: boolean }) {
  const now = params.value;
  const search = useRef<HTMLInputElement>(null);
  const [open, setOpen] = useState(MORE.some((name) => now.has(name)));
  useKeys({ "/": () => search.current?.focus() });
  const chosen = statesOf(now);
  const orders = ordersFor(chosen);
  const lanes = stats.value?.lanes.map((lane) => lane.name) ?? [];
  const lane = now.get("lane") ?? "";
  const used = MORE.filter((name) => now.has(name)).length;
  const any = ["state", "lane", "type", "q", ...MORE].some((name) => now.has(name));
  const toggle = (state: string): void => {
    const next = chosen.includes(state) ? chosen.filter((one) => one !== state) : [...chosen, state];
    change({ state: next.join(",") || null, cursor: null, sort: null });
  };
  return (
    <search class="filters">
      {states && (
        <div class="chips" role="group" aria-label="States">
          <button type="button" aria-pressed={chosen.length === 0} onClick={() => change({ state: null, cursor: null, sort: null })}>all</button>
          {STATES.map((state) => (
            <button type="button" key={state} data-state={state} aria-pressed={chosen.includes(state)} onClick={() => toggle(state)}>
              <span class="state" data-state={state}>{state}</span>
              {stats.value && <span class="num faint">{compact(stats.value.tasks[state] ?? 0)}</span>}
            </button>
          ))}
        </div>
      )}
      <div class="filter-row">
        {states && (
          <div class="filter-field with-icon">
            <Icon name="search" />
            <Text name="q" title="Task id begins with" placeholder="Task id begins with…" inputRef={search} />
          </div>
        )}
        <div class="filter-field"><Text name="type" title="Type" placeholder="Type" {...(states ? {} : { inputRef: search })} /></div>
        <div class="filter-field">
          <select aria-label="Lane" value={lane} onChange={(event) => change({ lane: event.currentTarget.value || null, cursor: null })}>
            <option value="">All lanes</option>
            {(lane && !lanes.includes(lane) ? [...lanes, lane] : lanes).map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </div>
        <Button aria-expanded={open} onClick={() => setOpen(!open)}>{open ? "Fewer filters" : `More filters${used ? ` (${used})` : ""}`}</Button>
        {any && <Button kind="quiet" onClick={clearFilters}>Clear</Button>}
      </div>
      {open && (
        <div class="filter-more">
          <label class="field"><span class="field-name">Tenant</span><Text name="tenant" title="Tenant" placeholder="any" /></label>
          <label class="field"><span class="field-name">Label</span><Text name="label" title="Label" placeholder="name:value" /></label>
          <label class="field"><span class="field-name">Error contains</span><Text name="error" title="Error contains" placeholder="any text" /></label>
          <When name="createdFrom" title="Created from" />
          <When name="createdTo" title="Created to" />
          <When name="endedFrom" title="Ended from" />
          <When name="endedTo" title="Ended to" />
          {states && <label class="field">
            <span class="field-name">Order</span>
            <select value={now.get("sort") ?? ""} disabled={orders.others.length === 0} title={orders.others.length ? "" : "There is one order for these states; ended ones, or running ones, have more"} onChange={(event) => change({ sort: event.currentTarget.value || null, cursor: null })}>
              <option value="">{orders.usual}</option>
              {orders.others.map((sort) => <option key={sort} value={sort}>{SORTS[sort]}</option>)}
            </select>
          </label>}
        </div>
      )}
    </search>
  );
}

export function clearFilters(): void {
  change(Object.fromEntries(["state", "lane", "type", "q", "cursor", ...MORE].map((name) => [name, null])));
}

function Text({ name, title, placeholder, inputRef }: {
  name: string; title: string; placeholder: string; inputRef?: { current: HTMLInputElement | null };
}) {
  const there = name === "label" ? params.value.getAll(name).join(" ") : (params.value.get(name) ?? "");
  const [text, setText] = useState(there);
  const typed = useRef(there);
  const timer = useRef(0);
  // The address changed by other means (a link, the browser's Back): show what is there.
  useEffect(() => {
    if (there !== typed.current) {
      typed.current = there;
      setText(there);
    }
  }, [there]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const settle = (value: string): void => {
    clearTimeout(timer.current);
    typed.current = value.trim();
    const values = name === "label" ? value.split(/\s+/).filter(Boolean) : value.trim() || null;
    change({ [name]: values, cursor: null }, { replace: true });
  };
  return (
    <input
      type="search" aria-label={title} value={text} placeholder={placeholder} spellcheck={false} autocomplete="off"
      {...(inputRef ? { ref: inputRef } : {})}
      onInput={(event) => {
        const value = event.currentTarget.value;
        setText(value);
        clearTimeout(timer.current);
        timer.current = window.setTimeout(() => settle(value), SETTLE_MS);
      }}
      onKeyDown={(event) => event.key === "Enter" && settle(event.currentTarget.value)}
    />
  );
}

function When({ name, title }: { name: string; title: string }) {
  return (
    <label class="field">
      <span class="field-name">{title}</span>
      <input type="datetime-local" value={toLocal(params.value.get(name))} onChange={(event) => change({ [name]: fromLocal(event.currentTarget.value), cursor: null })} />
    </label>
  );
}

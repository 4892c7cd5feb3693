/** A page of tasks: rows to look at, to walk through by keys, and to choose. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { TaskItem } from "../api/types";
import { clock, count } from "../lib/format";
import { useKeys } from "../lib/keys";
import type { Search } from "../lib/search";
import { change, go, href, params } from "../router";
import { Ago, Button, Empty, ProgressBar, StateBadge, TaskLink } from "./basics";

export interface Selection {
  ids: ReadonlySet<string>;
  set: (ids: ReadonlySet<string>) => void;
}

export function TaskTable({ queue, items, selection, dead = false }: {
  queue: string; items: TaskItem[]; selection: Selection | null; dead?: boolean;
}) {
  const [at, setAt] = useState(-1);
  const body = useRef<HTMLTableSectionElement>(null);
  const current = at < 0 ? undefined : items[Math.min(at, items.length - 1)];
  const move = (by: number): void => {
    const next = Math.max(0, Math.min(items.length - 1, at + by));
    setAt(next);
    body.current?.rows[next]?.scrollIntoView({ block: "nearest" });
  };
  const toggle = (id: string): void => {
    if (!selection) return;
    const next = new Set(selection.ids);
    if (!next.delete(id)) next.add(id);
    selection.set(next);
  };
  useKeys({
    j: () => move(1),
    k: () => move(at < 0 ? 1 : -1),
    Enter: () => current && go(href(queue, "tasks", current.id)),
    o: () => current && go(href(queue, "tasks", current.id)),
    x: () => current && toggle(current.id),
  });
  const all = items.length > 0 && items.every((item) => selection?.ids.has(item.id));
  const some = !all && items.some((item) => selection?.ids.has(item.id));
  return (
    <table class="tasks">
      <thead>
        <tr>
          {selection && (
            <th class="check">
              <input
                type="checkbox" aria-label="Select all on this page" checked={all}
                ref={(box) => { if (box) box.indeterminate = some; }}
                onChange={() => selection.set(all ? new Set() : new Set(items.map((item) => item.id)))}
              />
            </th>
          )}
          <th>State</th><th>Task</th><th class="opt">Lane</th><th class="opt right">Prio</th><th class="opt">Tenant</th>
          <th class="right opt">Attempts</th><th class="right">{dead ? "Died" : "Since"}</th><th class="opt wide-col">{dead ? "Last error" : "Detail"}</th>
        </tr>
      </thead>
      <tbody ref={body}>
        {items.map((item) => (
          <tr
            key={item.id} data-at={item === current ? "" : undefined}
            data-chosen={selection?.ids.has(item.id) ? "" : undefined}
            onClick={(event) => {
              if ((event.target as Element).closest("a, input, button") || getSelection()?.toString()) return;
              go(href(queue, "tasks", item.id));
            }}
          >
            {selection && <td class="check"><input type="checkbox" aria-label={`Select ${item.id}`} checked={selection.ids.has(item.id)} onChange={() => toggle(item.id)} /></td>}
            <td><StateBadge state={item.state} /></td>
            <td><div class="task-cell"><span class="type">{item.type}</span><TaskLink queue={queue} id={item.id} /></div></td>
            <td class="opt">{item.lane}</td>
            <td class="opt right num">{item.priority}</td>
            <td class="opt">{item.tenant || <span class="faint">–</span>}</td>
            <td class="opt right num">{item.attempts}{item.maxAttempts && <span class="faint">/{item.maxAttempts}</span>}</td>
            <td class="right num"><Ago at={item.endedAt ?? item.stateSince} /></td>
            <td class="opt wide-col"><About item={item} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function About({ item }: { item: TaskItem }) {
  if (item.progress && item.state === "running") return <ProgressBar progress={item.progress} />;
  if (item.state === "scheduled" && item.runAt) return <span class="clip">runs at {clock(item.runAt)}{item.error && <span class="faint"> after {item.error.kind}: {item.error.message}</span>}</span>;
  if (item.error && item.state !== "succeeded") return <span class="clip error-text" title={`${item.error.kind}: ${item.error.message}`}><b>{item.error.kind}</b> {item.error.message}</span>;
  if (item.worker) return <span class="clip faint">on {item.worker}</span>;
  const labels = Object.entries(item.labels ?? {});
  return <span class="clip">{labels.slice(0, 3).map(([name, value]) => <span class="label" key={name}>{name}:{value}</span>)}</span>;
}

/** What was searched, and the way to the pages before and after. */
export function Pager({ search, shown }: { search: Search & { stop: () => void; again: () => void }; shown: number }) {
  const first = !params.value.get("cursor");
  return (
    <div class="pager">
      <span class="num" role="status">
        {search.searching ? <>Searched {count(search.scanned)}, found {count(shown)}…</> : <>{shown ? `${count(shown)} shown` : "None"}{search.scanned > shown && <span class="faint">, searched {count(search.scanned)}</span>}{search.stopped && " (stopped)"}</>}
      </span>
      {search.searching && <Button kind="quiet" onClick={search.stop}>Stop searching</Button>}
      <span class="spacer" />
      {!first && <Button onClick={() => change({ cursor: null })}>First</Button>}
      {!first && <Button onClick={() => history.back()}>Back</Button>}
      <Button disabled={!search.next} onClick={() => change({ cursor: search.next })}>Next</Button>
    </div>
  );
}

export function NoTasks({ filtered, clear, searched }: { filtered: boolean; clear: () => void; searched: number }) {
  if (!filtered) return <Empty title="No tasks here"><p>Submit one with the form, the SDK or <code>laneway submit</code>.</p></Empty>;
  return (
    <Empty title="Nothing matches these filters">
      <p>{searched > 0 && `${count(searched)} tasks were searched. `}<Button kind="quiet" onClick={clear}>Clear the filters</Button></p>
    </Empty>
  );
}

/** Forgets what was chosen when the rows are those of another list. */
export function useSelection(key: string): Selection {
  const [ids, set] = useState<ReadonlySet<string>>(new Set());
  useEffect(() => set(new Set()), [key]);
  return { ids, set };
}

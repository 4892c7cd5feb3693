/** The tasks of a queue: found by filters, kept current, acted on one by one or all at once. */

import { useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, queuePath } from "../api/client";
import { asBody, asQuery, filterOf, isEmpty, type Filter } from "../lib/filters";
import { count, plural } from "../lib/format";
import { toTheEnd, type Done } from "../lib/bulk";
import { useEvery, useThrottle } from "../lib/hooks";
import { useSearch } from "../lib/search";
import { params } from "../router";
import { listen } from "../state/live";
import { can } from "../state/session";
import { say } from "../state/toasts";
import { Button, Loading, PageHead, Panel, Stale, Trouble } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { clearFilters, FilterBar } from "../ui/filterbar";
import { NoTasks, Pager, TaskTable, useSelection } from "../ui/tasktable";

/** However much happens, the list is read again at most this often. */
const REFRESH_MS = 1_500;
/** Ages, progress and what no event tells. */
const ANYWAY_MS = 10_000;

export function Tasks({ queue }: { queue: string }) {
  const now = params.value;
  const filter = filterOf(now);
  const cursor = now.get("cursor");
  const sort = now.get("sort");
  const key = `${queue} ${asQuery(filter, { sort })}`;
  const search = useSearch(`${key} ${cursor}`, cursor, (at, limit) =>
    queuePath(queue, "tasks") + asQuery(filter, { sort, limit, cursor: at }),
  );
  const selection = useSelection(key);
  const items = search.items ?? [];

  // Rows must not move under the hand of somebody who is choosing among them.
  const choosing = selection.ids.size > 0;
  const refresh = useThrottle(REFRESH_MS, () => {
    if (!search.searching && !choosing) search.again();
  });
  useEffect(() => listen(refresh), [refresh]);
  useEvery(ANYWAY_MS, refresh);

  return (
    <>
      <PageHead title="Tasks" sub={choosing ? "The list holds still while you choose." : undefined} />
      <FilterBar states />
      {selection.ids.size > 0 && (
        <Bulk queue={queue} ids={selection.ids} filter={filter} more={search.next !== null || cursor !== null} done={() => { selection.set(new Set()); search.again(); }} clear={() => selection.set(new Set())} />
      )}
      {search.items && search.refusal && <Stale refusal={search.refusal} again={search.again} />}
      {!search.items ? (
        search.refusal ? <Trouble refusal={search.refusal} again={search.again} what="the tasks" /> : <Loading what="tasks" />
      ) : (
        <Panel title="List of tasks" flush bare>
          {items.length ? <TaskTable queue={queue} items={items} selection={can("operate") ? selection : null} /> : !search.searching && <NoTasks filtered={!isEmpty(filter)} clear={clearFilters} searched={search.scanned} />}
          <Pager search={search} shown={items.length} />
        </Panel>
      )}
    </>
  );
}

type Action = "cancel" | "retry" | "revise";

const WORDS: Record<Action, { title: string; what: string; past: string }> = {
  cancel: { title: "Cancel", what: "Waiting ones end as cancelled; the workers of running ones are asked to stop them.", past: "cancelled" },
  retry: { title: "Retry now", what: "Those that wait for a retry are queued at once, and dead, cancelled and expired ones run again.", past: "queued" },
  revise: { title: "Change priority", what: "Waiting ones move within their lane; 9 goes first.", past: "changed" },
};

function Bulk({ queue, ids, filter, more, done, clear }: {
  queue: string; ids: ReadonlySet<string>; filter: Filter; more: boolean; done: () => void; clear: () => void;
}) {
  const [action, setAction] = useState<Action | null>(null);
  const [all, setAll] = useState(false);
  return (
    <div class="bulk" role="region" aria-label="Chosen tasks">
      <b class="num">{all ? "All that match the filters" : plural(ids.size, "task")} chosen</b>
      {more && !all && <Button kind="quiet" onClick={() => setAll(true)}>Choose all that match the filters</Button>}
      <span class="spacer" />
      {(Object.keys(WORDS) as Action[]).map((name) => (
        <Button key={name} kind={name === "cancel" ? "danger" : "plain"} onClick={() => setAction(name)}>{WORDS[name].title}</Button>
      ))}
      <Button kind="quiet" onClick={clear}>Clear</Button>
      {action && <BulkDialog queue={queue} action={action} ids={all ? null : ids} filter={filter} close={() => setAction(null)} done={done} />}
    </div>
  );
}

function BulkDialog({ queue, action, ids, filter, close, done }: {
  queue: string; action: Action; ids: ReadonlySet<string> | null; filter: Filter; close: () => void; done: () => void;
}) {
  const [priority, setPriority] = useState(9);
  const [matched, setMatched] = useState<Done | null>(null);
  const [progress, setProgress] = useState<Done | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const stop = useRef(new AbortController());
  const words = WORDS[action];
  const path = queuePath(queue, "tasks", "bulk");
  const body = {
    action,
    ...(ids ? { ids: [...ids] } : isEmpty(filter) ? { all: true } : { filter: asBody(filter) }),
    ...(action === "revise" ? { priority } : {}),
  };
  useEffect(() => {
    const counting = stop.current;
    // How many it would be is said before anything is done.
    if (!ids) {
      toTheEnd(path, { ...body, dryRun: true }, counting.signal, setMatched).catch((error: unknown) => {
        if (!counting.signal.aborted) setTrouble(asRefusal(error).message);
      });
    }
    return () => stop.current.abort();
  }, []);

  const act = async (): Promise<void> => {
    stop.current.abort();
    const { signal } = (stop.current = new AbortController());
    setTrouble(null);
    setProgress({ matched: 0, changed: 0, skipped: 0, scanned: 0, errors: [], ids: [] });
    try {
      const result = await toTheEnd(path, body, signal, setProgress);
      const rest = result.skipped ? `, ${count(result.skipped)} were not in a state for it` : "";
      say(`${plural(result.changed, "task")} ${words.past}${rest}.`, result.changed === 0);
      close();
      done();
    } catch (error) {
      if (signal.aborted) return;
      setTrouble(asRefusal(error).message);
      setProgress(null);
    }
  };
  return (
    <Confirm
      title={`${words.title}: ${ids ? plural(ids.size, "task") : "all that match"}?`}
      action={words.title} danger={action === "cancel"} busy={progress !== null} act={() => void act()} close={close}
    >
      <p>{words.what}</p>
      {!ids && <p class="num" role="status">{matched ? `${plural(matched.matched, "task")} match, of ${count(matched.scanned)} searched.` : "Counting…"}</p>}
      {action === "revise" && (
        <label class="field"><span class="field-name">Priority, 0 to 9</span><input type="number" min={0} max={9} value={priority} onInput={(event) => setPriority(event.currentTarget.valueAsNumber)} /></label>
      )}
      {progress && <p class="num" role="status">{count(progress.changed)} done, {count(progress.skipped)} passed over…</p>}
      {trouble && <p class="notice bad" role="alert">{trouble}</p>}
    </Confirm>
  );
}

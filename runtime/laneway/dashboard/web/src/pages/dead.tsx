/** Dead letters: what failed alike, one kind at a time; and what to do with it. */

import { useEffect } from "preact/hooks";
import { get, queuePath } from "../api/client";
import type { DeadGroup, DeadGroups } from "../api/types";
import { asQuery, filterOf, isEmpty, type Filter } from "../lib/filters";
import { compact, count, plural } from "../lib/format";
import { useEvery, useRead, useThrottle } from "../lib/hooks";
import { useSearch } from "../lib/search";
import { change, href, params } from "../router";
import { listen } from "../state/live";
import { can } from "../state/session";
import { Ago, Button, Empty, Loading, PageHead, Panel, Stale, TaskLink, Trouble } from "../ui/basics";
import { clearFilters, FilterBar } from "../ui/filterbar";
import { Disposal, useDisposal } from "../ui/disposal";
import { NoTasks, Pager, TaskTable, useSelection } from "../ui/tasktable";

const GROUP_NAMES = ["lane", "type", "tenant", "endedFrom", "endedTo", "createdFrom", "createdTo", "error"];
const NAMES = [...GROUP_NAMES, "fingerprint"];
const REFRESH_MS = 3_000;

export function Dead({ queue }: { queue: string }) {
  const now = params.value;
  const list = now.has("fingerprint") || now.get("view") === "list";
  return (
    <>
      <PageHead title="Dead letters" sub="Tasks that failed at their last attempt. They stay until they are replayed or purged.">
        <div class="segmented" role="group" aria-label="View">
          <button type="button" aria-pressed={!list} onClick={() => change({ view: null, fingerprint: null, cursor: null })}>By error</button>
          <button type="button" aria-pressed={list} onClick={() => change({ view: "list", cursor: null })}>One by one</button>
        </div>
      </PageHead>
      <FilterBar states={false} />
      {list ? <List queue={queue} /> : <Groups queue={queue} />}
    </>
  );
}

// -- by error

function Groups({ queue }: { queue: string }) {
  const filter = filterOf(params.value, GROUP_NAMES);
  const search = asQuery(filter);
  const read = useRead(`${queue} ${search}`, (signal) => allGroups(queue, search, signal));
  const refresh = useThrottle(REFRESH_MS, read.again);
  useEffect(() => listen((news) => {
    if (news.all || news.events.some((event) => ["dead", "replayed", "purged"].includes(event.kind))) refresh();
  }), [refresh]);
  if (!read.value) return read.refusal ? <Trouble refusal={read.refusal} again={read.again} what="the dead letters" /> : <Loading what="dead letters" />;
  const { groups, scanned, complete } = read.value;
  if (!groups.length) {
    return isEmpty(filter) ? <Empty title="No dead letters"><p>Every task that ended did so well, or was cancelled or expired.</p></Empty> : <NoTasks filtered clear={clearFilters} searched={scanned} />;
  }
  const total = groups.reduce((sum, group) => sum + group.count, 0);
  return (
    <>
      {read.refusal && <Stale refusal={read.refusal} again={read.again} />}
      <Panel title={`${plural(groups.length, "kind")} of error`} aside={<span class="num">{groups.length > MOST_GROUPS && `the ${MOST_GROUPS} largest, `}{plural(total, "dead letter")}{!complete && `, the newest ${count(scanned)} were looked at`}</span>} flush>
        <table class="groups">
          <thead><tr><th>Count</th><th>Error</th><th class="opt">Task type</th><th class="opt right">First</th><th class="right">Last</th><th class="opt">Example</th></tr></thead>
          <tbody>
            {groups.slice(0, MOST_GROUPS).map((group) => <Group key={group.fingerprint} queue={queue} group={group} most={groups[0]?.count ?? 1} />)}
          </tbody>
        </table>
      </Panel>
      <All queue={queue} filter={filter} total={total} done={read.again} />
    </>
  );
}

/** The API looks at a bounded number per call; the groups of the calls are one. */
async function allGroups(queue: string, search: string, signal: AbortSignal): Promise<DeadGroups> {
  const by = new Map<string, DeadGroup>();
  let scanned = 0;
  let cursor: string | null = null;
  let complete = true;
  for (let calls = 0; calls < MOST_CALLS; calls++) {
    const at = cursor === null ? search : `${search || "?"}${search ? "&" : ""}cursor=${encodeURIComponent(cursor)}`;
    const answer: DeadGroups = await get(queuePath(queue, "dead", "groups") + at, signal);
    for (const group of answer.groups) {
      const known = by.get(group.fingerprint);
      by.set(group.fingerprint, known ? joined(known, group) : group);
    }
    scanned += answer.scanned;
    complete = answer.complete;
    cursor = answer.next;
    if (cursor === null) break;
  }
  return { groups: [...by.values()].sort((a, b) => b.count - a.count), scanned, complete: complete && cursor === null, next: cursor };
}

const MOST_CALLS = 40;
/** The rest is in the tail: narrow by type or time to see it. */
const MOST_GROUPS = 300;

function joined(a: DeadGroup, b: DeadGroup): DeadGroup {
  const first = (a.firstAt ?? "") < (b.firstAt ?? "") ? a.firstAt : b.firstAt;
  const newer = (a.lastAt ?? "") > (b.lastAt ?? "") ? a : b;
  return { ...newer, count: a.count + b.count, firstAt: first, lastAt: newer.lastAt };
}

function Group({ queue, group, most }: { queue: string; group: DeadGroup; most: number }) {
  const narrowed = new URLSearchParams(params.value);
  narrowed.delete("cursor");
  narrowed.set("fingerprint", group.fingerprint);
  return (
    <tr>
      <td><span class="bar-cell first"><b class="num">{compact(group.count)}</b><span class="bar-track"><span class="bar dead" data-some="" style={{ width: `${(group.count / most) * 100}%` }} /></span></span></td>
      <td class="group-cell"><a href={href(queue, "dead", null, `?${narrowed.toString()}`)}><b>{group.kind}</b> <span class="group-message">{group.message}</span></a>{group.frame && <div class="faint id">{group.frame}</div>}</td>
      <td class="opt type">{group.type}</td>
      <td class="opt right num"><Ago at={group.firstAt} /></td>
      <td class="right num"><Ago at={group.lastAt} /></td>
      <td class="opt"><TaskLink queue={queue} id={group.sample} /></td>
    </tr>
  );
}

function All({ queue, filter, total, done }: { queue: string; filter: Filter; total: number; done: () => void }) {
  const disposal = useDisposal();
  if (!can("operate") && !can("admin")) return null;
  const what = isEmpty(filter) ? "all dead letters" : "all that match the filters";
  return (
    <div class="foot-actions">
      {can("operate") && <Button onClick={() => disposal.ask("replay")}>Replay {what}…</Button>}
      {can("admin") && <Button kind="danger" onClick={() => disposal.ask("purge")}>Purge {what}…</Button>}
      <Disposal queue={queue} open={disposal} target={{ filter, title: what, about: total }} done={done} />
    </div>
  );
}

// -- one by one

function List({ queue }: { queue: string }) {
  const now = params.value;
  const filter = filterOf(now, NAMES);
  const cursor = now.get("cursor");
  const key = `${queue} ${asQuery(filter)}`;
  const search = useSearch(`${key} ${cursor}`, cursor, (at, limit) => queuePath(queue, "dead") + asQuery(filter, { limit, cursor: at }));
  const selection = useSelection(key);
  const disposal = useDisposal();
  const items = search.items ?? [];
  const refresh = useThrottle(REFRESH_MS, () => {
    if (!search.searching && selection.ids.size === 0 && !disposal.asked) search.again();
  });
  useEffect(() => listen((news) => {
    if (news.all || news.events.some((event) => ["dead", "replayed", "purged"].includes(event.kind))) refresh();
  }), [refresh]);
  useEvery(15_000, refresh);
  const fingerprint = filter.values.fingerprint;
  const chosen = selection.ids.size;
  const title = chosen ? plural(chosen, "chosen dead letter") : fingerprint ? "all of this kind" : isEmpty(filter) ? "all dead letters" : "all that match the filters";
  return (
    <>
      {fingerprint && <Kind item={items[0]} />}
      {search.items && search.refusal && <Stale refusal={search.refusal} again={search.again} />}
      {!search.items ? (
        search.refusal ? <Trouble refusal={search.refusal} again={search.again} what="the dead letters" /> : <Loading what="dead letters" />
      ) : (
        <>
          {items.length > 0 && (can("operate") || can("admin")) && (
            <div class="bulk" role="region" aria-label="What to do with them">
              <b>{title}</b>
              <span class="spacer" />
              {can("operate") && <Button kind="primary" onClick={() => disposal.ask("replay")}>Replay…</Button>}
              {can("admin") && <Button kind="danger" onClick={() => disposal.ask("purge")}>Purge…</Button>}
              {chosen > 0 && <Button kind="quiet" onClick={() => selection.set(new Set())}>Clear</Button>}
            </div>
          )}
          <Panel title="List of dead letters" flush bare>
            {items.length ? <TaskTable queue={queue} items={items} selection={can("operate") ? selection : null} dead /> : !search.searching && <NoTasks filtered clear={() => change({ fingerprint: null, view: null })} searched={search.scanned} />}
            <Pager search={search} shown={items.length} />
          </Panel>
        </>
      )}
      <Disposal
        queue={queue} open={disposal}
        target={chosen ? { ids: [...selection.ids], title, about: chosen } : { filter, title, about: search.total }}
        done={() => { selection.set(new Set()); search.again(); }}
      />
    </>
  );
}

/** The same page without the kind. */
function allKinds(): string {
  const wider = new URLSearchParams(params.value);
  wider.delete("fingerprint");
  wider.delete("cursor");
  const text = wider.toString();
  return location.pathname + (text && `?${text}`);
}

function Kind({ item }: { item: { type: string; error: { kind: string; message: string } | null } | undefined }) {
  return (
    <div class="kind">
      <a class="all-kinds" href={allKinds()}>All kinds</a>
      {item?.error && <span class="clip"><span class="type">{item.type}</span> failed with <b>{item.error.kind}</b> {item.error.message}</span>}
    </div>
  );
}

/** The lanes: their order, their limits, and how long a task would wait. */

import { get, query, queuePath } from "../api/client";
import type { History, Lane } from "../api/types";
import { compact, duration, rate } from "../lib/format";
import { useEvery, useRead } from "../lib/hooks";
import { href } from "../router";
import { Empty, Loading, Meter, PageHead, Panel, Stale, Trouble } from "../ui/basics";
import { Spark } from "../ui/chart";

export function Lanes({ queue }: { queue: string }) {
  const read = useRead(queue, (signal) => get<{ items: Lane[] }>(queuePath(queue, "lanes"), signal));
  const history = useRead(queue, (signal) => {
    const to = Date.now();
    return get<History>(
      queuePath(queue, "stats", "history") + query({ from: new Date(to - 900_000).toISOString(), to: new Date(to).toISOString(), step: "10s" }),
      signal,
    );
  });
  useEvery(2_000, read.again);
  useEvery(10_000, history.again);
  return (
    <>
      <PageHead title="Lanes" sub="A free slot takes the best task there is: from the lane of highest priority first." />
      {read.value && read.refusal && <Stale refusal={read.refusal} again={read.again} />}
      {read.value ? (
        <Panel title="Lanes in their order" flush bare>
          {read.value.items.length ? <Table queue={queue} lanes={read.value.items} history={history.value} /> : <Empty title="The queue has no lanes" />}
        </Panel>
      ) : read.refusal ? <Trouble refusal={read.refusal} again={read.again} what="the lanes" /> : <Loading what="the lanes" />}
    </>
  );
}

function Table({ queue, lanes, history }: { queue: string; lanes: Lane[]; history: History | null }) {
  const ordered = [...lanes].sort((a, b) => b.priority - a.priority);
  return (
    <table class="stack">
      <thead>
        <tr>
          <th>Lane</th><th class="right">Priority</th><th class="right">Queued</th><th>Last 15 min</th><th class="right">Running</th>
          <th class="right">Min share</th><th class="right">Rate in</th><th class="right">Rate out</th>
          <th class="right">Oldest</th><th class="right">Would start in</th>
        </tr>
      </thead>
      <tbody>
        {ordered.map((lane) => (
          <tr key={lane.name}>
            <td data-name="Lane">
              <a href={href(queue, "tasks", null, `?lane=${encodeURIComponent(lane.name)}`)}>{lane.name}</a>
              {lane.paused && <span class="tag warn">paused</span>}
            </td>
            <td class="right num" data-name="Priority">{lane.priority}</td>
            <td class="right num" data-name="Queued">{compact(lane.queued)}</td>
            <td data-name="Last 15 min"><Spark label={`Queued in ${lane.name} over the last 15 minutes`} values={(history?.lanes[lane.name] ?? []).map((point) => number(point["queued"]))} /></td>
            <td class="right" data-name="Running"><Meter value={lane.running} most={lane.maxRunning || null} label="Running" /></td>
            <Cell name="Min share" value={lane.minShare ? `${lane.minShare}%` : null} />
            <Cell name="Rate in" value={lane.rate ? `${rate(lane.rate)}/s` : null} />
            <Cell name="Rate out" value={lane.dispatchRate ? `${rate(lane.dispatchRate)}/s` : null} />
            <Cell name="Oldest" value={lane.oldestSeconds === null ? null : duration(lane.oldestSeconds)} />
            <Cell name="Would start in" value={lane.etaSeconds == null ? null : duration(lane.etaSeconds)} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Where cells are stacked as cards, those with nothing are left out. */
function Cell({ name, value }: { name: string; value: string | null }) {
  return <td class="right num" data-name={name} data-none={value === null ? "" : undefined}>{value ?? "–"}</td>;
}

function number(value: number | string | null | undefined): number | null {
  return typeof value === "number" ? value : null;
}

/** How the queue is doing: what comes and goes, what waits and for how long, who works, what is wrong. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, query, queuePath } from "../api/client";
import { STATES, type History, type Point, type Stats } from "../api/types";
import { clock, compact, count, duration, rate, timeOfDay } from "../lib/format";
import { useEvery, useRead } from "../lib/hooks";
import { change, href, params } from "../router";
import { old, recent, stats, statsTrouble } from "../state/live";
import { bound } from "../state/session";
import { Empty, Loading, PageHead, Panel, StateBadge, Stale, TaskLink, Trouble } from "../ui/basics";
import { Chart, type Line } from "../ui/chart";

const RANGES: Record<string, { title: string; seconds: number; step: string; stepSeconds: number }> = {
  "15m": { title: "15 min", seconds: 900, step: "10s", stepSeconds: 10 },
  "1h": { title: "1 h", seconds: 3_600, step: "10s", stepSeconds: 10 },
  "6h": { title: "6 h", seconds: 21_600, step: "5m", stepSeconds: 300 },
  "24h": { title: "24 h", seconds: 86_400, step: "5m", stepSeconds: 300 },
  "14d": { title: "14 d", seconds: 14 * 86_400, step: "1h", stepSeconds: 3_600 },
};

/** Lanes get these in their order; the states have colours of their own. */
export const LANE_COLOURS = ["--l-1", "--l-2", "--l-3", "--l-4", "--l-5", "--l-6"];
const MOST_LANES = LANE_COLOURS.length;

export function Overview({ queue }: { queue: string }) {
  if (bound.value) return <Bound queue={queue} tenants={bound.value} />;
  const now = stats.value;
  return (
    <>
      <PageHead title="Overview" sub={<>of queue <b>{queue}</b></>}><Ranges /></PageHead>
      {statsTrouble.value && <div class="notice bad" role="alert">No numbers now: {statsTrouble.value}</div>}
      {now ? <Tiles queue={queue} now={now} old={old.value} /> : !statsTrouble.value && <Loading what="the queue's numbers" />}
      <Charts queue={queue} />
      {now && (
        <div class="columns" data-old={old.value ? "" : undefined}>
          <LanePanel queue={queue} now={now} />
          <StatePanel queue={queue} now={now} />
          <Latest queue={queue} />
        </div>
      )}
    </>
  );
}

function Bound({ queue, tenants }: { queue: string; tenants: string[] }) {
  return (
    <>
      <PageHead title="Overview" sub={<>of queue <b>{queue}</b></>} />
      <Empty title="The numbers of the whole queue are not for this credential">
        <p>It is bound to the tenants <b>{tenants.join(", ")}</b>. You see their <a href={href(queue, "tasks")}>tasks</a>.</p>
      </Empty>
    </>
  );
}

function Ranges() {
  const chosen = rangeName();
  return (
    <div class="segmented" role="group" aria-label="Time range">
      {Object.entries(RANGES).map(([name, range]) => (
        <button type="button" key={name} aria-pressed={name === chosen} onClick={() => change({ range: name === "15m" ? null : name })}>
          {range.title}
        </button>
      ))}
    </div>
  );
}

function rangeName(): string {
  const name = params.value.get("range") ?? "15m";
  return name in RANGES ? name : "15m";
}

// -- now

const WAITING = ["queued", "parked", "scheduled", "blocked", "dispatched", "running"];
const WINDOW_MS = 10_000;

/** Tasks per second in and out, from the differences of the last ten seconds. */
function useRates(now: Stats): { in: number | null; out: number | null } {
  const seen = useRef<{ at: number; submitted: number; ended: number }[]>([]);
  const at = Date.parse(now.at);
  const submitted = now.tasks["submitted"] ?? 0;
  const ended = submitted - WAITING.reduce((sum, state) => sum + (now.tasks[state] ?? 0), 0);
  const list = seen.current;
  const newest = list[list.length - 1];
  if (newest && newest.at > at) list.length = 0;
  if (!newest || newest.at < at) list.push({ at, submitted, ended });
  while (list.length > 2 && at - (list[0]?.at ?? at) > WINDOW_MS) list.shift();
  const first = list[0];
  if (!first || at - first.at < 500) return { in: null, out: null };
  const seconds = (at - first.at) / 1000;
  return { in: Math.max(0, submitted - first.submitted) / seconds, out: Math.max(0, ended - first.ended) / seconds };
}

function Tiles({ queue, now, old }: { queue: string; now: Stats; old: boolean }) {
  const rates = useRates(now);
  const slots = now.workers.reduce((sum, worker) => sum + worker.slots, 0);
  const held = now.workers.reduce((sum, worker) => sum + worker.held, 0);
  const queued = now.lanes.reduce((sum, lane) => sum + lane.queued, 0);
  const oldest = Math.max(-1, ...now.lanes.map((lane) => lane.oldestSeconds ?? -1));
  const dead = now.tasks["dead"] ?? 0;
  return (
    <>
    {old && <p class="notice warn" role="status">These numbers are old: as of {timeOfDay(now.at)}.</p>}
    <dl class="tiles" data-old={old ? "" : undefined}>
      <Tile name="Submitted" value={rate(rates.in)} unit="/s" note={`${count(now.tasks["submitted"] ?? 0)} in all`} />
      <Tile name="Ended" value={rate(rates.out)} unit="/s" note={`${compact(now.tasks["succeeded"] ?? 0)} succeeded`} />
      <Tile name="Queued" value={compact(queued)} note={oldest < 0 ? (old ? "nothing waited" : "nothing waits") : `oldest ${duration(oldest)}`} to={href(queue, "tasks", null, "?state=queued")} />
      <Tile name="Running" value={compact(held)} note={slots ? `${Math.round((held / slots) * 100)}% of ${count(slots)} slots` : "no slots"} to={href(queue, "tasks", null, "?state=running")} />
      <Tile name="Workers" value={count(now.workers.length)} bad={now.workers.length === 0} note={now.workers.length ? oddWorkers(now) : "nobody takes tasks"} to={href(queue, "workers")} />
      <Tile name="Dead letters" value={compact(dead)} bad={dead > 0} note={dead ? "look into them" : "none"} to={href(queue, "dead")} />
      <Tile name="Drift" value={count(now.drift)} bad={now.drift !== 0} note={now.drift === 0 ? "all accounted for" : "a fault of Laneway: report it"} />
    </dl>
    </>
  );
}

function oddWorkers(now: Stats): string {
  const odd = now.workers.filter((worker) => worker.state !== "announced");
  if (!odd.length) return "all well";
  const by = new Map<string, number>();
  for (const worker of odd) by.set(worker.state, (by.get(worker.state) ?? 0) + 1);
  return [...by].map(([state, n]) => `${n} ${state}`).join(", ");
}

function Tile({ name, value, unit, note, to, bad }: {
  name: string; value: string; unit?: string; note: string; to?: string; bad?: boolean;
}) {
  return (
    <div class={`tile ${bad ? "bad" : ""}`}>
      <dt>{to ? <a href={to}>{name}</a> : name}</dt>
      <dd class="tile-value num">{value}{unit && value !== "–" && <small>{unit}</small>}</dd>
      <dd class="tile-note">{note}</dd>
    </div>
  );
}

// -- over time

function Charts({ queue }: { queue: string }) {
  const name = rangeName();
  const range = RANGES[name] ?? RANGES["15m"]!;
  const read = useRead(`${queue} ${name}`, async (signal) => {
    const to = new Date();
    const from = new Date(to.getTime() - range.seconds * 1000);
    return get<History>(queuePath(queue, "stats", "history") + query({ from: from.toISOString(), to: to.toISOString(), step: range.step }), signal);
  });
  useEvery(range.stepSeconds <= 10 ? 5_000 : 30_000, read.again);
  if (!read.value) return read.refusal ? <Trouble refusal={read.refusal} again={read.again} what="the history" /> : <Loading what="the history" />;
  return (
    <>
      {read.refusal && <Stale refusal={read.refusal} again={read.again} />}
      <HistoryCharts history={read.value} step={range.stepSeconds} />
    </>
  );
}

function HistoryCharts({ history, step }: { history: History; step: number }) {
  const order = (stats.value?.lanes ?? []).map((lane) => lane.name).join();
  const { at, rates, depth, waits, runs } = useMemo(() => {
    const grid = times(history, step);
    const pick = series(history.points, grid, step);
    // In their order, best first, as far as it is known.
    const names = order.split(",");
    const rank = (name: string): number => names.indexOf(name) + 1 || names.length + 1;
    const lanes = Object.entries(history.lanes).sort(([a], [b]) => rank(a) - rank(b)).slice(0, MOST_LANES);
    return {
      at: grid,
      rates: [
        { name: "submitted", colour: "--c-queued", values: pick("submitted", step), fill: true },
        { name: "succeeded", colour: "--c-succeeded", values: pick("succeeded", step) },
        { name: "retried", colour: "--c-scheduled", values: pick("retried", step) },
        { name: "dead", colour: "--c-dead", values: pick("dead", step) },
      ] satisfies Line[],
      depth: lanes.map(([lane, points], i): Line => ({
        name: lane, colour: LANE_COLOURS[i] ?? "--l-1", values: series(points, grid, step)("queued"), fill: i === 0,
      })),
      waits: [
        { name: "p50", colour: "--l-1", values: pick("waitP50") },
        { name: "p99", colour: "--l-3", values: pick("waitP99") },
      ] satisfies Line[],
      runs: [
        { name: "p50", colour: "--l-1", values: pick("runP50") },
        { name: "p99", colour: "--l-3", values: pick("runP99") },
      ] satisfies Line[],
    };
  }, [history, step, order]);
  if (!history.points.length) {
    return <Empty title="No history in this time"><p>The poller samples the queue every 10 s. Look at a longer time, or wait a little.</p></Empty>;
  }
  return (
    <div class="charts">
      <Panel title="Tasks per second"><Chart title="Tasks per second" at={at} lines={rates} format={rate} empty="No samples yet" /></Panel>
      <Panel title="Queued by lane" aside={Object.keys(history.lanes).length > MOST_LANES && `the first ${MOST_LANES} lanes`}><Chart title="Queued by lane" at={at} lines={depth} format={compact} empty="No samples yet" of="tasks" /></Panel>
      <Panel title="Wait before start"><Chart title="Wait before start" at={at} lines={waits} format={duration} empty="No task started in this time" of="seconds" /></Panel>
      <Panel title="Run time"><Chart title="Run time" at={at} lines={runs} format={duration} empty="No task ended in this time" of="seconds" /></Panel>
    </div>
  );
}

const RELAY_S = 2;

/** Every step of the range that is over; what is missing is a gap. */
function times(history: History, step: number): number[] {
  const from = Math.ceil(Date.parse(history.from) / 1000 / step) * step;
  // Of the step that is not over yet only a part has been counted, and the relay tells a little later.
  const to = Date.parse(history.to) / 1000 - step - RELAY_S;
  return Array.from({ length: Math.max(0, Math.min(5_000, Math.floor((to - from) / step) + 1)) }, (_, i) => from + i * step);
}

function series(points: Point[], grid: number[], step: number): (field: string, per?: number) => (number | null)[] {
  const by = new Map(points.map((point) => [Math.round(Date.parse(point.at) / 1000 / step) * step, point]));
  return (field, per = 1) =>
    grid.map((seconds) => {
      const value = by.get(seconds)?.[field];
      return typeof value === "number" ? value / per : null;
    });
}

// -- now, in detail

function LanePanel({ queue, now }: { queue: string; now: Stats }) {
  const most = Math.max(1, ...now.lanes.map((lane) => lane.queued));
  return (
    <Panel title="Lanes" aside={<a href={href(queue, "lanes")}>All about lanes</a>} flush>
      <table class="lanes-now">
        <thead><tr><th>Lane</th><th class="right">Queued</th><th class="right">Running</th><th class="right">Oldest</th><th class="right">Starts in</th></tr></thead>
        <tbody>
          {now.lanes.map((lane) => (
            <tr key={lane.name}>
              <td><a href={href(queue, "tasks", null, `?lane=${encodeURIComponent(lane.name)}&state=queued`)}>{lane.name}</a></td>
              <td class="right"><span class="bar-cell"><span class="bar-track"><span class="bar" style={{ width: `${(lane.queued / most) * 100}%` }} data-some={lane.queued > 0 ? "" : undefined} /></span><span class="num">{compact(lane.queued)}</span></span></td>
              <td class="right num">{compact(lane.running)}</td>
              <td class="right num">{duration(lane.oldestSeconds)}</td>
              <td class="right num">{duration(lane.etaSeconds)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function StatePanel({ queue, now }: { queue: string; now: Stats }) {
  const shown = STATES.filter((state) => now.tasks[state] !== undefined);
  const total = shown.reduce((sum, state) => sum + (now.tasks[state] ?? 0), 0);
  return (
    <Panel title="Tasks by state" aside={<span class="num">{count(total)} kept</span>} flush>
      <div class="state-strip" aria-hidden="true">
        {shown.map((state) => {
          const n = now.tasks[state] ?? 0;
          return n > 0 && <span key={state} data-state={state} style={{ flexGrow: n }} />;
        })}
      </div>
      <ul class="state-list">
        {shown.map((state) => (
          <li key={state}>
            <a href={href(queue, "tasks", null, `?state=${state}`)}><StateBadge state={state} /></a>
            <span class="num">{count(now.tasks[state] ?? 0)}</span>
          </li>
        ))}
        <li><span class="faint">purged</span><span class="num faint">{count(now.tasks["purged"] ?? 0)}</span></li>
      </ul>
    </Panel>
  );
}

/** Four times a second is as fast as one can look. */
const GLANCE_MS = 250;

function Latest({ queue }: { queue: string }) {
  const [shown, setShown] = useState(recent.peek());
  useEffect(() => {
    const timer = setInterval(() => setShown(recent.peek()), GLANCE_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <Panel title="Latest events" flush>
      {shown.length === 0 ? <Empty title="Nothing happened since you opened this page" /> : (
        <table class="latest">
          <thead class="sr"><tr><th>Time</th><th>Event</th><th>Lane</th><th>Task</th></tr></thead>
          <tbody>
            {shown.map((event, i) => (
              <tr key={i}>
                <td class="num faint">{clock(event.at)}</td>
                <td><StateBadge state={event.kind} /></td>
                <td class="opt">{event.lane ?? ""}</td>
                <td>
                  {event.ids[0] && <TaskLink queue={queue} id={event.ids[0]} />}
                  {event.ids.length > 1 && <span class="faint num"> +{count(event.ids.length - 1)}</span>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Panel>
  );
}

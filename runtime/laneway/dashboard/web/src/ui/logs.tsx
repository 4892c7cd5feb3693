/** What a task has said, followed while it runs. The worker keeps the last lines only, so this is bounded too. */

import { useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, get, query, queuePath, type Refusal } from "../api/client";
import { ENDED, type LogLine, type Logs, type Task } from "../api/types";
import { clock, exact, plural } from "../lib/format";
import { useEvery } from "../lib/hooks";
import { Panel } from "./basics";

const MOST = 500;

export function TaskLogs({ queue, task }: { queue: string; task: Task }) {
  const [lines, setLines] = useState<LogLine[]>([]);
  const [truncated, setTruncated] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const next = useRef(0);
  const reading = useRef(false);
  const box = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  const ended = ENDED.has(task.state);

  const read = async (): Promise<void> => {
    if (reading.current) return;
    reading.current = true;
    try {
      const logs = await get<Logs>(queuePath(queue, "tasks", task.id, "logs") + query({ after: next.current || null }));
      next.current = Math.max(next.current, logs.next);
      setTruncated((before) => before || logs.truncated);
      if (logs.lines.length) setLines((before) => [...before, ...logs.lines].slice(-MOST));
      setRefusal(null);
    } catch (error) {
      setRefusal(asRefusal(error));
    }
    reading.current = false;
  };
  const wanted = task.logs !== undefined && task.logs !== null;
  useEffect(() => {
    if (wanted) void read();
  }, [wanted, task.state, task.logs?.lines]);
  useEvery(wanted && !ended ? 2_000 : null, () => void read());
  // Stay at the end, unless somebody scrolled away from it.
  useEffect(() => {
    const list = box.current;
    if (list && atEnd.current) list.scrollTop = list.scrollHeight;
  }, [lines]);

  return (
    <Panel title="Logs" aside={lines.length > 0 && <span class="num">{plural(lines.length, "line")}{truncated && ", older ones were dropped"}</span>}>
      {refusal && <p class="notice bad" role="alert">{refusal.message}</p>}
      {lines.length === 0 ? (
        <p class="faint">{ended ? "It wrote no log lines." : "No log lines yet."} Handlers write them with <code>ctx.log</code>.</p>
      ) : (
        <ol
          class="logs" ref={box} tabIndex={0} aria-label="Log lines"
          onScroll={({ currentTarget: list }) => { atEnd.current = list.scrollHeight - list.scrollTop - list.clientHeight < 40; }}
        >
          {lines.map((line) => (
            <li key={line.n} data-level={line.level.toLowerCase()}>
              <time class="num" dateTime={line.at ?? ""} title={exact(line.at)}>{clock(line.at)}</time>
              <span class="log-attempt num">#{line.attempt}</span>
              <span class="log-level">{line.level.toLowerCase()}</span>
              <span class="log-text">{line.message}</span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}

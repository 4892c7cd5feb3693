/** The workers: how busy they are, how they are, and how to send one home. */

import { useState } from "preact/hooks";
import { asRefusal, get, post, queuePath } from "../api/client";
import type { Worker } from "../api/types";
import { count, duration, plural } from "../lib/format";
import { useEvery, useRead } from "../lib/hooks";
import { can } from "../state/session";
import { say } from "../state/toasts";
import { Ago, Button, Empty, Loading, Meter, PageHead, Panel, Stale, TaskLink, Trouble } from "../ui/basics";
import { Confirm } from "../ui/dialog";

export function Workers({ queue }: { queue: string }) {
  const read = useRead(queue, (signal) => get<{ items: Worker[] }>(queuePath(queue, "workers"), signal));
  const [draining, setDraining] = useState<Worker | null>(null);
  useEvery(2_000, read.again);
  const workers = read.value?.items ?? [];
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const running = workers.reduce((sum, worker) => sum + worker.running, 0);
  return (
    <>
      <PageHead title="Workers" sub={read.value && `${plural(workers.length, "worker")}, ${count(running)} of ${plural(slots, "slot")} busy`} />
      {read.value && read.refusal && <Stale refusal={read.refusal} again={read.again} />}
      {!read.value ? (
        read.refusal ? <Trouble refusal={read.refusal} again={read.again} what="the workers" /> : <Loading what="the workers" />
      ) : workers.length === 0 ? (
        <Empty title="No worker is registered"><p>Tasks wait until one is: start one with <code>laneway worker</code>, or add a WorkerPool.</p></Empty>
      ) : (
        <Panel title="Registered workers" flush bare>
          <table class="stack">
            <thead><tr><th>Worker</th><th>State</th><th>Slots</th><th>Tasks</th><th>Takes from</th><th class="right">Last beat</th><th class="right">Started</th><th><span class="sr">Actions</span></th></tr></thead>
            <tbody>
              {workers.map((worker) => (
                <tr key={worker.id}>
                  <td data-name="Worker">{worker.name}<div class="faint id" title={worker.id}>{worker.id.slice(0, 12)}</div></td>
                  <td data-name="State"><span class="worker-state" data-worker={worker.state}>{worker.state}</span></td>
                  <td data-name="Slots"><Meter value={worker.running} most={worker.slots} label="Slots in use" /></td>
                  <td data-name="Tasks"><TaskIds queue={queue} ids={worker.tasks} /></td>
                  <td data-name="Takes from">{worker.mode}{worker.partition !== null && worker.mode === "kafka" ? ` · partition ${worker.partition}` : ""}</td>
                  <td class="right num" data-name="Last beat">{duration(worker.lastBeatSeconds)} ago</td>
                  <td class="right num" data-name="Started"><Ago at={worker.startedAt} /></td>
                  <td class="right">
                    {can("operate") && <Button disabled={worker.state === "draining"} aria-label={`Drain ${worker.name}`} onClick={() => setDraining(worker)}>{worker.state === "draining" ? "Draining" : "Drain"}</Button>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Panel>
      )}
      {draining && <Drain queue={queue} worker={draining} close={() => setDraining(null)} done={read.again} />}
    </>
  );
}

/** Held tasks, the first few by name. */
const FEW = 3;

function TaskIds({ queue, ids }: { queue: string; ids: string[] }) {
  if (!ids.length) return <span class="faint">idle</span>;
  return (
    <span class="ids">
      {ids.slice(0, FEW).map((id) => <TaskLink key={id} queue={queue} id={id} />)}
      {ids.length > FEW && <span class="faint num">+{ids.length - FEW}</span>}
    </span>
  );
}

function Drain({ queue, worker, close, done }: { queue: string; worker: Worker; close: () => void; done: () => void }) {
  const [busy, setBusy] = useState(false);
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      await post(queuePath(queue, "workers", worker.id, "drain"), {});
      say(`${worker.name} drains: it takes no more tasks and ends when it has none.`);
      close();
    } catch (error) {
      say(asRefusal(error).message, true);
      setBusy(false);
    }
    done();
  };
  return (
    <Confirm title={`Drain ${worker.name}?`} action="Drain it" busy={busy} act={() => void act()} close={close}>
      <p>It takes no more tasks, finishes the {plural(worker.running, "task")} that it runs, and then ends. What started it (a WorkerPool, <code>laneway up</code>) may start another in its place.</p>
    </Confirm>
  );
}

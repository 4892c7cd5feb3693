/** One task: what it is, what happened to it, what it said, and what can be done. */

import { useEffect, useState } from "preact/hooks";
import { ask, asRefusal, get, post, queuePath } from "../api/client";
import { ENDED, type AttemptError, type Step, type Task } from "../api/types";
import { between, clock, duration, exact } from "../lib/format";
import { now, useEvery, useRead, useThrottle } from "../lib/hooks";
import { href } from "../router";
import { listen } from "../state/live";
import { can } from "../state/session";
import { say } from "../state/toasts";
import { Ago, Button, Copy, Loading, PageHead, Panel, ProgressBar, Redacted, Stale, StateBadge, Trouble } from "../ui/basics";
import { Confirm, Dialog } from "../ui/dialog";
import { Json } from "../ui/json";
import { TaskLogs } from "../ui/logs";

interface Found {
  task: Task;
  etag: string | null;
}

export function TaskPage({ queue, id }: { queue: string; id: string }) {
  const path = queuePath(queue, "tasks", id);
  const read = useRead<Found>(path, async (signal) => {
    const response = await ask(path, { signal });
    return { task: (await response.json()) as Task, etag: response.headers.get("ETag") };
  });
  const task = read.value?.task;
  const refresh = useThrottle(400, read.again);
  useEffect(() => listen((news) => {
    if (news.all || news.events.some((event) => event.ids.includes(id))) refresh();
  }), [id, refresh]);
  // Starting and progress may have no event of their own.
  useEvery(task && !ENDED.has(task.state) ? 1_500 : null, read.again);

  if (!task) {
    if (read.refusal?.status === 404) {
      return <div class="empty"><h1 class="empty-title">There is no task {id}</h1><p>It never was in queue {queue}, is kept no longer, or is not for your credential.</p><p><a href={href(queue, "tasks")}>All tasks</a></p></div>;
    }
    return read.refusal ? <Trouble refusal={read.refusal} again={read.again} what="this task" /> : <Loading what="the task" />;
  }
  return (
    <>
      <PageHead
        title={<><span class="type">{task.type}</span> <StateBadge state={task.state} />{task.cancelRequested && !ENDED.has(task.state) && <span class="tag warn">asked to stop</span>}</>}
        sub={<><span class="id">{task.id}</span><Copy text={task.id} what="the task's id" /></>}
      >
        <Actions queue={queue} task={task} etag={read.value?.etag ?? null} again={read.again} />
      </PageHead>
      {read.refusal && <Stale refusal={read.refusal} again={read.again} />}
      {task.description && <p class="description">{task.description}</p>}
      {task.progress && !ENDED.has(task.state) && <Panel title="Progress"><ProgressBar progress={task.progress} /></Panel>}
      <div class="task-grid">
        <div>
          <Panel title="What happened"><Bar task={task} /><Timeline steps={steps(task)} /></Panel>
          {task.errors.length > 0 && (
            <Panel title={task.errors.length === 1 ? "Error" : `Errors of ${task.errors.length} attempts`} flush>
              {task.errors.map((error, i) => <ErrorBox key={i} error={error} before={i < task.errors.length - own(task)} open={i === task.errors.length - 1} redacted={task.redacted === true} />).reverse()}
            </Panel>
          )}
          <Panel title="Payload">{task.redacted ? <Redacted what="payload" /> : <Json value={task.payload} what="the payload" />}</Panel>
          {task.state === "succeeded" && <Panel title="Result">{task.redacted ? <Redacted what="result" /> : <Json value={task.result} what="the result" />}</Panel>}
          {task.redacted ? <Panel title="Logs"><Redacted what="log" /></Panel> : <TaskLogs queue={queue} task={task} />}
        </div>
        <Facts queue={queue} task={task} />
      </div>
    </>
  );
}

// -- facts

function Facts({ queue, task }: { queue: string; task: Task }) {
  const rows: [string, preact.ComponentChildren][] = [
    ["Lane", <a href={href(queue, "tasks", null, `?lane=${encodeURIComponent(task.lane)}`)}>{task.lane}</a>],
    ["Priority", task.priority],
    ["Attempts", task.maxAttempts ? `${task.attempts} of ${task.maxAttempts}` : task.attempts],
    ["Crashes", task.crashes || null],
    ["Tenant", task.tenant && <a href={href(queue, "tasks", null, `?tenant=${encodeURIComponent(task.tenant)}`)}>{task.tenant}</a>],
    ["Worker", task.worker ?? null],
    ["Submitted", <span title={exact(task.submittedAt)}>{clock(task.submittedAt)} · <Ago at={task.submittedAt} /></span>],
    ["Runs at", task.runAt && !ENDED.has(task.state) && task.state === "scheduled" ? <span title={exact(task.runAt)}>{clock(task.runAt)} · <Ago at={task.runAt} /></span> : null],
    ["State since", <span title={exact(task.stateSince)}>{clock(task.stateSince)} · <Ago at={task.stateSince} /></span>],
    ["Ended", task.endedAt ? <span title={exact(task.endedAt)}>{clock(task.endedAt)}</span> : null],
    ["Waited", task.waits?.waitSeconds != null ? duration(task.waits.waitSeconds) : replayed(task) ? "not known: it was replayed" : null],
    ["Ran", task.waits?.runSeconds != null ? duration(task.waits.runSeconds) : null],
    ["Time-out", task.timeout ? duration(task.timeout) : null],
    ["Must start within", task.startTimeout ? duration(task.startTimeout) : null],
    ["Idempotency key", task.idempotencyKey && <span class="id wrap">{task.idempotencyKey}</span>],
    ["Trace", task.trace && <span class="id wrap">{task.trace}</span>],
    ["Fingerprint", task.fingerprint && <a class="id" href={href(queue, "dead", null, `?fingerprint=${task.fingerprint}`)}>{task.fingerprint}</a>],
  ];
  const labels = Object.entries(task.labels);
  return (
    <Panel title="Facts">
      <dl class="facts">
        {rows.filter(([, value]) => value !== null && value !== "" && value !== undefined).map(([name, value]) => (
          <div key={name}><dt>{name}</dt><dd class="num">{value}</dd></div>
        ))}
        {labels.length > 0 && (
          <div><dt>Labels</dt><dd>{labels.map(([name, value]) => <a class="label" key={name} href={href(queue, "tasks", null, `?label=${encodeURIComponent(`${name}:${value}`)}`)}>{name}:{value}</a>)}</dd></div>
        )}
      </dl>
    </Panel>
  );
}

// -- the story

/** What the API tells; of a gateway that tells none, what can be made from the record. */
function steps(task: Task): Step[] {
  if (task.history?.length) return task.history;
  const out: Step[] = [{ at: task.submittedAt, what: "submitted", attempt: null, detail: null }];
  for (const error of task.errors) out.push({ at: error.at, what: "failed", attempt: error.attempt, detail: `${error.kind}: ${error.message}` });
  if (task.stateSince !== task.submittedAt) out.push({ at: task.stateSince, what: task.state, attempt: task.attempts || null, detail: null });
  return out;
}

function replayed(task: Task): boolean {
  return task.history?.some((step) => step.what === "replayed") ?? false;
}

/** How many of its errors are of attempts since the last replay. */
function own(task: Task): number {
  if (!replayed(task)) return task.errors.length;
  const story = task.history ?? [];
  const since = story.slice(story.map((step) => step.what).lastIndexOf("replayed"));
  return since.filter((step) => step.what === "failed" || step.what === "crashed").length;
}

/** Where a task is after such a step. */
const THEN: Record<string, string> = {
  submitted: "queued", replayed: "queued", returned: "queued", started: "running", progress: "running",
  failed: "scheduled", retried: "scheduled", snoozed: "scheduled", crashed: "queued",
};

const STEP_STATE: Record<string, string> = {
  submitted: "queued", started: "running", failed: "failed", retried: "scheduled", snoozed: "scheduled", replayed: "queued",
  progress: "running", returned: "queued", crashed: "failed",
};

function Timeline({ steps: list }: { steps: Step[] }) {
  return (
    <ol class="timeline">
      {list.map((step, i) => {
        const since = i > 0 ? between(list[i - 1]?.at, step.at) : null;
        return (
          <li key={i} data-state={STEP_STATE[step.what] ?? step.what}>
            <span class="step-what">{step.what}{step.attempt ? <span class="faint num"> attempt {step.attempt}</span> : null}</span>
            <span class="step-at num" title={exact(step.at)}>{clock(step.at)}{since !== null && since >= 0 && <span class="faint"> +{duration(since)}</span>}</span>
            {step.detail && <span class="step-detail">{step.detail}</span>}
          </li>
        );
      })}
    </ol>
  );
}

/** Waiting and running to scale. Without times for starts there is nothing to scale. */
function Bar({ task }: { task: Task }) {
  const list = steps(task).filter((step) => step.at);
  const from = list[0]?.at;
  const to = task.endedAt ?? (ENDED.has(task.state) ? task.stateSince : new Date(now.value).toISOString());
  if (!from || !to || list.length < 2) return null;
  const parts = list.map((step, i) => ({
    // After the last failure nothing is waited for any more.
    state: step.what === "failed" && ENDED.has(list[i + 1]?.what ?? "") ? "failed" : (THEN[step.what] ?? step.what),
    what: step.what,
    seconds: Math.max(0, between(step.at, list[i + 1]?.at ?? to) ?? 0),
  })).filter((part) => part.seconds > 0);
  const total = parts.reduce((sum, part) => sum + part.seconds, 0);
  if (!total) return null;
  return (
    <figure class="span">
      <div class="span-bar" role="img" aria-label={parts.map((part) => `${part.what} for ${duration(part.seconds)}`).join(", ")}>
        {parts.map((part, i) => <span key={i} data-state={part.state} style={{ flexGrow: part.seconds / total }} title={`after ${part.what}: ${duration(part.seconds)}`} />)}
      </div>
      <figcaption class="num">{duration(total)} {ENDED.has(task.state) ? "from submission to end" : "since submission"}</figcaption>
    </figure>
  );
}

function ErrorBox({ error, before, open, redacted }: { error: AttemptError; before: boolean; open: boolean; redacted: boolean }) {
  return (
    <details class="error" open={open}>
      <summary>
        <span class="error-kind">{error.kind}</span> <span class="error-message">{error.message}</span>
        <span class="faint num error-meta">attempt {error.attempt}{before && " before the replay"} · {clock(error.at)}{error.worker && ` · ${error.worker}`}</span>
      </summary>
      {error.traceback ? (
        <div class="code-box">
          <div class="code-tools"><Copy text={error.traceback} what="the traceback" /></div>
          <pre class="code" tabIndex={0} aria-label={`Traceback of attempt ${error.attempt}`}>{error.traceback}</pre>
        </div>
      ) : redacted ? <Redacted what="traceback" /> : <p class="faint">No traceback.</p>}
    </details>
  );
}

// -- what can be done

const WAITS = new Set(["queued", "scheduled", "parked", "blocked"]);
const RETRIED = new Set(["scheduled", "dead", "cancelled", "expired"]);

function Actions({ queue, task, etag, again }: { queue: string; task: Task; etag: string | null; again: () => void }) {
  const [asked, setAsked] = useState<"cancel" | "revise" | null>(null);
  const [busy, setBusy] = useState(false);
  if (!can("operate")) return null;
  const act = async (part: string, done: string): Promise<void> => {
    setBusy(true);
    try {
      await post(queuePath(queue, "tasks", task.id, part), {});
      say(done);
      setAsked(null);
    } catch (error) {
      say(asRefusal(error).message, true);
    }
    setBusy(false);
    again();
  };
  return (
    <>
      {RETRIED.has(task.state) && <Button kind="primary" disabled={busy} onClick={() => void act("retry", "Queued.")}>{task.state === "scheduled" ? "Run now" : "Retry now"}</Button>}
      {WAITS.has(task.state) && <Button onClick={() => setAsked("revise")}>Change</Button>}
      {!ENDED.has(task.state) && <Button kind="danger" onClick={() => setAsked("cancel")}>Cancel</Button>}
      {asked === "cancel" && (
        <Confirm title="Cancel this task?" action="Cancel the task" danger busy={busy} act={() => void act("cancel", WAITS.has(task.state) ? "Cancelled." : "Its worker is asked to stop it.")} close={() => setAsked(null)}>
          <p>{WAITS.has(task.state) ? "It ends as cancelled and does not run." : "It runs: its worker is asked to stop it."} It can be retried later.</p>
        </Confirm>
      )}
      {asked === "revise" && <Revise queue={queue} task={task} etag={etag} close={() => setAsked(null)} done={again} />}
    </>
  );
}

function Revise({ queue, task, etag, close, done }: { queue: string; task: Task; etag: string | null; close: () => void; done: () => void }) {
  const lanes = useRead(queue, (signal) => get<{ items: { name: string }[] }>(queuePath(queue, "lanes"), signal));
  const [priority, setPriority] = useState(task.priority);
  const [lane, setLane] = useState(task.lane);
  const [delay, setDelay] = useState("");
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const body = {
    ...(priority !== task.priority ? { priority } : {}),
    ...(lane !== task.lane ? { lane } : {}),
    ...(delay !== "" ? { delay: Number(delay) } : {}),
  };
  const names = lanes.value?.items.map((one) => one.name) ?? [];
  const act = async (): Promise<void> => {
    setBusy(true);
    setTrouble(null);
    try {
      await ask(queuePath(queue, "tasks", task.id), { method: "PATCH", body, headers: etag ? { "If-Match": etag } : {} });
      say("Changed.");
      close();
      done();
    } catch (error) {
      const refusal = asRefusal(error);
      setTrouble(refusal.status === 412 ? "The task changed meanwhile. Close this, look at it again, and decide anew." : refusal.message);
      setBusy(false);
      done();
    }
  };
  return (
    <Dialog title="Change this task" close={close}>
      <form onSubmit={(event) => { event.preventDefault(); void act(); }}>
        <div class="form-grid">
          <label class="field"><span class="field-name">Priority, 0 to 9 (9 first)</span><input type="number" min={0} max={9} required value={priority} onInput={(event) => setPriority(event.currentTarget.valueAsNumber)} /></label>
          <label class="field"><span class="field-name">Lane</span>
            <select value={lane} onChange={(event) => setLane(event.currentTarget.value)}>{(names.includes(task.lane) ? names : [task.lane, ...names]).map((name) => <option key={name} value={name}>{name}</option>)}</select>
          </label>
          <label class="field"><span class="field-name">Run in (seconds from now)</span><input type="number" min={0} step="any" placeholder="as it is" value={delay} onInput={(event) => setDelay(event.currentTarget.value)} /></label>
        </div>
        {trouble && <p class="notice bad" role="alert">{trouble}</p>}
        <div class="dialog-foot">
          <Button onClick={close}>Keep as it is</Button>
          <Button type="submit" kind="primary" disabled={busy || Object.keys(body).length === 0}>Change</Button>
        </div>
      </form>
    </Dialog>
  );
}

/** What is done with dead letters: replayed, a share of them first if one wants to be careful; or purged for good. */

import { useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, post, queuePath } from "../api/client";
import { asBody, isEmpty, type Filter } from "../lib/filters";
import { count, plural } from "../lib/format";
import { toTheEnd, type Done } from "../lib/bulk";
import { useEvery } from "../lib/hooks";
import { say } from "../state/toasts";
import { Button, StateBadge } from "./basics";
import { Dialog } from "./dialog";

export interface Target {
  ids?: string[];
  filter?: Filter;
  title: string;
  about: number | null;
}

type Asked = "replay" | "purge";

export interface Open {
  asked: Asked | null;
  ask: (what: Asked | null) => void;
}

export function useDisposal(): Open {
  const [asked, ask] = useState<Asked | null>(null);
  return { asked, ask };
}

export function Disposal({ queue, open, target, done }: { queue: string; open: Open; target: Target; done: () => void }) {
  // What it is about must not change while the dialog is open, though the list behind it does.
  const fixed = useRef(target);
  if (!open.asked) fixed.current = target;
  const close = (): void => open.ask(null);
  if (open.asked === "replay") return <Replay queue={queue} target={fixed.current} close={close} done={done} />;
  if (open.asked === "purge") return <Purge queue={queue} target={fixed.current} close={close} done={done} />;
  return null;
}

function bodyOf({ ids, filter }: Target): Record<string, unknown> {
  if (ids) return { ids };
  return !filter || isEmpty(filter) ? { all: true } : { filter: asBody(filter) };
}

/** Counts what it would be, before anything is done. */
function useCount(path: string, body: Record<string, unknown> | null): { matched: number | null; trouble: string | null } {
  const [matched, setMatched] = useState<number | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const text = JSON.stringify(body);
  useEffect(() => {
    const stop = new AbortController();
    setMatched(null);
    if (body === null) return;
    toTheEnd(path, { ...body, dryRun: true }, stop.signal).then(
      (result) => setMatched(result.matched),
      (error: unknown) => !stop.signal.aborted && setTrouble(asRefusal(error).message),
    );
    return () => stop.abort();
  }, [path, text]);
  return { matched, trouble };
}

// -- replay

type Phase = { at: "asking" } | { at: "working"; done: Done } | { at: "watching"; done: Done; all: boolean };

const SHARES: [string, string][] = [["1", "All of them"], ["0.1", "A tenth first (canary)"], ["0.01", "One in a hundred first (canary)"]];

function Replay({ queue, target, close, done }: { queue: string; target: Target; close: () => void; done: () => void }) {
  const path = queuePath(queue, "dead", "replay");
  const [share, setShare] = useState(target.ids || (target.about ?? 100) < 10 ? "1" : "0.1");
  const [phase, setPhase] = useState<Phase>({ at: "asking" });
  const [trouble, setTrouble] = useState<string | null>(null);
  const { matched, trouble: uncounted } = useCount(path, bodyOf(target));
  const { matched: canary } = useCount(path, share === "1" ? null : { ...bodyOf(target), share: Number(share) });
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);

  const act = async (part: string): Promise<void> => {
    const { signal } = (stop.current = new AbortController());
    const all = part === "1";
    setTrouble(null);
    setPhase({ at: "working", done: NONE });
    try {
      const result = await toTheEnd(path, all ? bodyOf(target) : { ...bodyOf(target), share: Number(part) }, signal, (now) => setPhase({ at: "working", done: now }));
      done();
      if (!all && result.changed === 0) {
        setTrouble("None of them falls into that share: choose a larger one.");
        setPhase({ at: "asking" });
      } else setPhase({ at: "watching", done: result, all });
    } catch (error) {
      if (signal.aborted) return;
      setTrouble(asRefusal(error).message);
      setPhase({ at: "asking" });
    }
  };

  return (
    <Dialog title={`Replay ${target.title}`} close={close}>
      {phase.at === "asking" && (
        <form onSubmit={(event) => { event.preventDefault(); void act(share); }}>
          <p>They are queued again with all their attempts. {matched === null ? "Counting…" : <b class="num">{plural(matched, "dead letter")}.</b>}</p>
          {!target.ids && (
            <fieldset class="choices">
              <legend>How many at first?</legend>
              {SHARES.map(([value, word]) => (
                <label key={value}><input type="radio" name="share" value={value} checked={share === value} onChange={() => setShare(value)} />{word}</label>
              ))}
              {canary !== null && matched !== null && <p class="num" role="status">At first: <b>{count(canary)} of {count(matched)}</b>.{canary === 0 && " None of them falls into that share: choose a larger one."}</p>}
              <p class="faint small">A canary tells whether the cause is mended before all of them fail again. The rest follows when you say so.</p>
            </fieldset>
          )}
          {(trouble ?? uncounted) && <p class="notice bad" role="alert">{trouble ?? uncounted}</p>}
          <div class="dialog-foot">
            <Button onClick={close}>Keep as it is</Button>
            <Button type="submit" kind="primary" disabled={matched === 0}>{share === "1" ? "Replay" : "Replay the canary"}</Button>
          </div>
        </form>
      )}
      {phase.at === "working" && <p class="num" role="status">{count(phase.done.changed)} replayed, {count(phase.done.scanned)} looked at…</p>}
      {phase.at === "watching" && <Watch queue={queue} done={phase.done} all={phase.all} of={matched} rest={() => void act("1")} close={close} />}
    </Dialog>
  );
}

const NONE: Done = { matched: 0, changed: 0, skipped: 0, scanned: 0, errors: [], ids: [] };

/** How the replayed ones fare. */
function Watch({ queue, done, all, of, rest, close }: { queue: string; done: Done; all: boolean; of: number | null; rest: () => void; close: () => void }) {
  const [states, setStates] = useState<Record<string, number>>({});
  const [trouble, setTrouble] = useState<string | null>(null);
  const busy = useRef(false);
  const look = async (): Promise<void> => {
    if (busy.current || !done.ids.length) return;
    busy.current = true;
    try {
      const answer = await post<{ states: Record<string, string | null> }>(queuePath(queue, "tasks", "states"), { ids: done.ids });
      const by: Record<string, number> = {};
      for (const state of Object.values(answer.states)) by[state ?? "forgotten"] = (by[state ?? "forgotten"] ?? 0) + 1;
      setStates(by);
      setTrouble(null);
    } catch (error) {
      setTrouble(asRefusal(error).message);
    }
    busy.current = false;
  };
  useEffect(() => void look(), []);
  useEvery(1_000, () => void look());
  const good = states["succeeded"] ?? 0;
  const bad = states["dead"] ?? 0;
  const ended = good + bad + (states["cancelled"] ?? 0) + (states["expired"] ?? 0) + (states["forgotten"] ?? 0);
  const watched = done.ids.length;
  return (
    <>
      <p><b class="num">{all || of === null ? plural(done.changed, "task") : `${count(done.changed)} of ${plural(of, "task")}`}</b> replayed{all ? "." : " as a canary."} {watched < done.changed && `The first ${count(watched)} are watched.`}</p>
      <div class="state-strip tall" role="img" aria-label={Object.entries(states).map(([state, n]) => `${n} ${state}`).join(", ")}>
        {Object.entries(states).map(([state, n]) => <span key={state} data-state={state} style={{ flexGrow: n }} />)}
      </div>
      <ul class="state-list" aria-live="polite">
        {Object.entries(states).map(([state, n]) => <li key={state}><StateBadge state={state} /><span class="num">{count(n)}</span></li>)}
      </ul>
      <p class="num" role="status">
        {ended < watched ? `${count(ended)} of ${count(watched)} have ended.` : bad ? `All have ended; ${plural(bad, "is", "are")} dead again.` : `All have ended well.`}
      </p>
      {trouble && <p class="notice bad" role="alert">{trouble}</p>}
      <div class="dialog-foot">
        <Button onClick={close}>{all ? "Close" : "Leave the rest dead"}</Button>
        {!all && <Button kind={bad ? "danger" : "primary"} onClick={rest}>{bad ? "Replay the rest nevertheless" : "Replay the rest"}</Button>}
      </div>
    </>
  );
}

// -- purge

function Purge({ queue, target, close, done }: { queue: string; target: Target; close: () => void; done: () => void }) {
  const path = queuePath(queue, "dead", "purge");
  const { matched, trouble: uncounted } = useCount(path, bodyOf(target));
  const [typed, setTyped] = useState("");
  const [progress, setProgress] = useState<Done | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const phrase = matched === null ? null : `purge ${matched}`;
  const ready = phrase !== null && matched !== 0 && typed.trim().toLowerCase() === phrase;
  const act = async (): Promise<void> => {
    const { signal } = (stop.current = new AbortController());
    setTrouble(null);
    setProgress(NONE);
    try {
      const result = await toTheEnd(path, bodyOf(target), signal, setProgress);
      say(`${plural(result.changed, "dead letter")} purged.`);
      close();
      done();
    } catch (error) {
      if (signal.aborted) return;
      setTrouble(asRefusal(error).message);
      setProgress(null);
    }
  };
  return (
    <Dialog title={`Purge ${target.title}`} close={close}>
      <form onSubmit={(event) => { event.preventDefault(); if (ready) void act(); }}>
        <p>They are forgotten with payload and errors. <b>This can't be undone.</b> {matched === null ? "Counting…" : <span class="num">{plural(matched, "dead letter")}.</span>}</p>
        {phrase && matched !== 0 && (
          <label class="field">
            <span class="field-name">Type <code>{phrase}</code> to go on</span>
            <input value={typed} autocomplete="off" spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
        )}
        {progress && <p class="num" role="status">{count(progress.changed)} purged…</p>}
        {(trouble ?? uncounted) && <p class="notice bad" role="alert">{trouble ?? uncounted}</p>}
        <div class="dialog-foot">
          <Button onClick={close}>Keep them</Button>
          <Button type="submit" kind="danger" disabled={!ready || progress !== null}>Purge</Button>
        </div>
      </form>
    </Dialog>
  );
}

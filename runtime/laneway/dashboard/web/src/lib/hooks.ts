/** What pages share: reading something and reading it again, and a clock. */

import { signal } from "@preact/signals";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, isAbort, type Refusal } from "../api/client";
import { liveness } from "../state/live";

/** The time, each second; pages that show ages read it. */
export const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1_000);

export interface Read<T> {
  value: T | null;
  refusal: Refusal | null;
  /** Whether an answer is awaited. */
  busy: boolean;
  again: () => void;
}

/**
 * Reads once and whenever `key` changes; `again` reads anew while what is there stays on the screen. A late answer to
 * an earlier question is dropped.
 */
export function useRead<T>(key: string | null, read: (signal: AbortSignal) => Promise<T>): Read<T> {
  const [state, setState] = useState<{ key: string | null; value: T | null; refusal: Refusal | null; busy: boolean }>({
    key, value: null, refusal: null, busy: key !== null,
  });
  const under = useRef<AbortController | null>(null);
  const wish = useRef(false);
  const reader = useRef(read);
  reader.current = read;

  const again = useCallback(() => {
    if (key === null) return;
    // An answer that is under way may be older than the wish, so one more question follows it; to break it off each
    // time would be to never have one where answers are slow.
    if (under.current) {
      wish.current = true;
      return;
    }
    const stop = (under.current = new AbortController());
    const over = (): boolean => {
      if (stop.signal.aborted) return false;
      under.current = null;
      return true;
    };
    const next = (): void => {
      if (!wish.current) return;
      wish.current = false;
      again();
    };
    setState((old) => (old.key === key ? { ...old, busy: true } : { key, value: null, refusal: null, busy: true }));
    reader.current(stop.signal).then(
      (value) => {
        if (!over()) return;
        setState({ key, value, refusal: null, busy: false });
        next();
      },
      (error: unknown) => {
        if (!over() || isAbort(error)) return;
        setState((old) => ({ ...old, key, refusal: asRefusal(error), busy: false }));
        next();
      },
    );
  }, [key]);

  useEffect(() => {
    again();
    return () => {
      under.current?.abort();
      under.current = null;
      wish.current = false;
    };
  }, [again]);

  // Between a change of key and its effect, what is there belongs to another question.
  return state.key === key ? { ...state, again } : { value: null, refusal: null, busy: true, again };
}

/** Calls it every `ms` while the page is visible and nobody has paused it; null: never. */
export function useEvery(ms: number | null, call: () => void): void {
  const latest = useRef(call);
  latest.current = call;
  useEffect(() => {
    if (ms === null) return;
    const timer = setInterval(() => {
      if (!document.hidden && liveness.peek() !== "paused") latest.current();
    }, ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/** A function that calls `call` at once, and then at most every `ms`, never losing the last wish. */
export function useThrottle(ms: number, call: () => void): () => void {
  const latest = useRef(call);
  latest.current = call;
  const state = useRef({ last: 0, timer: 0 });
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const s = state.current;
    if (s.timer) return;
    const fire = (): void => {
      s.timer = 0;
      s.last = Date.now();
      latest.current();
    };
    s.timer = window.setTimeout(fire, Math.max(0, s.last + ms - Date.now()));
  }, [ms]);
}

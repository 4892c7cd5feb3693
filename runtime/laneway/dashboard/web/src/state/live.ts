/**
 * What happens in the queue, as it happens. One stream drives every page: events, and each second the queue's numbers.
 *
 * What arrives is gathered and told once per animation frame, however much it is, so that a thousand events a second
 * cost one update of the page sixty times a second and not a thousand.
 */

import { batch, signal } from "@preact/signals";
import { asRefusal, get, queuePath } from "../api/client";
import { follow, type Message } from "../api/stream";
import type { QueueEvent, Stats } from "../api/types";
import { bound } from "./session";

export type Liveness = "connecting" | "live" | "waiting" | "reconnecting" | "polling" | "paused";

export const liveness = signal<Liveness>("connecting");
export const stats = signal<Stats | null>(null);
/** Whether the numbers shown are from before: none came for a while. Someone who paused knows that anyway. */
export const old = signal(false);
/** Why there are no numbers, in words; null while there are. */
export const statsTrouble = signal<string | null>(null);
/** The queue that was to be followed and is not there; null: it is. */
export const missing = signal<string | null>(null);
/** The newest events, newest first. */
export const recent = signal<QueueEvent[]>([]);

export interface News {
  events: QueueEvent[];
  /** Something was missed, or there is no stream: what is shown must be read again. */
  all: boolean;
}

const POLL_MS = 2_000;
/** Numbers come each second; without any for this long nobody can read them, whether or not the stream is open. */
const OLD_MS = 4_000;
const RETRY_STREAM_MS = 20_000;
const TRIES_BEFORE_POLLING = 3;
/** Events that wait for a frame; a page that is hidden gets few frames, and needs no more than to read again. */
const MOST_WAITING = 20_000;
const MOST_RECENT = 12;

const listeners = new Set<(news: News) => void>();

/** Calls `take` with what happened, once per frame at most. Returns how to stop. */
export function listen(take: (news: News) => void): () => void {
  listeners.add(take);
  return () => listeners.delete(take);
}

// -- gathering

/** When numbers came last, by the clock that never goes back; while there are none, when they were first waited for. */
let toldAt = performance.now();

function told(): void {
  toldAt = performance.now();
  batch(() => {
    old.value = false;
    statsTrouble.value = null;
    if (liveness.value === "waiting") liveness.value = "live";
  });
}

setInterval(() => {
  // To whom the numbers are not told, their absence tells nothing.
  if (!running || bound.value || liveness.value === "paused" || performance.now() - toldAt < OLD_MS) return;
  batch(() => {
    old.value = true;
    if (liveness.value === "live") liveness.value = "waiting";
  });
}, 500);

let waiting: QueueEvent[] = [];
let missed = false;
let newest: Stats | null = null;
let frame = 0;

function soon(): void {
  // A hidden page gets no animation frames at all.
  frame ||= document.hidden ? window.setTimeout(tell, 1_000) : requestAnimationFrame(tell);
}

function tell(): void {
  frame = 0;
  const news: News = { events: waiting, all: missed };
  waiting = [];
  missed = false;
  batch(() => {
    if (newest) {
      stats.value = newest;
      newest = null;
    }
    if (news.events.length) recent.value = [...news.events.slice(-MOST_RECENT).reverse(), ...recent.value].slice(0, MOST_RECENT);
    if (news.events.length || news.all) listeners.forEach((take) => take(news));
  });
}

function take(message: Message): void {
  if (message.event === "gap") missed = true;
  else if (message.event === "stats") {
    newest = JSON.parse(message.data) as Stats;
    told();
  } else if (waiting.length >= MOST_WAITING) missed = true;
  else waiting.push({ ids: [], kind: message.event, ...(JSON.parse(message.data) as Partial<QueueEvent>) } as QueueEvent);
  soon();
}

// -- the connection

let running: { queue: string; stop: AbortController } | null = null;
let lastId: string | null = null;

/** Follows the queue, and no other any more. */
export function follows(queue: string | null): void {
  if (running?.queue === queue) return;
  missing.value = null;
  running?.stop.abort();
  running = null;
  batch(() => {
    stats.value = null;
    statsTrouble.value = null;
    recent.value = [];
    old.value = false;
  });
  waiting = [];
  missed = false;
  newest = null;
  lastId = null;
  if (queue !== null) start(queue);
}

/** Follows a queue that is not there no more. */
export function gone(queue: string): void {
  missing.value = queue;
  running?.stop.abort();
}

/** Stops or goes on; what was missed meanwhile is asked for by its position in the stream. */
export function pause(on: boolean): void {
  if (!running || on === (liveness.value === "paused")) return;
  const { queue } = running;
  running.stop.abort();
  if (on) {
    running = { queue, stop: new AbortController() };
    liveness.value = "paused";
  } else start(queue);
}

function start(queue: string): void {
  const stop = new AbortController();
  running = { queue, stop };
  toldAt = performance.now();
  liveness.value = "connecting";
  void run(queue, stop.signal);
}

async function run(queue: string, signal: AbortSignal): Promise<void> {
  let failures = 0;
  while (!signal.aborted && missing.value !== queue) {
    let refusedFor = 0;
    try {
      await follow(queuePath(queue, "events"), lastId, signal, opened, (message) => {
        failures = 0;
        if (message.id !== null) lastId = message.id;
        take(message);
      });
    } catch (error) {
      refusedFor = asRefusal(error).status;
    }
    if (signal.aborted || refusedFor === 401) return;
    failures += 1;
    // Refused for what it is, not for a moment's trouble: ask again seldom.
    const never = refusedFor === 403 || refusedFor === 404 || refusedFor === 405 || refusedFor === 422;
    if (refusedFor === 422) lastId = null;
    if (never || failures >= TRIES_BEFORE_POLLING) await poll(queue, signal);
    else {
      liveness.value = "reconnecting";
      await pauseFor(Math.min(8_000, 500 * 2 ** failures) * (0.5 + Math.random() / 2), signal);
    }
  }

  function opened(): void {
    // Without a position to resume from, what happened before is unknown.
    if (lastId === null) missed = true;
    // A stream that opens says nothing of the numbers yet.
    liveness.value = old.value ? "waiting" : "live";
    soon();
  }
}

/** Reads the numbers now and then until it is time to try the stream again. */
async function poll(queue: string, signal: AbortSignal): Promise<void> {
  const until = Date.now() + RETRY_STREAM_MS;
  while (!signal.aborted && Date.now() < until) {
    try {
      newest = await get<Stats>(queuePath(queue, "stats"), signal);
      told();
      liveness.value = "polling";
    } catch (error) {
      const refusal = asRefusal(error);
      if (signal.aborted || refusal.status === 401) return;
      if (refusal.status === 404) {
        // There is no such queue (or is none any more): asking again would be of no use until somebody looks anew.
        missing.value = queue;
        return;
      }
      statsTrouble.value = refusal.message;
      liveness.value = refusal.status === 403 ? "polling" : "reconnecting";
    }
    missed = true;
    soon();
    await pauseFor(POLL_MS, signal);
  }
}

function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

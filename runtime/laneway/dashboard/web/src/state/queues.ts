/** Which queues there are. */

import { signal } from "@preact/signals";
import { asRefusal, get, type Refusal } from "../api/client";
import type { QueueItem } from "../api/types";

export const queues = signal<QueueItem[] | null>(null);
export const queuesRefusal = signal<Refusal | null>(null);

const LAST = "laneway.queue";

export async function loadQueues(): Promise<void> {
  try {
    queues.value = (await get<{ items: QueueItem[] }>("/api/v1/queues")).items;
    queuesRefusal.value = null;
  } catch (error) {
    queuesRefusal.value = asRefusal(error);
  }
}

/** The queue to open with: the one of last time when it is still there. */
export function firstQueue(items: QueueItem[]): string | null {
  const last = localStorage.getItem(LAST);
  return items.find((item) => item.name === last)?.name ?? items[0]?.name ?? null;
}

export function remember(queue: string): void {
  localStorage.setItem(LAST, queue);
}

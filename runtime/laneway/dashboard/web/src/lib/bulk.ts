/** Actions on many tasks: one call does a bounded amount of work, so it is called until there is nothing left. */

import { post } from "../api/client";
import type { BulkAnswer, ReplayAnswer } from "../api/types";

export interface Done {
  matched: number;
  changed: number;
  skipped: number;
  scanned: number;
  errors: string[];
  /** The first ids of those replayed, to watch them. */
  ids: string[];
}

/** As many ids as one question for their states takes. */
const MOST_IDS = 1_000;

/** Runs an action to its end; `told` hears how far it is. Stops between two calls when the signal says so. */
export async function toTheEnd(
  path: string,
  body: Record<string, unknown>,
  signal: AbortSignal,
  told: (done: Done) => void = () => undefined,
): Promise<Done> {
  const done: Done = { matched: 0, changed: 0, skipped: 0, scanned: 0, errors: [], ids: [] };
  let cursor: string | null = null;
  do {
    const answer: Partial<BulkAnswer & ReplayAnswer> = await post(path, cursor === null ? body : { ...body, cursor }, signal);
    done.matched += answer.matched ?? 0;
    done.changed += answer.changed ?? answer.replayed ?? answer.purged ?? 0;
    done.skipped += answer.skipped ?? 0;
    done.scanned += answer.scanned ?? 0;
    done.errors.push(...(answer.errors ?? []).map((error) => error.detail ?? error.message ?? "refused"));
    done.ids.push(...(answer.ids ?? []).slice(0, MOST_IDS - done.ids.length));
    cursor = answer.next ?? null;
    told({ ...done });
  } while (cursor !== null && !signal.aborted);
  return done;
}

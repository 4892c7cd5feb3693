/**
 * One page of a list. The API does a bounded amount of searching per call and says how far it came, so a page is
 * filled by several calls, and what was found is shown while the search goes on.
 */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asRefusal, get, isAbort, type Refusal } from "../api/client";
import type { Page, TaskItem } from "../api/types";

export const PAGE_SIZE = 50;

export interface Search {
  items: TaskItem[] | null;
  /** Where the next page begins; null: this is the last. */
  next: string | null;
  scanned: number;
  total: number | null;
  searching: boolean;
  /** It was stopped before the page was full. */
  stopped: boolean;
  refusal: Refusal | null;
}

const NOTHING: Search = { items: null, next: null, scanned: 0, total: null, searching: true, stopped: false, refusal: null };

/** `path(cursor, limit)` is where to ask; `key` says which list it is, so that another one starts anew. */
export function useSearch(key: string, cursor: string | null, path: (cursor: string | null, limit: number) => string) {
  const [state, setState] = useState<Search & { key: string }>({ ...NOTHING, key });
  const under = useRef<AbortController | null>(null);
  const wish = useRef(false);
  const where = useRef(path);
  where.current = path;

  const run = useCallback(
    async (quietly: boolean) => {
      under.current?.abort();
      const { signal } = (under.current = new AbortController());
      // Read again in quiet, the old rows stay until the whole new page is there.
      if (!quietly) setState({ ...NOTHING, key });
      let items: TaskItem[] = [];
      let scanned = 0;
      let at = cursor;
      try {
        for (;;) {
          const page: Page<TaskItem> = await get(where.current(at, PAGE_SIZE - items.length), signal);
          items = [...items, ...page.items];
          scanned += page.scanned ?? 0;
          at = page.next;
          const done = at === null || items.length >= PAGE_SIZE;
          const found = { key, next: at, scanned, total: page.total ?? null, searching: !done, stopped: false, refusal: null };
          if (done || !quietly) setState({ ...found, items });
          if (done) break;
        }
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        setState((old) => ({ ...old, key, searching: false, refusal: asRefusal(error) }));
      }
      if (signal.aborted) return;
      under.current = null;
      if (wish.current) {
        wish.current = false;
        void run(true);
      }
    },
    [key, cursor],
  );

  useEffect(() => {
    void run(false);
    return () => {
      under.current?.abort();
      under.current = null;
      wish.current = false;
    };
  }, [run]);

  const stop = useCallback(() => {
    under.current?.abort();
    under.current = null;
    wish.current = false;
    setState((old) => ({ ...old, searching: false, stopped: true }));
  }, []);
  // One that is under way is left to finish, and is followed by one more.
  const again = useCallback(() => {
    if (under.current) wish.current = true;
    else void run(true);
  }, [run]);
  const change = useCallback((edit: (items: TaskItem[]) => TaskItem[]) => {
    setState((old) => (old.items ? { ...old, items: edit(old.items) } : old));
  }, []);

  return { ...(state.key === key ? state : { ...NOTHING, key }), stop, again, change };
}

/** Server-sent events over fetch: EventSource can send no Authorization header. */

import { ask } from "./client";

export interface Message {
  id: string | null;
  event: string;
  data: string;
}

/** No byte for this long means that the connection is gone (the gateway sends a comment each 10 s). */
const SILENCE_MS = 25_000;

/** Reads one connection to its end, calling `take` for each message. Throws a Refusal when it is refused. */
export async function follow(
  path: string,
  lastId: string | null,
  signal: AbortSignal,
  opened: () => void,
  take: (message: Message) => void,
): Promise<void> {
  const silence = new AbortController();
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (lastId !== null) headers["Last-Event-ID"] = lastId;
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await ask(path, { headers, signal: AbortSignal.any([signal, silence.signal]) });
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream") || !response.body) {
      throw new Error("not an event stream");
    }
    opened();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = parser(take);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      parse(value);
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Takes text in pieces of any size, and tells each message as its blank line arrives. */
export function parser(take: (message: Message) => void): (text: string) => void {
  let rest = "";
  let id: string | null = null;
  let event = "";
  let data: string[] = [];
  return (text) => {
    // A carriage return at the end of a piece may be half of a line's end.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length) take({ id, event: event || "message", data: data.join("\n") });
        event = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") data.push(value);
      else if (field === "event") event = value;
      else if (field === "id") id = value;
    }
  };
}

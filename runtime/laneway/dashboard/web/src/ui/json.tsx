/** JSON with its colours. Everything is a text node: what a task carries is never read as markup. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { bytes } from "../lib/format";
import { Button, Copy } from "./basics";

/** More than this is shown on demand: a megabyte of nodes would make the page slow. */
const MOST_CHARS = 20_000;

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function Json({ value, what }: { value: unknown; what: string }) {
  const text = JSON.stringify(value, null, 2) ?? "null";
  const [all, setAll] = useState(false);
  const shown = all || text.length <= MOST_CHARS ? text : text.slice(0, MOST_CHARS);
  return (
    <div class="code-box">
      <div class="code-tools">
        <span class="faint">{bytes(text.length)}</span>
        <Copy text={text} what={what} />
      </div>
      <pre class="code" tabIndex={0} aria-label={what}>
        {shown.length > MOST_CHARS ? shown : coloured(shown)}
      </pre>
      {shown !== text && <Button onClick={() => setAll(true)}>Show all {bytes(text.length)}</Button>}
    </div>
  );
}

function coloured(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    out.push(text.slice(at, match.index));
    at = match.index + match[0].length;
    const [whole, quoted, colon] = match;
    if (quoted && colon) out.push(<span class="j-key">{quoted}</span>, colon);
    else if (quoted) out.push(<span class="j-text">{quoted}</span>);
    else out.push(<span class={/[tfn]/.test(whole.charAt(0)) ? "j-word" : "j-number"}>{whole}</span>);
  }
  out.push(text.slice(at));
  return out;
}

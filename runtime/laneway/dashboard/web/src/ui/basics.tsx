/** The small parts that every page is made of. */

import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import type { Refusal } from "../api/client";
import type { Progress } from "../api/types";
import { ago, count, exact } from "../lib/format";
import { now } from "../lib/hooks";
import { href } from "../router";
import { say } from "../state/toasts";
import { Icon, type IconName } from "./icons";

/** A state by its colour and its word. */
export function StateBadge({ state }: { state: string }) {
  return (
    <span class="state" data-state={state}>
      {state}
    </span>
  );
}

type ButtonProps = Omit<ButtonHTMLAttributes, "type" | "role"> & {
  kind?: "plain" | "primary" | "danger" | "quiet";
  icon?: IconName;
  type?: "button" | "submit";
  children?: ComponentChildren;
};

export function Button({ kind = "plain", icon, children, type = "button", ...rest }: ButtonProps) {
  return (
    <button type={type} class={`button ${kind}`} {...rest}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** How long ago, kept current; its title is the exact time. */
export function Ago({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="faint">–</span>;
  return (
    <time dateTime={at} title={exact(at)}>
      {ago(at, now.value)}
    </time>
  );
}

export function TaskLink({ queue, id, whole = false }: { queue: string; id: string; whole?: boolean }) {
  return (
    <a class="id" href={href(queue, "tasks", id)} title={id}>
      {whole ? id : `${id.slice(0, 6)}…${id.slice(-5)}`}
    </a>
  );
}

export function Copy({ text, what }: { text: string; what: string }) {
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied ${what}.`);
    } catch {
      say("The browser does not allow copying here: select the text instead.", true);
    }
  };
  return (
    <button type="button" class="button quiet square" aria-label={`Copy ${what}`} title={`Copy ${what}`} onClick={copy}>
      <Icon name="copy" />
    </button>
  );
}

/** What is there when there is nothing. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children && <div>{children}</div>}
    </div>
  );
}

/** Why something can't be shown, and what to do. */
export function Trouble({ refusal, again, what }: { refusal: Refusal; again?: () => void; what: string }) {
  const title = refusal.forbidden ? `You may not see ${what}` : `Could not read ${what}`;
  return (
    <div class="trouble" role="alert">
      <p class="empty-title">{title}</p>
      <p>{refusal.message}</p>
      {refusal.forbidden && <p class="faint">Your credential does not permit it; log in with another to see it.</p>}
      {again && !refusal.forbidden && <Button onClick={again}>Try again</Button>}
    </div>
  );
}

/** One line above what is still shown from before. */
export function Stale({ refusal, again }: { refusal: Refusal; again: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <span>Not up to date: {refusal.message}</span>
      <Button kind="quiet" onClick={again}>Try again</Button>
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p class="loading" role="status">
      Reading {what}…
    </p>
  );
}

export function Redacted({ what }: { what: string }) {
  return <p class="redacted">The {what} is hidden: your credential lacks the permission <code>payloads</code>.</p>;
}

/** A share of something, as a bar with its numbers. */
export function Meter({ value, most, label }: { value: number; most: number | null; label: string }) {
  const share = most ? Math.min(1, value / most) : 0;
  return (
    <span class="meter">
      {most !== null && <span class="meter-bar" role="img" aria-label={`${label}: ${count(value)} of ${count(most)}`}>
        <span class="meter-fill" style={{ width: `${share * 100}%` }} data-full={share >= 1 ? "" : undefined} />
      </span>}
      <span class="num">
        {count(value)}
        {most !== null && <span class="faint">/{count(most)}</span>}
      </span>
    </span>
  );
}

export function ProgressBar({ progress }: { progress: Progress }) {
  const percent = progress.fraction === null ? null : Math.round(progress.fraction * 100);
  return (
    <div class="progress">
      <progress {...(percent === null ? {} : { value: percent })} max={100} aria-label="Progress" />
      <span class="num">{percent === null ? "" : `${percent}%`}</span>
      {progress.message && <span class="progress-message">{progress.message}</span>}
    </div>
  );
}

/** A row of a page's head: its title, and what can be done. */
export function PageHead({ title, children, sub }: {
  title: ComponentChildren; children?: ComponentChildren; sub?: ComponentChildren;
}) {
  return (
    <header class="page-head">
      <div class="page-title">
        <h1 tabIndex={-1}>{title}</h1>
        {sub && <div class="page-sub">{sub}</div>}
      </div>
      {children && <div class="page-actions">{children}</div>}
    </header>
  );
}

/** `bare`: its title is only for those who can't see that the page's head says it already. */
export function Panel({ title, aside, children, flush = false, bare = false }: {
  title: string; aside?: ComponentChildren; children: ComponentChildren; flush?: boolean; bare?: boolean;
}) {
  return (
    <section class={`panel ${flush ? "flush" : ""}`} aria-label={title}>
      <div class={bare ? "sr" : "panel-head"}>
        <h2>{title}</h2>
        {aside && <div class="panel-aside">{aside}</div>}
      </div>
      {children}
    </section>
  );
}

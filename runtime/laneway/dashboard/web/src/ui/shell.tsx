/** What surrounds every page: where one is, which queue, whether it is live, who one is. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useKeys } from "../lib/keys";
import { compact } from "../lib/format";
import { go, href, place } from "../router";
import { liveness, missing, pause, stats, type Liveness } from "../state/live";
import { loadQueues, queues, remember } from "../state/queues";
import { bound, can, logout, who } from "../state/session";
import { choose, theme, type Theme } from "../state/theme";
import { Help } from "./help";
import { Icon, type IconName } from "./icons";

const PAGES: { page: string; title: string; icon: IconName; key: string; needs?: string; unbound?: boolean }[] = [
  { page: "overview", title: "Overview", icon: "overview", key: "o" },
  { page: "lanes", title: "Lanes", icon: "lanes", key: "l", unbound: true },
  { page: "tasks", title: "Tasks", icon: "tasks", key: "t" },
  { page: "dead", title: "Dead letters", icon: "dead", key: "d" },
  { page: "workers", title: "Workers", icon: "workers", key: "w", unbound: true },
  { page: "submit", title: "Submit", icon: "submit", key: "s", needs: "submit" },
];

const LIVE_WORDS: Record<Liveness, [string, string]> = {
  connecting: ["Connecting", "Opening the stream of events"],
  live: ["Live", "Changes are shown as they happen"],
  waiting: ["Waiting", "The gateway gets no numbers from Redis now; what is shown is from before"],
  reconnecting: ["Reconnecting", "The stream of events broke; it is resumed where it ended"],
  polling: ["Polling", "There is no stream of events now: read every 2 s instead"],
  paused: ["Paused", "Nothing is updated until you resume"],
};

const THEMES: Record<Theme, { next: Theme; icon: IconName; word: string }> = {
  system: { next: "light", icon: "half", word: "as the system" },
  light: { next: "dark", icon: "sun", word: "light" },
  dark: { next: "system", icon: "moon", word: "dark" },
};

export function Shell({ children }: { children: ComponentChildren }) {
  const { queue, page } = place.value;
  const [help, setHelp] = useState(false);
  const pages = PAGES.filter((entry) => (!entry.needs || can(entry.needs)) && !(entry.unbound && bound.value));
  // Of a queue that is not there, there is nothing to follow and nowhere to go.
  const there = queue !== null && queue !== missing.value;
  useKeys({
    "?": () => setHelp(true),
    p: () => pause(liveness.value !== "paused"),
    ...Object.fromEntries(pages.map((entry) => [`g ${entry.key}`, () => queue && go(href(queue, entry.page))])),
  });
  const dead = stats.value?.tasks["dead"] ?? 0;
  return (
    <div class="shell">
      <a class="skip" href="#main">Skip to the content</a>
      <header class="top">
        <a class="brand" href="/dashboard/" aria-label="Laneway, home">
          <svg viewBox="0 0 20 20" aria-hidden="true"><path class="b1" d="M3 5h14" /><path class="b2" d="M3 10h9" /><path class="b3" d="M3 15h5" /></svg>
          <span>Laneway</span>
        </a>
        {queue && <QueueSwitcher queue={queue} page={page} />}
        <div class="top-right">
          {there && <LiveButton />}
          <ThemeButton />
          <button type="button" class="button quiet square hide-phone" aria-label="Keyboard help" title="Keyboard help (?)" onClick={() => setHelp(true)}>
            <Icon name="keys" />
          </button>
          <User />
        </div>
      </header>
      {queue && there && (
        <nav class="nav" aria-label="Pages">
          {pages.map((entry) => (
            <a key={entry.page} href={href(queue, entry.page)} aria-current={page === entry.page ? "page" : undefined} title={`g ${entry.key}`}>
              <Icon name={entry.icon} />
              <span>{entry.page === "dead" ? <>Dead<span class="hide-phone"> letters</span></> : entry.title}</span>
              {entry.page === "dead" && dead > 0 && <b class="nav-count num">{compact(dead)}</b>}
            </a>
          ))}
        </nav>
      )}
      <main id="main" tabIndex={-1}>{children}</main>
      {help && <Help close={() => setHelp(false)} />}
    </div>
  );
}

function QueueSwitcher({ queue, page }: { queue: string; page: string }) {
  const items = queues.value ?? [];
  const names = items.some((item) => item.name === queue) ? items.map((item) => item.name) : [queue, ...items.map((item) => item.name)];
  return (
    <label class="queue-switcher">
      <span class="hide-phone">Queue</span>
      <select
        aria-label="Queue"
        value={queue}
        onFocus={() => void loadQueues()}
        onChange={(event) => {
          const next = event.currentTarget.value;
          remember(next);
          go(href(next, page));
        }}
      >
        {names.map((name) => {
          const item = items.find((one) => one.name === name);
          return <option key={name} value={name}>{name}{item?.paused ? " (paused)" : item?.available === false ? " (away)" : ""}</option>;
        })}
      </select>
    </label>
  );
}

function LiveButton() {
  const now = liveness.value;
  const [word, title] = LIVE_WORDS[now];
  return (
    <button type="button" class="live" data-live={now} title={`${title} (p)`} aria-label={`${word}: ${now === "paused" ? "resume" : "pause"} live updates`} onClick={() => pause(now !== "paused")}>
      <span class="live-dot" aria-hidden="true" />
      <span aria-live="polite">{word}</span>
      <Icon name={now === "paused" ? "play" : "pause"} />
    </button>
  );
}

function ThemeButton() {
  const { next, icon, word } = THEMES[theme.value];
  const label = `Colours: ${word}. Change to ${THEMES[next].word}`;
  return (
    <button type="button" class="button quiet square" aria-label={label} title={label} onClick={() => choose(next)}>
      <Icon name={icon} />
    </button>
  );
}

function User() {
  const me = who.value;
  if (!me || me.auth === "none") return null;
  const tenants = me.tenants ? `, tenants ${me.tenants.join(", ")}` : "";
  return (
    <div class="user">
      <span class="hide-phone" title={`${me.name}: ${me.role}${tenants}`}>{me.name} <span class="faint">{me.role}</span></span>
      <button type="button" class="button quiet square" aria-label="Log out" title="Log out" onClick={logout}>
        <Icon name="logout" />
      </button>
    </div>
  );
}

/** Numbers, times and durations for people. Times are shown in the browser's zone; their titles are exact. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : whole.format(value);
}

/** Short when it is large: 12,345 stays, 1,234,567 is 1.2M. */
export function compact(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) < 100_000 ? whole.format(value) : short.format(value);
}

export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value > 0 && value < 0.1) return value.toFixed(2);
  return value < 10 ? value.toFixed(value === 0 ? 0 : 1) : compact(Math.round(value));
}

/** Seconds as one or two units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s === 0) return "0 s";
  if (s < 0.0001) return "< 0.1 ms";
  if (s < 1) return `${s < 0.01 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return two(Math.floor(s / 60), "m", Math.floor(s % 60), "s");
  if (s < 86_400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
  return two(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

function two(first: number, unit: string, second: number, small: string): string {
  return second ? `${first} ${unit} ${second} ${small}` : `${first} ${unit}`;
}

/** How long ago, in one unit. */
export function ago(at: string | null | undefined, now: number): string {
  if (!at) return "–";
  const s = (now - Date.parse(at)) / 1000;
  if (s < -1) return `in ${unit(-s)}`;
  return s < 1 ? "now" : `${unit(s)} ago`;
}

function unit(s: number): string {
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** The time of day, with the day when it is not today. */
export function clock(at: string | null | undefined): string {
  if (!at) return "–";
  const date = new Date(at);
  const time = clockFormat.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${dayFormat.format(date)}, ${time}`;
}

/** The time of day alone, to the second. */
export function timeOfDay(at: string): string {
  return new Date(at).toLocaleTimeString("en-GB");
}

/** Exact, for titles. */
export function exact(at: string | null | undefined): string {
  return at ? new Date(at).toISOString() : "";
}

/** Seconds between two times. */
export function between(from: string | null | undefined, to: string | null | undefined): number | null {
  return from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  return n < 1_048_576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1_048_576).toFixed(1)} MiB`;
}

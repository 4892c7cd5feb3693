/** The API's answers, as docs/reference/http.md tells them. */

export const STATES = [
  "running", "dispatched", "queued", "parked", "scheduled", "blocked",
  "dead", "expired", "cancelled", "succeeded",
] as const;
export type State = (typeof STATES)[number];

/** What ends a task; the others wait or run. */
export const ENDED: ReadonlySet<string> = new Set(["succeeded", "dead", "cancelled", "expired"]);

export interface WhoAmI {
  name: string;
  role: string;
  tenants: string[] | null;
  permissions: string[];
  auth: string;
  expiresAt: string | null;
}

export interface QueueItem {
  name: string;
  namespace?: string;
  paused?: boolean;
  available?: boolean;
  tasks?: Record<string, number> | null;
  lanes?: number;
  workers?: number;
  slots?: number;
}

export interface LaneStats {
  name: string;
  queued: number;
  running: number;
  oldestSeconds: number | null;
  etaSeconds?: number | null;
}

export interface Lane extends LaneStats {
  priority: number;
  paused: boolean;
  maxRunning: number | null;
  minShare: number | null;
  rate: number | null;
  dispatchRate: number | null;
}

export interface WorkerStats {
  name: string;
  incarnation: string;
  source: string;
  state: string;
  slots: number;
  held: number;
  secondsSinceBeat: number;
}

export interface Worker {
  id: string;
  name: string;
  mode: string;
  state: string;
  slots: number;
  running: number;
  partition: number | null;
  lastBeatSeconds: number;
  startedAt: string | null;
  tasks: string[];
}

export interface Stats {
  queue: string;
  at: string;
  tasks: Record<string, number>;
  drift: number;
  lanes: LaneStats[];
  workers: WorkerStats[];
  outboxBytes: number;
  outboxEntries: number;
  outboxGap: number;
}

export interface TaskItem {
  id: string;
  state: string;
  type: string;
  lane: string;
  priority: number;
  tenant: string;
  labels: Record<string, string>;
  attempts: number;
  maxAttempts: number | null;
  submittedAt: string | null;
  stateSince: string | null;
  endedAt: string | null;
  runAt: string | null;
  worker: string | null;
  progress: Progress | null;
  error: { kind: string; message: string } | null;
  redacted?: boolean;
  fingerprint?: string;
}

export interface Progress {
  fraction: number | null;
  message: string;
  at: string | null;
}

export interface AttemptError {
  kind: string;
  message: string;
  attempt: number;
  at: string | null;
  worker: string;
  traceback: string | null;
}

export interface Step {
  at: string | null;
  what: string;
  attempt: number | null;
  detail: string | null;
}

export interface Task {
  id: string;
  queue: string;
  state: string;
  type: string;
  lane: string;
  priority: number;
  tenant: string;
  payload: unknown;
  description: string | null;
  labels: Record<string, string>;
  idempotencyKey: string | null;
  trace: string | null;
  attempts: number;
  maxAttempts: number | null;
  crashes: number;
  submittedAt: string | null;
  stateSince: string | null;
  runAt: string | null;
  endedAt?: string | null;
  startTimeout: number;
  timeout: number;
  cancelRequested: boolean;
  errors: AttemptError[];
  result: unknown;
  worker?: string | null;
  progress?: Progress | null;
  logs?: { lines: number; href: string } | null;
  waits?: { waitSeconds: number | null; runSeconds: number | null } | null;
  history?: Step[];
  redacted?: boolean;
  fingerprint?: string;
}

export interface LogLine {
  n: number;
  at: string | null;
  attempt: number;
  level: string;
  message: string;
}

export interface Logs {
  lines: LogLine[];
  next: number;
  truncated: boolean;
}

export interface Page<T> {
  items: T[];
  next: string | null;
  scanned: number;
  total: number | null;
}

export interface DeadGroup {
  fingerprint: string;
  type: string;
  kind: string;
  message: string;
  /** Where it was raised; "" when that is not known. */
  frame?: string;
  count: number;
  firstAt: string | null;
  lastAt: string | null;
  sample: string;
}

export interface DeadGroups {
  groups: DeadGroup[];
  scanned: number;
  complete: boolean;
  next: string | null;
}

export interface TaskType {
  type: string;
  lane: string | null;
  schema: JsonSchema | null;
  description: string | null;
  defaults: Record<string, unknown> | null;
}

export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  additionalProperties?: boolean | JsonSchema;
}

export interface Point {
  at: string;
  [name: string]: number | string | null;
}

export interface History {
  from: string;
  to: string;
  step: string;
  points: Point[];
  lanes: Record<string, Point[]>;
}

/** One line of the event stream: what happened to some tasks of a lane. */
export interface QueueEvent {
  at: string;
  kind: string;
  lane: string | null;
  attempts?: number | number[] | null;
  ids: string[];
}

export interface BulkAnswer {
  matched: number;
  changed: number;
  skipped: number;
  next: string | null;
  scanned: number;
  errors: { id?: string; detail?: string; message?: string }[];
}

export interface ReplayAnswer {
  matched: number;
  replayed?: number;
  purged?: number;
  ids?: string[];
  next: string | null;
  scanned: number;
}

export interface Receipt {
  id: string;
  state: string | null;
  duplicate: boolean;
}

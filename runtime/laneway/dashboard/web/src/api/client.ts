/** Calls of the API: the credential goes along, an error becomes a `Refusal`, and a 401 ends the session. */

export interface FieldError {
  field: string;
  message: string;
}

/** An answer that is not the one asked for. `status` 0: there was no answer. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    readonly title: string,
    detail: string,
    readonly errors: FieldError[] = [],
  ) {
    super(detail);
  }

  get forbidden(): boolean {
    return this.status === 403;
  }
}

const PREFIX = "urn:laneway:problem:";

let token: string | null = null;
let onExpired: (why: string) => void = () => undefined;

/** Says which credential to send, and whom to tell when it is refused. */
export function useCredential(value: string | null): void {
  token = value;
}

export function whenExpired(tell: (why: string) => void): void {
  onExpired = tell;
}

export interface Ask {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Leave a 401 to the caller: it tries a credential. */
  trying?: boolean;
}

/** The response, of any body; a refusal is thrown. An abort stays a DOMException named AbortError. */
export async function ask(path: string, { method, body, headers, signal, trying }: Ask = {}): Promise<Response> {
  const sent: Record<string, string> = { Accept: "application/json", ...headers };
  const with_ = token;
  if (with_) sent["Authorization"] = `Bearer ${with_}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers: sent,
      credentials: "omit",
      cache: "no-store",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal(0, "unreachable", "No answer", "The gateway did not answer. It may be restarting.");
  }
  if (response.ok) return response;
  const refusal = await refused(response);
  // An answer to a credential that was replaced meanwhile says nothing about the one in use.
  if (response.status === 401 && !trying && with_ === token) onExpired(refusal.message);
  throw refusal;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, { signal })).json()) as T;
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, { body, signal })).json()) as T;
}

async function refused(response: Response): Promise<Refusal> {
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as { type?: string; title?: string; detail?: string; errors?: FieldError[] };
    return new Refusal(
      response.status,
      (problem.type ?? "").replace(PREFIX, "") || "error",
      problem.title ?? response.statusText,
      problem.detail ?? problem.title ?? response.statusText,
      problem.errors ?? [],
    );
  } catch {
    return new Refusal(response.status, "error", `HTTP ${response.status}`, text.slice(0, 300) || response.statusText);
  }
}

/** The address of something of a queue. */
export function queuePath(queue: string, ...parts: string[]): string {
  return ["/api/v1/queues", queue, ...parts].map((part, i) => (i ? encodeURIComponent(part) : part)).join("/");
}

/** A query without the empty ones; an array gives its name several times. */
export function query(values: Record<string, string | number | string[] | null | undefined>): string {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (Array.isArray(value)) value.forEach((one) => out.append(name, one));
    else if (value !== null && value !== undefined && value !== "") out.append(name, String(value));
  }
  const text = out.toString();
  return text && `?${text}`;
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Any error as a refusal, to show it. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal(0, "fault", "The dashboard failed", error instanceof Error ? error.message : String(error));
}

/** A task by hand: of a type that workers know, by its fields; or of any, in JSON. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { asRefusal, get, post, queuePath, type FieldError } from "../api/client";
import type { Receipt, TaskType } from "../api/types";
import { useRead } from "../lib/hooks";
import { FieldFault, fieldsOf, initial, payloadOf, type SchemaField } from "../lib/schema";
import { href, params } from "../router";
import { Button, PageHead, Panel, TaskLink } from "../ui/basics";

interface Extra {
  lane: string;
  priority: string;
  delay: string;
  tenant: string;
  idempotencyKey: string;
  maxAttempts: string;
  labels: string;
  description: string;
}

const NOTHING: Extra = { lane: "", priority: "", delay: "", tenant: "", idempotencyKey: "", maxAttempts: "", labels: "", description: "" };

export function Submit({ queue }: { queue: string }) {
  const types = useRead(queue, (signal) => get<{ items: TaskType[] }>(queuePath(queue, "types"), signal));
  const lanes = useRead(queue, (signal) => get<{ items: { name: string }[] }>(queuePath(queue, "lanes"), signal));
  const known = types.value?.items ?? [];
  const [type, setType] = useState(params.peek().get("type") ?? "");
  const chosen = known.find((one) => one.type === type);
  const fields = useMemo(() => fieldsOf(chosen?.schema), [chosen]);
  const [raw, setRaw] = useState(false);
  const [texts, setTexts] = useState<Record<string, string>>({});
  const [json, setJson] = useState("{}");
  const [extra, setExtra] = useState<Extra>(NOTHING);
  const [errors, setErrors] = useState<FieldError[]>([]);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [receipts, setReceipts] = useState<Receipt[]>([]);
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const byFields = fields !== null && !raw;

  useEffect(() => setTexts(fields ? initial(fields) : {}), [fields]);
  // The first wrong field, also for those who do not see that it is marked.
  useEffect(() => {
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [errors]);

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setTrouble(null);
    setErrors([]);
    let body: Record<string, unknown>;
    try {
      body = { type, payload: byFields ? payloadOf(fields, texts) : objectOf(json), ...(chosen?.lane ? { lane: chosen.lane } : {}), ...extraOf(extra) };
    } catch (error) {
      if (!(error instanceof FieldFault)) throw error;
      setErrors([{ field: error.field === "payload" ? "payload" : byFields && error.field in texts ? `payload.${error.field}` : error.field, message: error.message }]);
      return;
    }
    setBusy(true);
    try {
      const receipt = await post<Receipt>(queuePath(queue, "tasks"), body);
      setReceipts((before) => [receipt, ...before].slice(0, 8));
    } catch (error) {
      const refusal = asRefusal(error);
      setErrors(refusal.errors);
      setTrouble(refusal.forbidden ? `Your credential may not submit this: ${refusal.message}` : refusal.message);
    }
    setBusy(false);
  };

  const toJson = (): void => {
    if (fields && !raw) {
      try {
        setJson(JSON.stringify(payloadOf(fields, texts), null, 2));
      } catch {
        setJson(JSON.stringify(Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== "")), null, 2));
      }
    }
    setRaw(!raw);
  };
  const wrong = (field: string): string | null => errors.find((error) => error.field === field || error.field.startsWith(`${field}.`))?.message ?? null;
  const set = (name: keyof Extra) => (value: string) => setExtra((old) => ({ ...old, [name]: value }));
  const shown = new Set(["type", "payload", ...Object.keys(NOTHING), ...(fields ?? []).map((field) => `payload.${field.name}`)]);
  const others = errors.filter((error) => ![...shown].some((name) => error.field === name || error.field.startsWith(`${name}.`)));

  return (
    <>
      <PageHead title="Submit a task" sub={<>to queue <b>{queue}</b></>} />
      <div class="submit-grid">
        <form ref={form} class="submit" onSubmit={(event) => void submit(event)} noValidate>
          <Panel title="What">
            <Field name="Type" error={wrong("type")} hint={chosen?.description ?? (types.refusal ? `The types that workers know can't be read: ${types.refusal.message}` : known.length ? `${known.length} known to the workers; another one works too` : "as its handler is named")}>
              {(more) => <><input {...more} list="types" value={type} required spellcheck={false} autocomplete="off" onInput={(event) => { setType(event.currentTarget.value); setErrors([]); }} /><datalist id="types">{known.map((one) => <option key={one.type} value={one.type} />)}</datalist></>}
            </Field>
            {fields !== null && <Button kind="quiet" class="button quiet to-json" onClick={toJson}>{raw ? "Fill in fields instead" : "Write JSON instead"}</Button>}
            {byFields ? (
              <>
                {fields.length === 0 && <p class="faint">It takes no arguments.</p>}
                {fields.map((field) => <SchemaInput key={`${type} ${field.name}`} field={field} value={texts[field.name] ?? ""} error={wrong(`payload.${field.name}`)} set={(value) => setTexts((old) => ({ ...old, [field.name]: value }))} />)}
                {errors.some((error) => error.field === "payload") && <p class="field-error" role="alert">{wrong("payload")}</p>}
              </>
            ) : (
              <Field name="Payload (JSON object)" error={errors.find((error) => error.field.startsWith("payload"))?.message ?? null}>
                {(more) => <textarea {...more} class="code" rows={10} value={json} spellcheck={false} onInput={(event) => setJson(event.currentTarget.value)} />}
              </Field>
            )}
          </Panel>
          <Panel title="How">
            <div class="form-grid">
              <Field name="Lane" error={wrong("lane")}>
                {(more) => <select {...more} value={extra.lane} onChange={(event) => set("lane")(event.currentTarget.value)}><option value="">{chosen?.lane ? `as the type says (${chosen.lane})` : "the queue's default"}</option>{lanes.value?.items.map(({ name }) => <option key={name} value={name}>{name}</option>)}</select>}
              </Field>
              <Line name="Priority" hint="0 to 9, 9 first; 4 if empty" value={extra.priority} set={set("priority")} error={wrong("priority")} numeric />
              <Line name="Delay" hint="seconds" value={extra.delay} set={set("delay")} error={wrong("delay")} numeric />
              <Line name="Most attempts" hint="as the worker says if empty" value={extra.maxAttempts} set={set("maxAttempts")} error={wrong("maxAttempts")} numeric />
              <Line name="Tenant" value={extra.tenant} set={set("tenant")} error={wrong("tenant")} />
              <Line name="Idempotency key" hint="the same key, type and payload is one task" value={extra.idempotencyKey} set={set("idempotencyKey")} error={wrong("idempotencyKey")} />
              <Line name="Labels" hint="name:value name:value" value={extra.labels} set={set("labels")} error={wrong("labels")} />
              <Line name="Description" value={extra.description} set={set("description")} error={wrong("description")} />
            </div>
          </Panel>
          {trouble && (
            <div class="notice bad" role="alert">
              <div><p>{trouble}</p>{others.length > 0 && <ul>{others.map((error) => <li key={error.field}><b>{error.field}</b>: {error.message}</li>)}</ul>}</div>
            </div>
          )}
          <div class="foot-actions"><Button type="submit" kind="primary" disabled={busy || !type}>{busy ? "Submitting…" : "Submit"}</Button></div>
        </form>
        <Panel title="Submitted here">
          {receipts.length === 0 ? <p class="faint">Tasks that you submit are listed here.</p> : (
            <ul class="receipts" role="status">
              {receipts.map((receipt) => <li key={receipt.id}><TaskLink queue={queue} id={receipt.id} whole />{receipt.duplicate && <span class="tag">was there already</span>}</li>)}
            </ul>
          )}
          <p class="faint small">Many at once: <code>laneway submit -f tasks.jsonl</code>, or <a href={href(queue, "tasks")}>look at the tasks</a>.</p>
        </Panel>
      </div>
    </>
  );
}

function objectOf(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text || "{}");
  } catch (error) {
    throw new FieldFault("payload", `This is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new FieldFault("payload", 'The payload must be an object, like {"path": "a.txt"}');
  return value;
}

function extraOf(extra: Extra): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const name of ["lane", "tenant", "idempotencyKey", "description"] as const) if (extra[name]) out[name] = extra[name];
  for (const name of ["priority", "delay", "maxAttempts"] as const) {
    if (extra[name] === "") continue;
    const value = Number(extra[name]);
    if (!Number.isFinite(value)) throw new FieldFault(name, "must be a number");
    out[name] = value;
  }
  const labels = extra.labels.split(/\s+/).filter(Boolean).map((pair) => {
    const colon = pair.indexOf(":");
    if (colon < 1) throw new FieldFault("labels", `${pair} is not name:value`);
    return [pair.slice(0, colon), pair.slice(colon + 1)];
  });
  if (labels.length) out["labels"] = Object.fromEntries(labels) as Record<string, string>;
  return out;
}

// -- fields

interface Given {
  id: string;
  "aria-invalid": boolean;
  "aria-describedby": string;
}

let serial = 0;

function Field({ name, required = false, hint, error, children }: {
  name: string; required?: boolean; hint?: string | undefined; error: string | null; children: (more: Given) => preact.ComponentChildren;
}) {
  const id = useMemo(() => `f${++serial}`, []);
  return (
    <div class="field">
      <label class="field-name" for={id}>{name}{required && <span class="required"> (needed)</span>}</label>
      {children({ id, "aria-invalid": error !== null, "aria-describedby": `${id}-help` })}
      <div id={`${id}-help`}>
        {error !== null && <p class="field-error" role="alert">{error}</p>}
        {hint && <p class="faint small">{hint}</p>}
      </div>
    </div>
  );
}

function Line({ name, value, set, error, hint, numeric = false }: {
  name: string; value: string; set: (value: string) => void; error: string | null; hint?: string; numeric?: boolean;
}) {
  return <Field name={name} error={error} hint={hint}>{(more) => <input {...more} value={value} inputMode={numeric ? "decimal" : "text"} autocomplete="off" spellcheck={false} onInput={(event) => set(event.currentTarget.value)} />}</Field>;
}

function SchemaInput({ field, value, error, set }: { field: SchemaField; value: string; error: string | null; set: (value: string) => void }) {
  const { schema, kind } = field;
  const bounds = schema.minimum !== undefined || schema.maximum !== undefined ? `${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}` : "";
  const hint = [schema.description, kind === "json" ? "JSON" : kind === "integer" ? "whole number" : kind === "number" ? "number" : "", bounds].filter(Boolean).join(" · ");
  return (
    <Field name={field.name} required={field.required} error={error} hint={hint || undefined}>
      {(more) => {
        if (kind === "boolean") return <select {...more} value={value} onChange={(event) => set(event.currentTarget.value)}><option value="false">false</option><option value="true">true</option></select>;
        if (kind === "choice") return <select {...more} value={value} onChange={(event) => set(event.currentTarget.value)}>{(!field.required || value === "") && <option value="" />}{schema.enum?.map((one) => <option key={String(one)} value={String(one)}>{String(one)}</option>)}</select>;
        if (kind === "json") return <textarea {...more} class="code" rows={3} value={value} spellcheck={false} onInput={(event) => set(event.currentTarget.value)} />;
        return <input {...more} value={value} inputMode={kind === "text" ? "text" : "decimal"} autocomplete="off" spellcheck={false} onInput={(event) => set(event.currentTarget.value)} />;
      }}
    </Field>
  );
}

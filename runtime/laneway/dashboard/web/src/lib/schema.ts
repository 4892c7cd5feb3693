/** JSON Schema, as far as a form can show it. What a form can't, the JSON editor does; the worker checks in the end. */

import type { JsonSchema } from "../api/types";

export type FieldKind = "text" | "integer" | "number" | "boolean" | "choice" | "json";

export interface SchemaField {
  name: string;
  kind: FieldKind;
  required: boolean;
  /** May be null, or be left out. */
  nullable: boolean;
  schema: JsonSchema;
}

function resolved(schema: JsonSchema, root: JsonSchema, depth = 0): JsonSchema {
  const name = schema.$ref?.startsWith("#/$defs/") ? schema.$ref.slice("#/$defs/".length) : null;
  const found = name !== null ? root.$defs?.[name] : undefined;
  return found && depth < 8 ? resolved({ ...found, ...without(schema) }, root, depth + 1) : schema;
}

function without({ $ref: _, ...rest }: JsonSchema): JsonSchema {
  return rest;
}

/** The fields of an object's form; null when the payload is no object with known properties. */
export function fieldsOf(schema: JsonSchema | null | undefined): SchemaField[] | null {
  if (!schema) return null;
  const root = resolved(schema, schema);
  if (!root.properties || (root.type !== undefined && root.type !== "object")) return null;
  const required = new Set(root.required ?? []);
  return Object.entries(root.properties).map(([name, raw]) => {
    const { schema: inner, nullable } = unwrapped(resolved(raw, schema), schema);
    return { name, kind: kindOf(inner), required: required.has(name), nullable, schema: { ...inner, ...without(raw), ...pick(inner) } };
  });
}

function pick(schema: JsonSchema): JsonSchema {
  return schema.enum ? { enum: schema.enum } : {};
}

/** `X | null` is X that may be null. */
function unwrapped(schema: JsonSchema, root: JsonSchema): { schema: JsonSchema; nullable: boolean } {
  if (schema.anyOf) {
    const others = schema.anyOf.filter((one) => one.type !== "null");
    const nullable = others.length < schema.anyOf.length;
    if (others.length === 1 && others[0]) {
      const inner = resolved(others[0], root);
      return { schema: { ...inner, ...(schema.default === undefined ? {} : { default: schema.default }) }, nullable };
    }
    return { schema, nullable };
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    const [only] = types;
    if (types.length === 1 && only) return { schema: { ...schema, type: only }, nullable: types.length < schema.type.length };
  }
  return { schema, nullable: false };
}

function kindOf(schema: JsonSchema): FieldKind {
  if (schema.enum?.every((value) => typeof value === "string" || typeof value === "number")) return "choice";
  switch (schema.type) {
    case "string": return "text";
    case "integer": return "integer";
    case "number": return "number";
    case "boolean": return "boolean";
    default: return "json";
  }
}

/** What the form starts with. */
export function initial(fields: SchemaField[]): Record<string, string> {
  return Object.fromEntries(fields.map(({ name, kind, schema }) => {
    const value = schema.default;
    if (value === undefined || value === null) return [name, kind === "boolean" ? "false" : ""];
    return [name, typeof value === "string" ? value : JSON.stringify(value)];
  }));
}

/** The payload that the form says: empty fields are left out. Throws a `FieldFault` for what can't be one. */
export function payloadOf(fields: SchemaField[], texts: Record<string, string>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const { name, kind, required, schema, nullable } of fields) {
    const text = texts[name] ?? "";
    if (text === "") {
      // (A text that may be empty is written in JSON: of an empty field it is far likelier that it was forgotten.)
      if (required && !nullable) throw new FieldFault(name, `${name} needs a value`);
      if (required) out[name] = null;
      continue;
    }
    out[name] = valueOf(name, kind, text, schema);
  }
  return out;
}

export class FieldFault extends Error {
  constructor(readonly field: string, message: string) {
    super(message);
  }
}

function valueOf(name: string, kind: FieldKind, text: string, schema: JsonSchema): unknown {
  switch (kind) {
    case "text": return text;
    case "boolean": return text === "true";
    case "choice": return schema.enum?.find((value) => String(value) === text);
    case "json":
      try {
        return JSON.parse(text) as unknown;
      } catch (error) {
        throw new FieldFault(name, `is not JSON: ${error instanceof Error ? error.message : String(error)}`);
      }
    default: {
      const value = Number(text);
      if (!Number.isFinite(value) || (kind === "integer" && !Number.isInteger(value))) {
        throw new FieldFault(name, `must be ${kind === "integer" ? "a whole number" : "a number"}`);
      }
      return value;
    }
  }
}

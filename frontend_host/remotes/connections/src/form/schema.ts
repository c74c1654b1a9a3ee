import type { Connector, JsonObject, JsonSchema, JsonValue, SecretField } from "@portal/api-client";

/** Secrets a connector asks for, wherever its manifest lists them. */
export function secretsOf(connector: Connector): SecretField[] {
  return connector.secrets ?? connector.configuration.secrets ?? [];
}

/** The type a field is edited as; a nullable type counts as its other part. */
export function kindOf(schema: JsonSchema): string {
  if (schema.enum || schema.oneOf?.every((option) => option.const !== undefined)) return "choice";
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  return type ?? (schema.properties ? "object" : "string");
}

/**
 * Whether a field matters for the values given: `"x-show-when": {"location": ["object_store"]}` shows it for that
 * location only. Hidden fields are neither checked nor sent.
 */
export function isShown(schema: JsonSchema, values: JsonObject): boolean {
  return Object.entries(schema["x-show-when"] ?? {}).every(([name, wanted]) => wanted.includes(values[name] ?? null));
}

/** The defaults of all properties, nested ones too. */
export function defaultsOf(schema: JsonSchema): JsonObject {
  const values: JsonObject = {};
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default !== undefined) values[name] = property.default;
    else if (property.properties) values[name] = defaultsOf(property);
  }
  return values;
}

/** What is wrong with the values, by dotted path, before the server is asked. */
export function findMistakes(schema: JsonSchema, values: JsonObject, prefix = ""): Record<string, string> {
  const mistakes: Record<string, string> = {};
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (!isShown(property, values)) continue;
    const path = prefix + name;
    const value = values[name];
    if (isEmpty(value)) {
      if (schema.required?.includes(name)) mistakes[path] = "This is needed.";
      continue;
    }
    if (property.properties) Object.assign(mistakes, findMistakes(property, value as JsonObject, `${path}.`));
    const text = mistakeOf(property, value as JsonValue);
    if (text) mistakes[path] = text;
  }
  return mistakes;
}

function isEmpty(value: JsonValue | undefined): boolean {
  return value === undefined || value === null || value === "";
}

function mistakeOf(schema: JsonSchema, value: JsonValue): string | null {
  if (typeof value === "number") {
    if (Number.isNaN(value)) return "Give a number.";
    if (schema.minimum !== undefined && value < schema.minimum) return `At least ${schema.minimum}.`;
    if (schema.maximum !== undefined && value > schema.maximum) return `At most ${schema.maximum}.`;
  }
  if (typeof value === "string") {
    if (schema.minLength !== undefined && value.length < schema.minLength)
      return `At least ${schema.minLength} characters.`;
    if (schema.maxLength !== undefined && value.length > schema.maxLength)
      return `At most ${schema.maxLength} characters.`;
    if (schema.pattern && !safePattern(schema.pattern)?.test(value))
      return schema.description ?? "This has the wrong form.";
  }
  return null;
}

function safePattern(pattern: string): RegExp | null {
  try {
    return new RegExp(pattern, "u");
  } catch {
    // A pattern of another dialect is left to the server.
    return /^/;
  }
}

/** Values without the empty ones, as they are sent. */
export function withoutEmpty(values: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => !isEmpty(value)));
}

/** `max_page_size` as "Max page size", for schemas without titles. */
export function labelOf(name: string, schema: { title?: string }): string {
  return schema.title ?? name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());
}

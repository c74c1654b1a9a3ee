import type { JsonObject, JsonValue } from "@portal/api-client";

export type FieldKind = "text" | "long" | "number" | "boolean" | "choice" | "date";

/** One field of a task's form, read from its JSON Schema. */
export interface FormField {
  name: string;
  label: string;
  hint: string;
  kind: FieldKind;
  required: boolean;
  choices: JsonValue[];
  inputType: string;
  /** What stands in the field at first. */
  start: string | boolean | undefined;
}

const INPUT_TYPES: Record<string, string> = { date: "date", email: "email" };
const LONG_TEXT = 200;

const object = (value: JsonValue | undefined): JsonObject =>
  value && typeof value === "object" && !Array.isArray(value) ? value : {};
const words = (name: string) => name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** The fields of a flat object schema, in its order. */
export function readForm(schema: JsonObject): FormField[] {
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(object(schema.properties)).map(([name, given]) => {
    const field = object(given);
    const choices = Array.isArray(field.enum) ? field.enum : [];
    const kind = kindOf(field);
    return {
      name,
      label: typeof field.title === "string" ? field.title : words(name),
      hint: typeof field.description === "string" ? field.description : "",
      kind,
      required: required.includes(name),
      choices,
      inputType: INPUT_TYPES[String(field.format ?? "")] ?? "text",
      start: startOf(field, kind, choices),
    };
  });
}

function kindOf(field: JsonObject): FieldKind {
  if (Array.isArray(field.enum)) return "choice";
  switch (field.type) {
    case "boolean":
      return "boolean";
    case "integer":
    case "number":
      return "number";
    default:
      if (field.format === "date") return "date";
      return Number(field.maxLength ?? 0) > LONG_TEXT ? "long" : "text";
  }
}

function startOf(field: JsonObject, kind: FieldKind, choices: JsonValue[]): string | boolean | undefined {
  if (field.default === undefined) return undefined;
  if (kind === "boolean") return field.default === true;
  if (kind !== "choice") return String(field.default);
  const at = choices.indexOf(field.default);
  return at < 0 ? undefined : String(at);
}

/** Values as typed; a choice is the index of its value, so that numbers and texts stay apart. */
export type Typed = Record<string, string | boolean>;

/**
 * The answer, or what is wrong by field. Empty optional fields are left out; whether the values fit is the server's to
 * say.
 */
export function toAnswer(fields: FormField[], typed: Typed): { answer: JsonObject; faults: Record<string, string> } {
  const answer: JsonObject = {};
  const faults: Record<string, string> = {};
  for (const field of fields) {
    const value = typed[field.name];
    if (field.kind === "boolean") {
      if (field.required || value !== undefined) answer[field.name] = value === true;
      continue;
    }
    const text = String(value ?? "").trim();
    if (!text) {
      if (field.required) faults[field.name] = "Needed.";
      continue;
    }
    if (field.kind === "number") {
      const number = Number(text.replace(",", "."));
      if (Number.isFinite(number)) answer[field.name] = number;
      else faults[field.name] = "This is no number.";
    } else if (field.kind === "choice") answer[field.name] = field.choices[Number(text)] ?? null;
    else answer[field.name] = field.kind === "long" ? String(value) : text;
  }
  return { answer, faults };
}

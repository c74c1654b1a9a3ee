import type { JsonValue, Row, RowError } from "@portal/api-client";

/** The text in which a source value is edited. */
export function toText(value: JsonValue | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * The value an edited text stands for. Kept as text unless the original was a true number, truth value or structure
 * and the new text is one too; a decimal that came as text stays text, so no digit is lost.
 */
export function fromText(text: string, original: JsonValue | undefined, isNull: boolean): JsonValue {
  if (isNull) return null;
  if (typeof original === "boolean" && /^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (typeof original === "number" && text.trim() !== "" && String(Number(text)) === text.trim()) return Number(text);
  if (original !== null && typeof original === "object") {
    try {
      return JSON.parse(text) as JsonValue;
    } catch {
      return text;
    }
  }
  return text;
}

/** Source columns that take part in an error: the named field itself, else those whose names its message quotes. */
export function columnsOf(error: RowError, payload: Row): string[] {
  const columns = Object.keys(payload);
  if (error.field && columns.includes(error.field)) return [error.field];
  return columns.filter((column) => new RegExp(`(^|[^\\w])${escapeText(column)}([^\\w]|$)`).test(error.message));
}

function escapeText(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

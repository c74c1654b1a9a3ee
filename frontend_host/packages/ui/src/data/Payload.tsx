import type { JsonValue } from "@portal/api-client";

/** Text as it came; a read-only box, so that it scrolls and selects by keyboard too. */
export function Payload({ label, text }: { label: string; text: string }) {
  const rows = Math.min(24, Math.max(2, text.split("\n").length));
  return <textarea className="payload" aria-label={label} readOnly rows={rows} value={text} spellCheck={false} />;
}

/** A JSON value, indented. */
export function JsonPayload({ label, value }: { label: string; value: JsonValue | undefined }) {
  return <Payload label={label} text={JSON.stringify(value ?? null, null, 2)} />;
}

import type { Consumer } from "@portal/api-client";

const OWN_PREFIX = "com.analytics-portal.";

/** The portal's own types without their common beginning. */
export function shortType(type: string): string {
  return type.startsWith(OWN_PREFIX) ? type.slice(OWN_PREFIX.length) : type;
}

/** What a `datetime-local` box holds as an instant, or null when it is empty or no time. */
export function toInstant(local: string | null): string | null {
  if (!local) return null;
  const moment = new Date(local);
  return Number.isNaN(moment.getTime()) ? null : moment.toISOString();
}

/** Indented JSON; text that is none stays as it is. */
export function pretty(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    JSON.parse(value);
  } catch {
    return value;
  }
  return indent(value);
}

/** Indents JSON text without reading its numbers, so that none loses a digit. */
export function indent(text: string): string {
  let depth = 0;
  let quoted = false;
  let out = "";
  const line = () => `\n${"  ".repeat(depth)}`;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at]!;
    if (quoted) {
      out += letter;
      if (letter === "\\") {
        at += 1;
        out += text[at] ?? "";
      } else if (letter === '"') quoted = false;
    } else if (letter === '"') {
      quoted = true;
      out += letter;
    } else if (letter === "{" || letter === "[") {
      const closing = /^\s*[}\]]/.exec(text.slice(at + 1));
      if (closing) {
        out += letter + text[at + closing[0].length];
        at += closing[0].length;
      } else {
        depth += 1;
        out += letter + line();
      }
    } else if (letter === "}" || letter === "]") {
      depth -= 1;
      out += line() + letter;
    } else if (letter === ",") out += `,${line()}`;
    else if (letter === ":") out += ": ";
    else if (!/\s/.test(letter)) out += letter;
  }
  return out;
}

/** Types typed into one box, by commas, spaces or lines. */
export function toTypes(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** The state of a consumer that matters most: paused, failing, connected, or on its way. */
export function healthOf(row: Consumer): string {
  if (row.status !== "active") return row.status;
  if (row.failures > 0) return "failing";
  return row.connected_at ? "connected" : "connecting";
}

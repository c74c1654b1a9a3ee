import type { Capture } from "@portal/api-client";

/** What stands in the badge: trouble first, then what it does. */
export function stateOf(row: Pick<Capture, "status" | "phase" | "problem" | "alarm">): string {
  if (row.status !== "running") return row.status;
  if (row.problem) return "retrying";
  if (row.alarm !== "ok") return row.alarm;
  return row.phase === "streaming" ? "streaming" : "reading";
}

/** Where the first snapshot is. */
export function progressOf(row: Pick<Capture, "phase" | "with_snapshot" | "tables_read" | "tables">): string {
  if (!row.with_snapshot) return "Not wanted";
  if (row.phase === "new") return "Not begun";
  if (row.phase === "snapshot") return `Reading table ${row.tables_read + 1} of ${row.tables.length}`;
  return "All read";
}

const WAL_STATES: Record<string, string> = {
  reserved: "Reserved",
  extended: "Reserved beyond the server's usual size",
  unreserved: "No longer promised: the slot may be lost at the next checkpoint",
  lost: "Lost",
  missing: "There is no slot",
};

export function walState(status: string | undefined): string {
  return status === undefined ? "Not measured yet" : (WAL_STATES[status] ?? status);
}

/** Megabytes typed into a box, as bytes; null when it is no whole number above 0. */
export function toBytes(text: string): number | null {
  const count = Number(text.trim());
  return Number.isSafeInteger(count) && count > 0 ? count * 1_000_000 : null;
}

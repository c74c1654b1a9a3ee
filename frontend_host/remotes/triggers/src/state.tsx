import type { Trigger } from "@portal/api-client";
import { StatusBadge } from "@portal/ui";

/** Whether it fires, and what stands in its way. */
export function TriggerState({ row }: { row: Trigger }) {
  return (
    <span className="row gap-1 wrap">
      <StatusBadge status={row.status === "active" && row.last_error ? "failing" : row.status} />
      {row.flow_paused && <span className="badge warn">Flow paused</span>}
    </span>
  );
}

/** The schedule in words with its zone, or the types. */
export function describeWhen(row: Trigger): string {
  const days = row.calendar ? `, working days of ${row.calendar}` : "";
  return row.zone ? `${row.description} (${row.zone}${days})` : row.description;
}

export const KIND_LABELS: Record<Trigger["kind"], string> = { schedule: "Schedule", event: "Event", poll: "Poll" };

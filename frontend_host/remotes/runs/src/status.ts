import type { Run, RunStatus, Stage } from "@portal/api-client";

const ACTIVE: ReadonlySet<RunStatus> = new Set(["queued", "running", "waiting", "cancelling"]);
const STOPPABLE: ReadonlySet<RunStatus> = new Set(["queued", "running", "waiting"]);

/** Whether the run may still change by itself. */
export function isActive(status: RunStatus): boolean {
  return ACTIVE.has(status);
}

/** Whether the run can be cancelled. */
export function isStoppable(status: RunStatus): boolean {
  return STOPPABLE.has(status);
}

/** What kind of run it is, inside a sentence. */
export function describeKind(run: Pick<Run, "kind" | "mode">): string {
  if (run.kind === "process") return "process";
  return run.kind === "replay" ? "replay of quarantined rows" : `${run.mode} load`;
}

/** What the parked steps wait for, in their own words. */
export function describeWaits(stages: readonly Pick<Stage, "name" | "status" | "detail">[]): string {
  const parked = stages.filter((stage) => stage.status === "parked");
  if (!parked.length) return "The next attempt at a step begins later.";
  return parked
    .map(({ name, detail }) => (typeof detail === "string" && detail ? `${name}: ${detail}` : `${name}.`))
    .join(" ");
}

import type { Effect, EffectVerdict, Run, RunStatus, Stage } from "@portal/api-client";

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

/** Whether the run can be done again from one of its steps. */
export function isRestartable(run: Pick<Run, "kind" | "status" | "compensation">): boolean {
  const undone = !run.compensation || run.compensation.status === "done";
  return run.kind === "process" && !isActive(run.status) && undone;
}

/** What an effect is, in a few words: what was done to what, and what they call it there. */
export function describeEffect(effect: Pick<Effect, "operation" | "target" | "business_key" | "summary">): string {
  const rows = typeof effect.summary.rows === "number" ? effect.summary.rows : null;
  const count = rows === null ? "" : `, ${rows} ${rows === 1 ? "row" : "rows"}`;
  const key = effect.business_key ? ` (${effect.business_key})` : "";
  return `${effect.operation} ${effect.target}${key}${count}`;
}

/** What becomes of a known effect when its step is done again; a wish for once more wins. */
export function describeVerdict(verdict: EffectVerdict, again: boolean): string {
  if (again) return "Happens once more";
  return {
    repeated: "Happens again",
    deduplicated: "Does not happen twice",
    asked: "Somebody will be asked",
    at_run_time: "Known only when it runs",
  }[verdict];
}

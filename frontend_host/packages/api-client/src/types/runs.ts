import type { Connection } from "./connections";
import type { RowError } from "./flows";
import type { JsonObject, JsonValue, Row } from "./json";

export const RUN_STATUSES = ["queued", "running", "waiting", "cancelling", "succeeded", "failed", "cancelled"] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

export const STEP_STATUSES = [
  "waiting",
  "ready",
  "running",
  "parked",
  "succeeded",
  "failed",
  "cancelled",
  "skipped",
] as const;
export type StepStatus = (typeof STEP_STATUSES)[number];

export interface Stage {
  /** Of the step, whose data is read with `runs.step`. */
  id: string;
  path: string;
  name: string;
  kind: string;
  status: StepStatus;
  attempt: number;
  started_at: string | null;
  ended_at: string | null;
  rows: number | null;
  bytes: number | null;
  rows_per_s: number | null;
  detail: string | null | Record<string, unknown>;
  /** Kept from the run that was restarted. */
  inherited: boolean;
}

export const EFFECT_OUTCOMES = ["sent", "confirmed", "refused", "unknown"] as const;
export type EffectOutcome = (typeof EFFECT_OUTCOMES)[number];
export type EffectDecision = "happened" | "send_again" | "fail";

/** What one attempt at a step has done, or may have done, to another system. */
export interface Effect {
  id: string;
  path: string;
  attempt: number;
  operation: string;
  target: string;
  business_key: string;
  summary: Record<string, unknown>;
  repeatable: boolean;
  outcome: EffectOutcome;
  external_reference: string;
  /** The run that had it before, where this one did not send it. */
  repeats_run: string | null;
  sent_at: string | null;
  confirmed_at: string | null;
  undone_at: string | null;
  decision: { decision: EffectDecision; by: string; at: string; note: string } | null;
}

export type EffectVerdict = "repeated" | "deduplicated" | "asked" | "at_run_time";

/** What a restart from a step would do; `hash` goes back with it. */
export interface RestartPreview {
  path: string;
  parameters: JsonObject;
  kept: number;
  redone: number;
  effects: { effect: Effect; name: string; verdict: EffectVerdict; reason: string }[];
  more: number;
  hash: string;
}

export interface RestartRequest {
  path: string;
  parameters?: JsonObject;
}

/** How far a run that ended badly has undone its completed steps. */
export interface Compensation {
  status: "running" | "done" | "failed";
  steps: string[];
  remaining: string[];
  problem?: { code: string; message: string };
}

/** One expression of a step and what it came to. */
export interface StepInput {
  place: string;
  expression: string;
  value: JsonValue;
  problem: string | null;
}

/** One attempt at a step. */
export interface StepAttempt {
  id: string;
  attempt: number;
  status: StepStatus;
  detail: string;
  deliveries: number;
  error: { code?: string; message?: string } | null;
  started_at: string | null;
  ended_at: string | null;
}

/** What one execution of a step was given and left. */
export interface StepDetail {
  id: string;
  path: string;
  attempt: number;
  inputs: StepInput[];
  output: JsonValue;
  error: { code?: string; message?: string } | null;
  deliveries: number;
}

export interface Control {
  name: string;
  source: string | null;
  target: string | null;
  quarantined: string | null;
  difference: string | null;
  tolerance: string | null;
  ok: boolean;
}

export interface Reconciliation {
  id?: string;
  status: "green" | "amber" | "red" | "signed";
  source?: { count?: number | string; totals?: Record<string, string> };
  target?: { count?: number | string; totals?: Record<string, string> };
  controls?: Control[];
  breaks?: Break[];
  breaks_total?: number;
  quarantined?: number;
  reasons?: string[];
  signed_by?: string | { name: string } | null;
  signed_at?: string | null;
  comment?: string | null;
}

/** One key on which the two sides disagree. */
export interface Break {
  key: Record<string, string>;
  kind: string;
  control: string | null;
  source: string | null;
  target: string | null;
}

export interface Run {
  id: string;
  flow: { id: string; name: string };
  version: number | string | null;
  environment: string;
  kind: "load" | "replay" | "process";
  mode: string;
  trigger: string;
  status: RunStatus;
  progress: {
    rows_read: number;
    rows_accepted: number;
    rows_quarantined: number;
    rows_written: number;
    bytes: number;
    rows_per_s: number | null;
    estimate_rows: number | null;
    share: number | null;
  };
  /** Left out of lists. */
  stages?: Stage[];
  /** The run that this one does again from a step, `restarted_path`. */
  restarted_from: string | null;
  restarted_path?: string;
  /** Left out of lists: what a process was given and what it left. */
  parameters?: JsonObject;
  result?: JsonValue;
  compensation?: Compensation | null;
  /** Left out of lists. */
  reconciliation?: Reconciliation | null;
  queue_reason?: string | null;
  write: { inserted: number; updated: number; deleted: number; unchanged: number } | null;
  error: { code: string; message: string; remedy: string | null } | null;
  requested_by: string | { name: string } | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  duration_ms: number | null;
  /** When it must be finished, and when it was seen to be late. */
  sla_due_at: string | null;
  sla_missed_at: string | null;
}

export interface LogLine {
  seq: number;
  at: string;
  level: string;
  message: string;
  facts?: Record<string, unknown> | null;
}

export interface QuarantinedRow {
  id: string;
  run_id: string;
  flow_id: string;
  row_id: string | number;
  source_position?: unknown;
  payload: Row;
  errors: RowError[];
  status: "open" | "corrected" | "replayed" | "discarded";
  corrected: Row | null;
  replay_run_id: string | null;
  note: string | null;
  decided_by: { id: string | null; name: string } | null;
  decided_at: string | null;
  created_at: string;
}

export interface QuarantineSummary {
  by_rule: { rule: string; count: number }[];
  by_status: Record<string, number>;
  total: number;
}

/** A run as short as a row of the overview. */
export type RecentRun = Pick<
  Run,
  "id" | "flow" | "environment" | "mode" | "status" | "created_at" | "started_at" | "ended_at" | "duration_ms"
> & { progress: Pick<Run["progress"], "rows_read" | "rows_accepted" | "rows_quarantined" | "rows_written"> };

export type FailingConnection = Pick<Connection, "id" | "name" | "connector" | "last_check" | "last_checked_at">;

export interface Overview {
  counts: { flows: number; connections: number; runs_24h: number; failed_24h: number; quarantine_open: number };
  recent_runs: RecentRun[];
  failing_connections: FailingConnection[];
}

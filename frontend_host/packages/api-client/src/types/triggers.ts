import type { JsonObject } from "./json";

/** What starts runs by itself. */

export type TriggerKind = "schedule" | "event" | "poll";
export type CatchUp = "skip" | "once" | "all";

/** What a poll reads, and what becomes of new rows. */
export interface Poll {
  /** Slot that the environment binds to a connection. */
  connection: string;
  entity: string;
  query: string;
  cursor: string;
  start: string;
  batch_rows: number;
  /** Empty: each batch starts a run. */
  event_type: string;
}

interface WhyNot {
  code: string;
  message: string;
  remedy: string | null;
}

export interface Trigger {
  id: string;
  flow: { id: string; name: string };
  flow_paused: boolean;
  environment: string;
  name: string;
  kind: TriggerKind;
  status: "active" | "paused";
  status_reason: string;
  /** The schedule or the types as a sentence. */
  description: string;
  cron: string;
  zone: string;
  calendar: string;
  catch_up: CatchUp;
  catch_up_limit: number;
  every_s: number | null;
  poll: Poll | null;
  poll_state: { polled_at: string | null; position: string | null; failures: number } | null;
  types: string[];
  filter: string;
  parameters: JsonObject;
  /** Input name to expression. */
  mapping: Record<string, string>;
  next_due_at: string | null;
  last_fired_at: string | null;
  last_run: string | null;
  last_error: WhyNot | null;
  created_by_name: string;
  created_at: string;
  updated_at: string;
}

/** Settings of one kind; those of another kind are refused. */
export interface TriggerSettings {
  name: string;
  parameters: JsonObject;
  mapping: Record<string, string>;
  cron?: string;
  zone?: string;
  calendar?: string;
  catch_up?: CatchUp;
  catch_up_limit?: number;
  every_s?: number | null;
  poll?: Poll;
  types?: string[];
  filter?: string;
}

export type TriggerInput = TriggerSettings & { flow: string; environment: string; kind: TriggerKind };

/** What would be refused, and when it would fire. */
export interface TriggerCheck {
  problems: { path: string; code: string; message: string; hint?: string | null }[];
  description: string;
  moments: string[];
}

export interface Firing {
  id: string;
  due_at: string;
  event_id: string | null;
  /** Look and batch of a poll. */
  dedupe_key: string;
  rows: number;
  status: "pending" | "started" | "published" | "skipped" | "failed";
  run: string | null;
  parameters: JsonObject;
  /** How many missed moments this one stands for. */
  missed: number;
  error: WhyNot | null;
  attempts: number;
  next_attempt_at: string | null;
  created_at: string;
}

export interface Calendar {
  slug: string;
  name: string;
  zone: string;
}

import type { JsonObject, JsonSchema, JsonValue, Row } from "./json";

export interface SecretField {
  name: string;
  title?: string;
  description?: string;
  required?: boolean;
}

export interface Connector {
  id: string;
  name: string;
  version: string;
  type: string;
  description: string;
  icon: string;
  supported_operations: string[];
  authentication: unknown;
  configuration: JsonSchema & { secrets?: SecretField[] };
  secrets?: SecretField[];
  capabilities: Record<string, JsonValue>;
}

export interface CheckStep {
  name: string;
  ok: boolean;
  message: string;
  duration_ms?: number | null;
}

export interface CheckResult {
  ok: boolean;
  code?: string | null;
  message: string;
  remedy?: string | null;
  steps: CheckStep[];
}

/** Whether the system is called: closed = yes, open = not before `next_probe_at`, half_open = one call asks it. */
export interface Circuit {
  state: "closed" | "open" | "half_open";
  enabled: boolean;
  threshold: number;
  pause_s: number;
  longest_pause_s: number;
  failures: number;
  opened_at: string | null;
  next_probe_at: string | null;
  last_failure: { code: string; message: string; remedy: string } | null;
  last_failure_at: string | null;
}

export type CircuitChange = Partial<Pick<Circuit, "enabled" | "threshold" | "pause_s" | "longest_pause_s">>;

export interface Connection {
  id: string;
  name: string;
  slug: string;
  connector: string;
  config: JsonObject;
  secrets_set: string[];
  status: "new" | "ok" | "failing";
  last_check: CheckResult | null;
  last_checked_at: string | null;
  circuit: Circuit;
  archived_at?: string | null;
  builtin: boolean;
  created_at: string;
  updated_at: string;
}

export interface ConnectionInput {
  name?: string;
  connector?: string;
  config?: JsonObject;
  secrets?: Record<string, string | null>;
}

export interface EntityRef {
  name: string;
  label: string;
  kind: string;
  row_estimate: number | null;
}

export interface EntityField {
  name: string;
  type: string;
  native_type?: string;
  nullable: boolean;
  primary_key?: boolean;
  position?: number;
}

export interface EntitySchema {
  name: string;
  fields: EntityField[];
  keys: string[];
  cursor_candidates: string[];
}

export interface Sample {
  fields: { name: string; type: string }[];
  rows: Row[];
}

export interface Upload {
  path: string;
  size_bytes: number;
  entity: string;
  uploaded_at: string;
}

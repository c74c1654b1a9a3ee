/** Shapes of REST v2 as the pages use them. Amounts and totals are decimal strings and are never parsed to numbers. */

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };
export type Row = Record<string, JsonValue>;

export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: JsonValue;
  enum?: JsonValue[];
  const?: JsonValue;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
  examples?: JsonValue[];
  additionalProperties?: boolean | JsonSchema;
  "x-secret"?: boolean;
  "x-enum-labels"?: Record<string, string>;
  "x-placeholder"?: string;
}

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

export interface FlowVersion {
  number: number;
  content_hash: string;
  note?: string;
  published_by?: string | { name: string } | null;
  published_at: string;
  definition?: JsonObject;
}

export interface Deployment {
  environment: string;
  version: number;
  status?: string;
  deployed_at: string;
  deployed_by?: string | { name: string } | null;
}

export interface Flow {
  id: string;
  name: string;
  slug: string;
  description: string;
  kind: string;
  source: { connection: string; entity: string } | null;
  target: { connection: string; entity: string } | null;
  /** Left out of lists. */
  draft: JsonObject;
  draft_revision: number;
  draft_problems_count: number;
  latest_version: FlowVersion | null;
  deployments: Deployment[];
  last_run: { id: string; status: RunStatus; ended_at: string | null } | null;
  created_at: string;
  updated_at: string;
}

export interface DefinitionProblem {
  path: string;
  code: string;
  message: string;
  severity: "error" | "warning";
  start?: number | null;
  end?: number | null;
  hint?: string | null;
}

export interface Validation {
  valid: boolean;
  problems: DefinitionProblem[];
  fields: { target: string; type: string; columns: string[]; expression_type: string | null; nullable: boolean }[];
  source_known: "live" | "cached" | "contract" | "unknown";
  source_fields: Column[];
}

export interface RowError {
  rule: string | null;
  field: string | null;
  code: string;
  message: string;
}

export interface Preview {
  source_fields: { name: string; type: string }[];
  target_fields: { name: string; type: string }[];
  rows: { source: Row; target: Row; accepted: boolean; filtered: boolean; errors: RowError[]; warnings: string[] }[];
  problems: DefinitionProblem[];
}

export interface Suggestion {
  target: string;
  type: string;
  expression: string;
  nullable: boolean;
  confidence: number | string;
  reason: string;
}

export interface Suggestions {
  fields: Suggestion[];
  keys: string[];
  cursor: string | null;
}

export interface ExpressionCheck {
  ok: boolean;
  type: string | null;
  nullable: boolean | null;
  columns: string[];
  problems: {
    message: string;
    code: string;
    severity: "error" | "warning";
    start: number;
    end: number;
    hint?: string | null;
  }[];
}

export interface Column {
  name: string;
  type: string;
  nullable: boolean;
}

export interface ExpressionFunction {
  name: string;
  category: string;
  signature: string;
  description: string;
  example: string;
  result: string;
}

export interface Environment {
  slug: string;
  name: string;
  description: string;
  position: number;
  protected: boolean;
}

export interface Variables {
  variables: Variable[];
}

export interface Variable {
  name: string;
  value: string | null;
  secret: boolean;
}

export type RunStatus = "queued" | "running" | "cancelling" | "succeeded" | "failed" | "cancelled";

export interface Stage {
  path: string;
  name: string;
  kind: string;
  status: string;
  attempt: number;
  started_at: string | null;
  ended_at: string | null;
  rows: number | null;
  bytes: number | null;
  rows_per_s: number | null;
  detail: string | null | Record<string, unknown>;
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
  kind: "load" | "replay";
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

export interface Role {
  slug: string;
  name: string;
  description: string;
  builtin: boolean;
  permissions: string[];
}

export interface Member {
  id: string;
  email: string;
  name: string;
  roles: string[];
  is_active: boolean;
  mfa_enabled: boolean;
  last_login: string | null;
  created_at: string;
}

export interface Invitation {
  id: string;
  email: string;
  roles: string[];
  status: "open" | "accepted" | "revoked" | "expired";
  invited_by: string;
  expires_at: string;
  sent_at: string | null;
  created_at: string;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  scopes: string[];
  status: "active" | "revoked" | "expired";
  created_by: string;
  expires_at: string | null;
  last_used_at: string | null;
  revoked_at: string | null;
  created_at: string;
  key?: string;
}

export interface AuditEntry {
  id: string;
  number: number;
  at: string;
  actor: { kind: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string };
  summary: string;
  facts: Record<string, unknown> | null;
}

export interface Permission {
  code: string;
  description: string;
}

export interface Me {
  user: {
    id: string;
    email: string;
    name: string;
    timezone: string;
    locale: string;
    theme: "system" | "light" | "dark";
  };
  tenant: { id: string; slug: string; name: string };
  permissions: string[];
  roles: string[];
}

export interface Overview {
  counts: { flows: number; connections: number; runs_24h: number; failed_24h: number; quarantine_open: number };
  recent_runs: Run[];
  failing_connections: Connection[];
}

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

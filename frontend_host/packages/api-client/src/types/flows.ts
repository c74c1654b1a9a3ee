import type { JsonObject, Row } from "./json";
import type { RunStatus } from "./runs";

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
  /** Nothing starts a run of a paused flow. */
  paused_at?: string | null;
  pause_reason?: string;
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

/** When runs must be finished in an environment. */
export interface Sla {
  environment: string;
  within_s: number | null;
  /** Local time of the zone, on the days: 1 = Monday. */
  by: string | null;
  zone: string;
  days: number[];
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

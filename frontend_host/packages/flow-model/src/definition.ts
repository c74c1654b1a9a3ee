/** The `flow/1` document, kind `load`: source → map → target. Plain data; all changes are made by pure functions. */

export type Severity = "quarantine" | "warn" | "fail" | (string & {});
export type Disposition = "append" | "upsert" | "replace" | "scd2";
export type LoadMode = "full" | "incremental" | "partitioned";

export interface MappedField {
  target: string;
  type: string;
  expression: string;
  nullable: boolean;
  description: string;
}

export interface ValidationRule {
  id: string;
  expression: string;
  message: string;
  field: string | null;
  severity: Severity;
}

export interface ControlDefinition {
  name: string;
  source: string;
  target: string;
  aggregate: string;
  tolerance: string;
}

export interface EndpointConfig {
  connection: string;
  entity: string;
}

export interface TargetConfig extends EndpointConfig {
  disposition: Disposition;
  keys: string[];
}

export interface LoadSettings {
  mode: LoadMode;
  cursor: string | null;
  lookback_s: number;
  late_commit_guard: boolean;
  partitions: number;
  partition_column: string | null;
  allow_empty: boolean;
}

export interface DataContract {
  new_column: string;
  missing_column: string;
  type_change: string;
  fields: { name: string; type: string }[];
}

export interface FlowDefinition {
  schema: "flow/1";
  kind: "load";
  source: EndpointConfig;
  fields: MappedField[];
  filter: string | null;
  validations: ValidationRule[];
  target: TargetConfig;
  load: LoadSettings;
  contract: DataContract;
  reconciliation: { controls: ControlDefinition[]; count_tolerance: number };
  limits: { max_reject_share: number | null };
  variables: Record<string, unknown>;
}

type Json = Record<string, unknown>;

const record = (value: unknown): Json =>
  value && typeof value === "object" && !Array.isArray(value) ? (value as Json) : {};
const list = (value: unknown): Json[] => (Array.isArray(value) ? (value as Json[]) : []);
const text = (value: unknown, fallback = ""): string => (typeof value === "string" ? value : fallback);

/** Reads a stored document; absent parts get their defaults, so half-written drafts open too. */
export function fromJson(document: unknown): FlowDefinition {
  const root = record(document);
  const nodes = list(root.nodes);
  const config = (kind: string): Json => record(nodes.find((node) => node.kind === kind)?.config);
  const [source, map, target] = [config("source"), config("map"), config("target")];
  const load = record(root.load);
  const contract = record(root.contract);
  const reconciliation = record(root.reconciliation);
  return {
    schema: "flow/1",
    kind: "load",
    source: { connection: text(source.connection), entity: text(source.entity) },
    fields: list(map.fields).map((field) => ({
      target: text(field.target),
      type: text(field.type, "VARCHAR"),
      expression: text(field.expression),
      nullable: field.nullable !== false,
      description: text(field.description),
    })),
    filter: typeof map.filter === "string" ? map.filter : null,
    validations: list(map.validations).map((rule, at) => ({
      id: text(rule.id, `rule_${at + 1}`),
      expression: text(rule.expression),
      message: text(rule.message),
      field: typeof rule.field === "string" ? rule.field : null,
      severity: text(rule.severity, "quarantine"),
    })),
    target: {
      connection: text(target.connection, "warehouse"),
      entity: text(target.entity),
      disposition: text(target.disposition, "append") as Disposition,
      keys: Array.isArray(target.keys) ? (target.keys as string[]) : [],
    },
    load: {
      mode: text(load.mode, "full") as LoadMode,
      cursor: typeof load.cursor === "string" ? load.cursor : null,
      lookback_s: Number(load.lookback_s ?? 0),
      late_commit_guard: load.late_commit_guard !== false,
      partitions: Number(load.partitions ?? 1),
      partition_column: typeof load.partition_column === "string" ? load.partition_column : null,
      allow_empty: load.allow_empty === true,
    },
    contract: {
      new_column: text(contract.new_column, "ignore"),
      missing_column: text(contract.missing_column, "freeze"),
      type_change: text(contract.type_change, "freeze"),
      fields: list(contract.fields).map((field) => ({ name: text(field.name), type: text(field.type) })),
    },
    reconciliation: {
      controls: list(reconciliation.controls).map((control) => ({
        name: text(control.name),
        source: text(control.source),
        target: text(control.target),
        aggregate: text(control.aggregate, "sum"),
        tolerance: text(control.tolerance, "0"),
      })),
      count_tolerance: Number(reconciliation.count_tolerance ?? 0),
    },
    limits: { max_reject_share: (record(root.limits).max_reject_share as number | null | undefined) ?? null },
    variables: record(root.variables),
  };
}

/** The stored document of a definition: the three nodes, their edges and the settings. */
export function toJson(flow: FlowDefinition): Json {
  return {
    schema: flow.schema,
    kind: flow.kind,
    nodes: [
      { id: "source", kind: "source", config: { ...flow.source } },
      {
        id: "map",
        kind: "map",
        config: {
          fields: flow.fields,
          filter: flow.filter?.trim() ? flow.filter : null,
          validations: flow.validations,
        },
      },
      { id: "target", kind: "target", config: { ...flow.target } },
    ],
    edges: [
      { from: "source", to: "map" },
      { from: "map", to: "target" },
    ],
    load: flow.load,
    contract: flow.contract,
    reconciliation: flow.reconciliation,
    limits: flow.limits,
    variables: flow.variables,
  };
}

/** A fresh definition from one entity to another. */
export function createDefinition(source: EndpointConfig, target: EndpointConfig): FlowDefinition {
  return fromJson({
    nodes: [
      { kind: "source", config: source },
      { kind: "target", config: { ...target, disposition: "append", keys: [] } },
    ],
  });
}

import type { ControlDefinition, FlowDefinition, MappedField, ValidationRule } from "./definition";

/** Pure edits of a definition. Each returns a new definition and leaves the old one alone. */

export function updateField(flow: FlowDefinition, at: number, change: Partial<MappedField>): FlowDefinition {
  const before = flow.fields[at];
  if (!before) return flow;
  const fields = flow.fields.with(at, { ...before, ...change });
  // A renamed target stays a key, and rules and controls that name it follow.
  if (change.target === undefined || change.target === before.target) return { ...flow, fields };
  const rename = (name: string): string => (name === before.target ? (change.target as string) : name);
  return {
    ...flow,
    fields,
    target: { ...flow.target, keys: flow.target.keys.map(rename) },
    validations: flow.validations.map((rule) => (rule.field ? { ...rule, field: rename(rule.field) } : rule)),
    reconciliation: {
      ...flow.reconciliation,
      controls: flow.reconciliation.controls.map((control) => ({ ...control, target: rename(control.target) })),
    },
  };
}

export function insertField(
  flow: FlowDefinition,
  field: Partial<MappedField>,
  at = flow.fields.length,
): FlowDefinition {
  const complete: MappedField = {
    target:
      field.target ??
      freshName(
        flow.fields.map((one) => one.target),
        "field",
      ),
    type: field.type ?? "VARCHAR",
    expression: field.expression ?? "",
    nullable: field.nullable ?? true,
    description: field.description ?? "",
  };
  return { ...flow, fields: flow.fields.toSpliced(at, 0, complete) };
}

export function removeField(flow: FlowDefinition, at: number): FlowDefinition {
  const name = flow.fields[at]?.target;
  return {
    ...flow,
    fields: flow.fields.toSpliced(at, 1),
    target: { ...flow.target, keys: flow.target.keys.filter((key) => key !== name) },
  };
}

export function moveField(flow: FlowDefinition, from: number, to: number): FlowDefinition {
  const field = flow.fields[from];
  if (!field || to < 0 || to >= flow.fields.length) return flow;
  return { ...flow, fields: flow.fields.toSpliced(from, 1).toSpliced(to, 0, field) };
}

/** Makes a target a key, or not; a key may not be null. */
export function toggleKey(flow: FlowDefinition, at: number): FlowDefinition {
  const field = flow.fields[at];
  if (!field) return flow;
  const isKey = flow.target.keys.includes(field.target);
  const keys = isKey ? flow.target.keys.filter((key) => key !== field.target) : [...flow.target.keys, field.target];
  const fields = isKey ? flow.fields : flow.fields.with(at, { ...field, nullable: false });
  return { ...flow, fields, target: { ...flow.target, keys } };
}

export interface SuggestedField {
  target: string;
  type: string;
  expression: string;
  nullable: boolean;
}

/** Takes suggestions in: fills the row of the same target, or adds one. Written expressions are kept. */
export function acceptSuggestions(flow: FlowDefinition, suggestions: readonly SuggestedField[]): FlowDefinition {
  let next = flow;
  for (const { target, type, expression, nullable } of suggestions) {
    const at = next.fields.findIndex((field) => field.target === target);
    if (at < 0) next = insertField(next, { target, type, expression, nullable });
    else if (!next.fields[at]!.expression.trim()) next = updateField(next, at, { type, expression, nullable });
  }
  return next;
}

export function updateRule(flow: FlowDefinition, at: number, change: Partial<ValidationRule>): FlowDefinition {
  const rule = flow.validations[at];
  return rule ? { ...flow, validations: flow.validations.with(at, { ...rule, ...change }) } : flow;
}

export function addRule(flow: FlowDefinition): FlowDefinition {
  const id = freshName(
    flow.validations.map((rule) => rule.id),
    "rule",
  );
  const rule: ValidationRule = { id, expression: "", message: "", field: null, severity: "quarantine" };
  return { ...flow, validations: [...flow.validations, rule] };
}

export function removeRule(flow: FlowDefinition, at: number): FlowDefinition {
  return { ...flow, validations: flow.validations.toSpliced(at, 1) };
}

export function updateControl(flow: FlowDefinition, at: number, change: Partial<ControlDefinition>): FlowDefinition {
  const control = flow.reconciliation.controls[at];
  if (!control) return flow;
  const controls = flow.reconciliation.controls.with(at, { ...control, ...change });
  return { ...flow, reconciliation: { ...flow.reconciliation, controls } };
}

/** `stem`, or `stem_2`, `stem_3` … when it is taken. */
export function freshName(taken: readonly string[], stem: string): string {
  if (!taken.includes(stem)) return stem;
  let number = 2;
  while (taken.includes(`${stem}_${number}`)) number += 1;
  return `${stem}_${number}`;
}

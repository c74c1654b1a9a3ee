import type { FlowDefinition } from "./definition";

/** A finding of the server about a definition. */
export interface Finding {
  path: string;
  code: string;
  message: string;
  severity?: "error" | "warning";
  start?: number | null;
  end?: number | null;
  hint?: string | null;
}

export type ProblemPlace =
  | { area: "field"; index: number; part: string }
  | { area: "validation"; index: number; part: string }
  | { area: "control"; index: number; part: string }
  | { area: "filter" }
  | { area: "source" }
  | { area: "target" }
  | { area: "load"; part: string }
  | { area: "contract" }
  | { area: "flow" };

export interface PlacedProblem {
  place: ProblemPlace;
  label: string;
  message: string;
  code: string;
  severity: "error" | "warning";
  start: number | null;
  end: number | null;
  hint: string | null;
}

/** `nodes/map/config/fields/3/expression`, `nodes[1].config.fields[3].expression` and the JSON pointer all split alike. */
function segments(path: string): string[] {
  return path.split(/[./[\]#]+/).filter(Boolean);
}

function indexOf(names: readonly string[], segment: string | undefined): number {
  if (segment === undefined) return -1;
  return /^\d+$/.test(segment) ? Number(segment) : names.indexOf(segment);
}

/** Finds what a problem's path speaks of. */
export function placeOf(path: string, flow: FlowDefinition): ProblemPlace {
  // Services say `draft.` or `definition.` before the path, depending on what was checked.
  const parts = segments(path).filter((part, at) => at > 0 || !/^(draft|definition|\$)$/.test(part));
  const after = (name: string): string[] | null => {
    const at = parts.lastIndexOf(name);
    return at < 0 ? null : parts.slice(at + 1);
  };
  if (parts[0] === "contract") return { area: "contract" };
  if (parts[0] === "load") return { area: "load", part: parts[1] ?? "" };
  const controls = after("controls");
  if (controls) {
    const index = indexOf(
      flow.reconciliation.controls.map((one) => one.name),
      controls[0],
    );
    return index < 0 ? { area: "flow" } : { area: "control", index, part: controls[1] ?? "" };
  }
  const validations = after("validations");
  if (validations) {
    const index = indexOf(
      flow.validations.map((one) => one.id),
      validations[0],
    );
    if (index >= 0) return { area: "validation", index, part: validations[1] ?? "expression" };
  }
  const fields = after("fields");
  if (fields) {
    const index = indexOf(
      flow.fields.map((one) => one.target),
      fields[0],
    );
    if (index >= 0) return { area: "field", index, part: fields[1] ?? "expression" };
  }
  if (parts.includes("filter")) return { area: "filter" };
  // Node paths name the node by id or by its place in the fixed order source, map, target.
  const node = parts[0] === "nodes" ? parts[1] : parts[0];
  if (node === "source" || node === "0") return { area: "source" };
  if (node === "target" || node === "2") return { area: "target" };
  return { area: "flow" };
}

function labelOf(place: ProblemPlace, flow: FlowDefinition): string {
  switch (place.area) {
    case "field":
      return flow.fields[place.index]?.target || `Row ${place.index + 1}`;
    case "validation":
      return `Rule ${flow.validations[place.index]?.id ?? place.index + 1}`;
    case "control":
      return `Control ${flow.reconciliation.controls[place.index]?.name ?? place.index + 1}`;
    case "filter":
      return "Filter";
    case "source":
      return "Source";
    case "target":
      return "Target";
    case "load":
      return "Load settings";
    case "contract":
      return "Contract";
    case "flow":
      return "Flow";
  }
}

/** Findings with their place in the editor, errors first. */
export function placeProblems(findings: readonly Finding[], flow: FlowDefinition): PlacedProblem[] {
  return findings
    .map((finding) => {
      const place = placeOf(finding.path, flow);
      return {
        place,
        label: labelOf(place, flow),
        message: finding.message,
        code: finding.code,
        severity: finding.severity ?? "error",
        start: finding.start ?? null,
        end: finding.end ?? null,
        hint: finding.hint ?? null,
      } satisfies PlacedProblem;
    })
    .sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
}

/** What can be said without the server: empty and doubled targets, keys that are not mapped. */
export function findLocalProblems(flow: FlowDefinition): Finding[] {
  const findings: Finding[] = [];
  const seen = new Map<string, number>();
  flow.fields.forEach((field, index) => {
    const name = field.target.trim().toLowerCase();
    const path = `nodes.map.config.fields.${index}.target`;
    if (!name) findings.push({ path, code: "local.target_missing", message: "Give the target field a name." });
    else if (seen.has(name))
      findings.push({ path, code: "local.target_doubled", message: `“${field.target}” is mapped twice.` });
    seen.set(name, index);
  });
  return findings;
}

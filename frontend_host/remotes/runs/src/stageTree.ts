import type { Stage } from "@portal/api-client";

/** A step with what happened inside it, or a group of steps: an iteration, a case, a branch, an error route. */
export interface StageNode {
  key: string;
  /** What a group is called; a step has its own name. */
  label: string;
  stage: Stage | null;
  children: StageNode[];
  /** Steps in and below, and how many of them failed or are at work. */
  steps: number;
  failed: number;
  active: number;
}

const UNDO = "compensate/";
const ACTIVE: ReadonlySet<string> = new Set(["running", "parked", "ready"]);

/**
 * The steps of a process as a tree. `loop[3]/post` lies in the fourth iteration of `loop`, `check:paid/post` in the case
 * `paid` of `check`, `post:error/tell` in the error route of `post`. What undoes completed steps is a group of its own.
 * The closing row of a step with steps inside (`loop.end`) is shown only when it did not end well.
 */
export function buildTree(stages: readonly Stage[]): StageNode[] {
  const roots: StageNode[] = [];
  const nodes = new Map<string, StageNode>();
  const add = (key: string, label: string, parent: string | null): StageNode => {
    const known = nodes.get(key);
    if (known) return known;
    const node = { key, label, stage: null, children: [], steps: 0, failed: 0, active: 0 };
    nodes.set(key, node);
    (parent === null ? roots : nodes.get(parent)!.children).push(node);
    return node;
  };
  for (const stage of stages) {
    const ended = stage.status === "succeeded" || stage.status === "skipped";
    if (stage.path.endsWith(".end") && ended) continue;
    const above = ancestorsOf(stage.path);
    let parent: string | null = null;
    for (const [key, label] of above) {
      add(key, label, parent);
      parent = key;
    }
    const node = add(stage.path, stage.name, parent);
    node.stage = stage;
    node.label = stage.name;
    for (const key of [stage.path, ...above.map(([name]) => name)]) {
      const counted = nodes.get(key)!;
      counted.steps += 1;
      counted.failed += stage.status === "failed" ? 1 : 0;
      counted.active += ACTIVE.has(stage.status) ? 1 : 0;
    }
  }
  return roots;
}

/** Keys and labels of what a step lies in, outermost first. */
function ancestorsOf(path: string): [key: string, label: string][] {
  const found: [string, string][] = [];
  const undoing = path.startsWith(UNDO);
  let prefix = "";
  if (undoing) {
    found.push([UNDO, "Undoing"]);
    prefix = UNDO;
  }
  const segments = path.slice(prefix.length).split("/");
  const own = segments.pop()!;
  if (undoing && segments.length) {
    // What is undone is named whole: its iterations and branches say which one it was.
    found.push([`${prefix}${segments.join("/")}`, segments.join("/")]);
    return found;
  }
  for (const segment of segments) {
    const [, id, group] = /^([^[:.]+)(.*)$/.exec(segment)!;
    found.push([prefix + id, id!]);
    if (group) found.push([prefix + segment, groupLabel(group)]);
    prefix += `${segment}/`;
  }
  const inside = /^([^[:.]+)(\[|\.end)/.exec(own);
  if (inside) found.push([prefix + inside[1], inside[1]!]);
  return found;
}

function groupLabel(group: string): string {
  const round = /^\[(\d+)\]$/.exec(group);
  if (round) return `No. ${Number(round[1]) + 1}`;
  return group === ":error" ? "Error route" : group.slice(1);
}

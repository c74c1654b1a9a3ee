import type { Stage } from "@portal/api-client";
import { describe, expect, it } from "vitest";
import { buildTree, type StageNode } from "../src/stageTree";

const stage = (path: string, status: Stage["status"] = "succeeded"): Stage =>
  ({ id: path, path, name: path.toUpperCase(), kind: "process.transform", status, attempt: 1 }) as Stage;

const drawn = (nodes: StageNode[], depth = 0): string[] =>
  nodes.flatMap((node) => [`${"  ".repeat(depth)}${node.label}`, ...drawn(node.children, depth + 1)]);

describe("the tree of a process", () => {
  it("puts iterations, cases and error routes where they happened", () => {
    const paths = [
      "begin",
      "loop",
      "loop[0]/post",
      "loop[0]/check",
      "loop[0]/check:paid/tell",
      "loop[0]/check.end",
      "loop[1]/post",
      "loop.end",
      "send",
      "send:error/tell",
    ];
    expect(drawn(buildTree(paths.map((path) => stage(path))))).toEqual([
      "BEGIN",
      "LOOP",
      "  No. 1",
      "    LOOP[0]/POST",
      "    LOOP[0]/CHECK",
      "      paid",
      "        LOOP[0]/CHECK:PAID/TELL",
      "  No. 2",
      "    LOOP[1]/POST",
      "SEND",
      "  Error route",
      "    SEND:ERROR/TELL",
    ]);
  });

  it("keeps the decisions of a while inside it, and shows an end only when it failed", () => {
    const nodes = buildTree([stage("rounds"), stage("rounds[0].check"), stage("rounds.end", "failed")]);
    expect(drawn(nodes)).toEqual(["ROUNDS", "  ROUNDS[0].CHECK", "  ROUNDS.END"]);
    expect(nodes[0]).toMatchObject({ steps: 3, failed: 1 });
  });

  it("collects what undoes completed steps", () => {
    const nodes = buildTree([stage("a"), stage("compensate/loop[3]/post/undo"), stage("compensate/a/back", "running")]);
    expect(drawn(nodes)).toEqual([
      "A",
      "Undoing",
      "  loop[3]/post",
      "    COMPENSATE/LOOP[3]/POST/UNDO",
      "  a",
      "    COMPENSATE/A/BACK",
    ]);
    expect(nodes[1]).toMatchObject({ steps: 2, active: 1 });
  });
});

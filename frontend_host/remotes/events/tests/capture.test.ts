import { describe, expect, it } from "vitest";
import { progressOf, stateOf, toBytes, walState } from "../src/capture";

const PROBLEM = { code: "c", message: "m", remedy: "r", needs_restart: false, at: "2026-01-01T00:00:00Z" };

describe("state of a capture", () => {
  it.each([
    ["running", "streaming", null, "ok", "streaming"],
    ["running", "snapshot", null, "ok", "reading"],
    ["running", "new", null, "ok", "reading"],
    ["running", "streaming", PROBLEM, "warning", "retrying"],
    ["running", "streaming", null, "critical", "critical"],
    ["paused", "streaming", null, "warning", "paused"],
    ["failed", "snapshot", PROBLEM, "ok", "failed"],
  ] as const)("%s, %s", (status, phase, problem, alarm, expected) => {
    expect(stateOf({ status, phase, problem, alarm })).toBe(expected);
  });

  it("counts tables from one", () => {
    const tables = [1, 2, 3].map((number) => ({ name: `t${number}`, keys: [], columns: [] }));
    expect(progressOf({ phase: "snapshot", with_snapshot: true, tables_read: 1, tables })).toBe("Reading table 2 of 3");
  });

  it("says what it does not know", () => {
    expect([walState(undefined), walState("lost"), walState("odd")]).toEqual(["Not measured yet", "Lost", "odd"]);
  });

  it.each([
    ["16", 16_000_000],
    [" 1 ", 1_000_000],
    ["0", null],
    ["1.5", null],
    ["x", null],
    ["", null],
  ])("reads %j as megabytes", (text, expected) => {
    expect(toBytes(text)).toBe(expected);
  });
});

import { describe, expect, it } from "vitest";
import { FIRST_PROCESS, readProcess, writeProcess } from "../src";

const NESTED = {
  schema: "process/1",
  kind: "process",
  steps: [
    { id: "each", kind: "foreach", name: "Each invoice", config: { steps: [{ id: "pay", kind: "transform" }] } },
    { id: "end", kind: "return" },
  ],
};

describe("a process as text", () => {
  it("tells what a step of a graph waits for", () => {
    const steps = [
      { id: "a", kind: "transform", dependencies: [] },
      { id: "b", kind: "transform", dependencies: ["a"] },
    ];
    const read = (given: object[]) => readProcess(writeProcess({ steps: given })).steps;
    expect(read(steps).map(({ dependencies }) => dependencies)).toEqual([[], ["a"]]);
    expect(read([{ id: "a", kind: "transform" }])[0]?.dependencies).toBeNull();
  });
  it("lists steps with their depth and the server's paths", () => {
    const { steps } = readProcess(writeProcess(NESTED));
    expect(steps.map(({ id, path, depth }) => [id, path, depth])).toEqual([
      ["each", "steps[0]", 0],
      ["pay", "steps[0].config.steps[0]", 1],
      ["end", "steps[1]", 0],
    ]);
  });

  it("finds the text of a path, or of the nearest part that is there", () => {
    const text = writeProcess(NESTED);
    const read = readProcess(text);
    const cut = (path: string) => {
      const place = read.locate(path)!;
      return text.slice(place.start, place.end);
    };
    expect(cut("steps[0].name")).toBe('"Each invoice"');
    expect(cut("steps[1].config.value")).toContain('"end"');
    expect(read.locate("output")).toBeNull();
  });

  it("names the line and column of the first fault and keeps what can be read", () => {
    const { value, fault, steps } = readProcess('{\n  "steps": [{"id": "a", "kind": "return"}],\n  "output" 1\n}');
    expect(value).toBeNull();
    expect(fault).toMatchObject({ line: 3, column: 12, message: "A colon is needed here." });
    expect(steps).toHaveLength(1);
    expect(readProcess("[]").fault?.message).toContain("object");
    expect(readProcess("").value).toBeNull();
  });

  it("begins with a document that reads back", () => {
    expect(readProcess(writeProcess(FIRST_PROCESS)).value).toEqual(FIRST_PROCESS);
  });
});

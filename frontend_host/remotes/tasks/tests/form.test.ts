import { describe, expect, it } from "vitest";
import { readForm, toAnswer } from "../src/form";

const SCHEMA = {
  type: "object",
  required: ["approved", "amount"],
  properties: {
    approved: { type: "boolean", title: "Approved" },
    amount: { type: "number" },
    grade: { type: "string", enum: ["a", "b"], default: "b" },
    due_day: { type: "string", format: "date" },
    reason: { type: "string", maxLength: 2000, description: "Why" },
  },
};

describe("a task's form", () => {
  it("reads labels, kinds and what is needed", () => {
    expect(readForm(SCHEMA).map(({ label, kind, required }) => [label, kind, required])).toEqual([
      ["Approved", "boolean", true],
      ["Amount", "number", true],
      ["Grade", "choice", false],
      ["Due day", "date", false],
      ["Reason", "long", false],
    ]);
    expect(readForm(SCHEMA).map(({ start }) => start)).toEqual([undefined, undefined, "1", undefined, undefined]);
    expect(readForm({})).toEqual([]);
  });

  it("gives typed values their types and leaves empty optional ones out", () => {
    const typed = { amount: "12,5", grade: "1", due_day: "2026-01-31" };
    expect(toAnswer(readForm(SCHEMA), typed)).toEqual({
      answer: { approved: false, amount: 12.5, grade: "b", due_day: "2026-01-31" },
      faults: {},
    });
  });

  it("names the fields that cannot be sent", () => {
    const { faults } = toAnswer(readForm(SCHEMA), { amount: "x" });
    expect(Object.keys(faults)).toEqual(["amount"]);
    expect(toAnswer(readForm(SCHEMA), {}).faults).toEqual({ amount: "Needed." });
  });
});

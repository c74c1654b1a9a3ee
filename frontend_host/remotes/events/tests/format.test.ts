import { describe, expect, it } from "vitest";
import { indent, pretty, shortType, toInstant, toTypes } from "../src/format";

describe("format", () => {
  it("keeps every digit of a number", () => {
    expect(indent('{"a":12345678901234567890.10,"b":[1,{}],"c":[ ]}')).toBe(
      '{\n  "a": 12345678901234567890.10,\n  "b": [\n    1,\n    {}\n  ],\n  "c": []\n}',
    );
  });
  it("leaves quoted text alone", () => {
    expect(indent('{"a":"{,:\\"}"}')).toBe('{\n  "a": "{,:\\"}"\n}');
  });
  it("says the same as the engine's own", () => {
    const value = { a: [1, "x", null, { b: true }], c: {}, d: "é\n" };
    expect(indent(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
  });
  it("shows text that is no JSON as it is", () => {
    expect(pretty("plain {")).toBe("plain {");
  });
  it("shortens the portal's own types only", () => {
    expect(shortType("com.analytics-portal.run.completed.v1")).toBe("run.completed.v1");
    expect(shortType("com.acme.paid.v1")).toBe("com.acme.paid.v1");
  });
  it("reads times and types", () => {
    expect(toInstant("")).toBeNull();
    expect(toInstant("nonsense")).toBeNull();
    expect(toInstant("2026-01-02T03:04")).toMatch(/^2026-01-0\dT.*Z$/);
    expect(toTypes("run.*, alarm.*\n x")).toEqual(["run.*", "alarm.*", "x"]);
  });
});

import { expect, test } from "vitest";
import { columnsOf, fromText, toText } from "../src/correction";

test.each([
  // text, original, stored
  ["1500.00", "-5417.64", "1500.00"], // a decimal that came as text stays text
  ["12", 7, 12],
  ["12345678901234567890", 7, "12345678901234567890"], // a float would lose digits
  ["1.50", 7, "1.50"],
  ["false", true, false],
  ['{"a":1}', { a: 0 }, { a: 1 }],
  ["{", { a: 0 }, "{"],
  ["", "x", ""],
])("%j in place of %j is %j", (text, original, stored) => {
  expect(fromText(text, original, false)).toEqual(stored);
});

test("null is null, whatever the text says", () => {
  expect(fromText("x", "y", true)).toBeNull();
  expect(toText(null)).toBe("");
});

test("an error is shown at the columns that it speaks of", () => {
  const payload = { issued_on: "2026-02-30", total: "1", id: 1 };
  expect(columnsOf({ rule: null, field: "total", code: "c", message: "m" }, payload)).toEqual(["total"]);
  expect(columnsOf({ rule: "r", field: "other", code: "c", message: "issued_on is no date" }, payload)).toEqual([
    "issued_on",
  ]);
});

import type { JsonSchema } from "@portal/api-client";
import { expect, test } from "vitest";
import { defaultsOf, findMistakes, isShown, kindOf, labelOf, withoutEmpty } from "../src/form/schema";

const schema: JsonSchema = {
  type: "object",
  required: ["host", "tls"],
  properties: {
    host: { type: "string", minLength: 3 },
    port: { type: ["integer", "null"], default: 5432, minimum: 1, maximum: 65535 },
    tls: {
      type: "object",
      required: ["mode"],
      properties: { mode: { enum: ["require", "disable"], default: "require" } },
    },
  },
};

test("defaults are taken from every depth", () => {
  expect(defaultsOf(schema)).toEqual({ port: 5432, tls: { mode: "require" } });
});

test("mistakes are named by their path", () => {
  expect(findMistakes(schema, { port: 0, tls: { mode: "" } })).toEqual({
    host: "This is needed.",
    port: "At least 1.",
    "tls.mode": "This is needed.",
  });
  expect(findMistakes(schema, { host: "ab", tls: { mode: "require" } })).toEqual({ host: "At least 3 characters." });
  expect(findMistakes(schema, { host: "erp", tls: { mode: "require" } })).toEqual({});
});

test("kinds and labels come from the schema", () => {
  expect([kindOf(schema.properties!.port!), kindOf({ enum: ["a"] }), kindOf({ properties: {} })]).toEqual([
    "integer",
    "choice",
    "object",
  ]);
  expect(labelOf("max_page_size", {})).toBe("Max page size");
});

test("empty values are not sent", () => {
  expect(withoutEmpty({ a: "", b: null, c: 0, d: false })).toEqual({ c: 0, d: false });
});

test("a field that does not matter for the choice made is not asked for", () => {
  const bucket: JsonSchema = { type: "string", "x-show-when": { location: ["object_store"] } };
  const form: JsonSchema = { required: ["bucket"], properties: { location: { type: "string" }, bucket } };
  expect([isShown(bucket, { location: "upload" }), isShown(bucket, { location: "object_store" })]).toEqual([
    false,
    true,
  ]);
  expect(findMistakes(form, { location: "upload" })).toEqual({});
  expect(findMistakes(form, { location: "object_store" })).toEqual({ bucket: "This is needed." });
});

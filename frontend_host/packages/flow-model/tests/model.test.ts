import { expect, test } from "vitest";
import {
  acceptSuggestions,
  addRule,
  applyEdit,
  createDefinition,
  findCompletions,
  findLocalProblems,
  fromJson,
  insertField,
  isInsideString,
  markSpans,
  moveField,
  nextSaveState,
  placeOf,
  placeProblems,
  quoteName,
  redo,
  removeField,
  startHistory,
  toggleKey,
  toJson,
  tokenize,
  undo,
  updateField,
} from "../src";

const base = createDefinition(
  { connection: "erp", entity: "public.invoices" },
  { connection: "warehouse", entity: "invoices" },
);
const flow = insertField(insertField(base, { target: "invoice_id", type: "BIGINT", expression: "id" }), {
  target: "total",
  type: "DECIMAL(18,2)",
  expression: "total",
});

test("a definition survives the way to JSON and back", () => {
  const edited = addRule(toggleKey(flow, 0));
  expect(fromJson(JSON.parse(JSON.stringify(toJson(edited))))).toEqual(edited);
});

test("an empty draft opens with defaults", () => {
  expect(fromJson({}).load.mode).toBe("full");
  expect(fromJson(null).fields).toEqual([]);
});

test("a key is never null, and a renamed target stays a key", () => {
  const keyed = toggleKey(flow, 0);
  expect(keyed.fields[0]!.nullable).toBe(false);
  expect(updateField(keyed, 0, { target: "id" }).target.keys).toEqual(["id"]);
  expect(removeField(keyed, 0).target.keys).toEqual([]);
});

test("rows move within the list only", () => {
  expect(moveField(flow, 0, 1).fields.map((field) => field.target)).toEqual(["total", "invoice_id"]);
  expect(moveField(flow, 0, -1)).toBe(flow);
});

test("a suggestion fills empty rows, adds missing ones and keeps written expressions", () => {
  const some = insertField(flow, { target: "currency", expression: "" });
  const next = acceptSuggestions(some, [
    { target: "total", type: "DOUBLE", expression: "other", nullable: true },
    { target: "currency", type: "VARCHAR", expression: "currency_code", nullable: false },
    { target: "due", type: "DATE", expression: "due_date", nullable: true },
  ]);
  expect(next.fields.map((field) => field.expression)).toEqual(["id", "total", "currency_code", "due_date"]);
});

test("undo and redo walk the edits; typing in one cell is one step", () => {
  let history = startHistory("a");
  history = applyEdit(history, "ab", "cell", 0);
  history = applyEdit(history, "abc", "cell", 300);
  history = applyEdit(history, "x", "other", 400);
  history = undo(history);
  expect(history.present).toBe("abc");
  history = undo(history);
  expect(history.present).toBe("a");
  expect(undo(history)).toBe(history);
  expect(redo(redo(history)).present).toBe("x");
});

test("a new edit forgets what was undone", () => {
  let history = applyEdit(startHistory(1), 2, null, 0);
  history = applyEdit(undo(history), 3, null, 1);
  expect(redo(history).present).toBe(3);
});

test.each([
  // The same place, in the ways a path may be written.
  ["nodes.map.config.fields.1.expression", { area: "field", index: 1, part: "expression" }],
  ["/nodes/1/config/fields/1/expression", { area: "field", index: 1, part: "expression" }],
  ["nodes[1].config.fields[total].expression", { area: "field", index: 1, part: "expression" }],
  ["draft.nodes[1].config.fields[1].expression", { area: "field", index: 1, part: "expression" }],
  ["draft.nodes[2].config.entity", { area: "target" }],
  ["nodes.map.config.filter", { area: "filter" }],
  ["nodes.target.config.keys", { area: "target" }],
  ["nodes/0/config/entity", { area: "source" }],
  ["load.cursor", { area: "load", part: "cursor" }],
  ["contract.fields.0", { area: "contract" }],
  ["", { area: "flow" }],
])("path %s is placed", (path, place) => {
  expect(placeOf(path, flow)).toEqual(place);
});

test("problems carry the name of their row, errors first", () => {
  const placed = placeProblems(
    [
      { path: "load.cursor", code: "c", message: "m", severity: "warning" },
      { path: "nodes.map.config.fields.1.expression", code: "c", message: "m", start: 2, end: 4 },
    ],
    flow,
  );
  expect(placed.map((problem) => problem.label)).toEqual(["total", "Load settings"]);
});

test("doubled and missing targets are found without the server", () => {
  const bad = insertField(insertField(flow, { target: "TOTAL" }), { target: "" });
  expect(findLocalProblems(bad).map((problem) => problem.code)).toEqual([
    "local.target_doubled",
    "local.target_missing",
  ]);
});

test("tokens cover the source exactly", () => {
  const source = "CASE WHEN lower(trim(\"Name\")) = 'o''x' THEN 1.5e3 ELSE NULL END -- why\n || §";
  expect(
    tokenize(source)
      .map((token) => token.text)
      .join(""),
  ).toBe(source);
  expect(tokenize("lower(name)")[0]!.kind).toBe("function");
  expect(tokenize("x and (y)")[2]!.kind).toBe("keyword");
});

test("a problem underlines exactly its characters", () => {
  const spans = markSpans("total + missing", [{ start: 8, end: 15, severity: "error" }]);
  expect(spans.filter((span) => span.mark).map((span) => span.text)).toEqual(["missing"]);
  expect(markSpans("ab", [{ start: 2, end: 2, severity: "error" }]).some((span) => span.mark)).toBe(true);
});

test("completion prefers columns that start with the word", () => {
  const found = findCompletions(
    "to",
    [
      { name: "total", type: "D" },
      { name: "auto", type: "V" },
    ],
    [{ name: "to_date", signature: "s" }],
  );
  expect(found.map((one) => one.label)).toEqual(["total", "to_date", "auto"]);
  expect(found[1]!.insert).toBe("to_date(");
});

test("nothing is completed inside a string", () => {
  expect(isInsideString("'abc", 3)).toBe(true);
  expect(isInsideString("'abc'", 5)).toBe(false);
  expect(isInsideString("abc", 2)).toBe(false);
});

test("names that are not plain words are quoted", () => {
  expect([quoteName("total"), quoteName("Invoice No"), quoteName("end"), quoteName('a"b')]).toEqual([
    "total",
    '"Invoice No"',
    '"end"',
    '"a""b"',
  ]);
});

test("an edit while saving is saved afterwards, and a conflict waits for a decision", () => {
  let state = nextSaveState({ kind: "dirty", revision: 3 }, { type: "started" });
  state = nextSaveState(state, { type: "edited" });
  state = nextSaveState(state, { type: "stored", revision: 4 });
  expect(state).toEqual({ kind: "dirty", revision: 4 });
  state = nextSaveState(nextSaveState(state, { type: "started" }), { type: "conflicted", theirs: 9 });
  expect(nextSaveState(state, { type: "edited" }).kind).toBe("conflict");
  expect(nextSaveState(state, { type: "loaded", revision: 9 })).toEqual({ kind: "saved", revision: 9 });
});

import { RUN_STATUSES, STEP_STATUSES } from "@portal/api-client";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { StatusBadge } from "../src/feedback/status";

const show = (status: string) => renderToStaticMarkup(createElement(StatusBadge, { status }));

test.each([...new Set([...RUN_STATUSES, ...STEP_STATUSES])])("%s of a run or step has a name of its own", (status) => {
  expect(show(status)).toMatch(/>[A-Z][a-z ]+</);
});

test("what waits without a worker is told from what has not begun", () => {
  expect(show("parked")).toBe('<span class="badge info">Parked</span>');
  expect(show("waiting")).toBe('<span class="badge info">Waiting</span>');
  expect(show("ready")).toBe('<span class="badge">Ready</span>');
});

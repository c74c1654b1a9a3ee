import { RUN_STATUSES } from "@portal/api-client";
import { expect, test } from "vitest";
import {
  describeEffect,
  describeKind,
  describeVerdict,
  describeWaits,
  isActive,
  isRestartable,
  isStoppable,
} from "../src/status";

test("a waiting run is active and can be cancelled", () => {
  expect(RUN_STATUSES.filter(isActive)).toEqual(["queued", "running", "waiting", "cancelling"]);
  expect(RUN_STATUSES.filter(isStoppable)).toEqual(["queued", "running", "waiting"]);
});

test("a run says what it is", () => {
  expect(describeKind({ kind: "process", mode: "full" })).toBe("process");
  expect(describeKind({ kind: "load", mode: "incremental" })).toBe("incremental load");
  expect(describeKind({ kind: "replay", mode: "full" })).toBe("replay of quarantined rows");
});

test("an ended process can be restarted from a step unless its undoing has failed", () => {
  const run = { kind: "process", status: "failed", compensation: null } as const;
  const undoing = { steps: [], remaining: [], problem: undefined };
  expect(isRestartable(run)).toBe(true);
  expect(isRestartable({ ...run, compensation: { ...undoing, status: "done" } })).toBe(true);
  expect(isRestartable({ ...run, compensation: { ...undoing, status: "failed" } })).toBe(false);
  expect(isRestartable({ ...run, status: "waiting" })).toBe(false);
  expect(isRestartable({ ...run, kind: "load" })).toBe(false);
});

test("an effect says what was done to what", () => {
  const effect = { operation: "upsert", target: "orders", business_key: "id=7", summary: { rows: 1 } };
  expect(describeEffect(effect)).toBe("upsert orders (id=7), 1 row");
  expect(describeEffect({ operation: "publish", target: "paid", business_key: "", summary: {} })).toBe("publish paid");
});

test("a wish for once more wins over the forecast", () => {
  expect(describeVerdict("deduplicated", false)).toBe("Does not happen twice");
  expect(describeVerdict("deduplicated", true)).toBe("Happens once more");
});

test("a waiting run says what it waits for", () => {
  const stages = [
    { name: "Post", status: "succeeded", detail: "Done." },
    { name: "Payment", status: "parked", detail: "Waits for com.acme.paid.v1." },
    { name: "Reminder", status: "parked", detail: "" },
  ] as const;
  expect(describeWaits(stages)).toBe("Payment: Waits for com.acme.paid.v1. Reminder.");
  expect(describeWaits([])).toBe("The next attempt at a step begins later.");
});

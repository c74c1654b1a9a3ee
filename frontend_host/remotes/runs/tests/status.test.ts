import { RUN_STATUSES } from "@portal/api-client";
import { expect, test } from "vitest";
import { describeKind, describeWaits, isActive, isStoppable } from "../src/status";

test("a waiting run is active and can be cancelled", () => {
  expect(RUN_STATUSES.filter(isActive)).toEqual(["queued", "running", "waiting", "cancelling"]);
  expect(RUN_STATUSES.filter(isStoppable)).toEqual(["queued", "running", "waiting"]);
});

test("a run says what it is", () => {
  expect(describeKind({ kind: "process", mode: "full" })).toBe("process");
  expect(describeKind({ kind: "load", mode: "incremental" })).toBe("incremental load");
  expect(describeKind({ kind: "replay", mode: "full" })).toBe("replay of quarantined rows");
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

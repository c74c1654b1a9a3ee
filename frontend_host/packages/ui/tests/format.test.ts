import { expect, test } from "vitest";
import { formatBytes, formatDecimal, formatDuration } from "../src/format/numbers";
import { formatDateTime, formatRelative } from "../src/format/Time";
import { matchRoute } from "../src/remote/context";

test("a decimal keeps every digit, beyond what a float holds", () => {
  expect(formatDecimal("12345678901234567.89", "en-GB")).toBe("12,345,678,901,234,567.89");
  expect(formatDecimal("-0.10", "de-DE")).toBe("-0,10");
  expect(formatDecimal("2328.60", "en-GB")).toBe("2,328.60");
  expect(formatDecimal("n/a", "en-GB")).toBe("n/a");
});

test("durations and sizes are short", () => {
  expect([formatDuration(850), formatDuration(12_400), formatDuration(200_000), formatDuration(7_500_000)]).toEqual([
    "850 ms",
    "12 s",
    "3 min 20 s",
    "2 h 5 min",
  ]);
  expect(formatBytes(1_234_567, "en-GB")).toBe("1.2 MB");
});

test("moments are shown in the person's time zone", () => {
  expect(formatDateTime("2026-03-01T23:30:00Z", "en-GB", "Asia/Tokyo")).toContain("2 Mar 2026");
  expect(formatRelative(new Date("2026-01-01T10:00:00Z"), new Date("2026-01-01T10:05:00Z"), "en")).toContain("5 min");
});

test("routes match whole paths and give their parameters", () => {
  expect(matchRoute("/flows/:id", "/flows/7/")).toEqual({ id: "7" });
  expect(matchRoute("/flows/:id", "/flows")).toBeNull();
});

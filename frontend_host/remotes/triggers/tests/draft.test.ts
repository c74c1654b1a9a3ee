import { describe, expect, it } from "vitest";
import { newDraft, settingsOf, typesOf } from "../src/draft";

const draft = { ...newDraft("Europe/Zurich", "f1"), name: " Nightly " };

describe("settings of a draft", () => {
  it("sends a schedule without what belongs to events", () => {
    const { settings, faults } = settingsOf({ ...draft, types: "run.*", filter: "true" });
    expect(faults).toEqual({});
    expect(settings).toEqual({
      name: "Nightly",
      cron: "0 6 * * 1-5",
      zone: "Europe/Zurich",
      calendar: "",
      catch_up: "once",
      catch_up_limit: 10,
      parameters: {},
      mapping: {},
    });
  });

  it("sends an event trigger without what belongs to schedules", () => {
    const { settings } = settingsOf({ ...draft, kind: "event", types: "run.*,\n com.acme.paid.v1 ", filter: " a " });
    expect(settings).toEqual({
      name: "Nightly",
      types: ["run.*", "com.acme.paid.v1"],
      filter: "a",
      parameters: {},
      mapping: {},
    });
  });

  it("sends a poll by its interval or by cron, never by both", () => {
    const poll = { ...draft.poll, connection: "shop", entity: "orders", cursor: "id" };
    const by = (byCron: boolean) => settingsOf({ ...draft, kind: "poll", poll, everyS: "30", byCron }).settings;
    expect(by(false)).toMatchObject({ every_s: 30, cron: "", zone: "", poll });
    expect(by(true)).toMatchObject({ every_s: null, cron: "0 6 * * 1-5", zone: "Europe/Zurich", poll });
    expect(by(false)).not.toHaveProperty("catch_up");
  });

  it("says what keeps it from being sent", () => {
    expect(settingsOf({ ...draft, parameters: "[1]" })).toMatchObject({ settings: null });
    expect(settingsOf({ ...draft, mapping: [{ name: "", expression: "1" }] }).faults.mapping).toMatch(/name/);
    const twice = { name: "a", expression: "1" };
    expect(settingsOf({ ...draft, mapping: [twice, twice] }).faults.mapping).toMatch(/twice/);
  });

  it("leaves empty lines out", () => {
    expect(settingsOf({ ...draft, mapping: [{ name: " ", expression: "" }] }).settings?.mapping).toEqual({});
  });
});

it("reads types as typed", () => {
  expect(typesOf(" a, b\nc,,")).toEqual(["a", "b", "c"]);
});

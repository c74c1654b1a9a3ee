import type { CatchUp, JsonObject, Poll, Trigger, TriggerKind, TriggerSettings } from "@portal/api-client";
import { parseJsonObject } from "@portal/ui";

export interface MappingLine {
  name: string;
  expression: string;
}

/** What the form holds: every setting of every kind as it is typed, so that changing the kind loses nothing. */
export interface TriggerDraft {
  flow: string;
  environment: string;
  name: string;
  kind: TriggerKind;
  cron: string;
  zone: string;
  calendar: string;
  catchUp: CatchUp;
  catchUpLimit: string;
  /** Whether a poll goes by cron instead of an interval. */
  byCron: boolean;
  everyS: string;
  poll: Poll;
  types: string;
  filter: string;
  parameters: string;
  mapping: MappingLine[];
}

const OWN_PREFIX = "com.analytics-portal.";

/** The portal's own types without their common beginning. */
export function shortType(type: string): string {
  return type.startsWith(OWN_PREFIX) ? type.slice(OWN_PREFIX.length) : type;
}

export function newDraft(zone: string, flow: string): TriggerDraft {
  return {
    flow,
    environment: "dev",
    name: "",
    kind: "schedule",
    cron: "0 6 * * 1-5",
    zone,
    calendar: "",
    catchUp: "once",
    catchUpLimit: "10",
    byCron: false,
    everyS: "60",
    poll: { connection: "", entity: "", query: "", cursor: "", start: "", batch_rows: 100, event_type: "" },
    types: "",
    filter: "",
    parameters: "{}",
    mapping: [],
  };
}

/** The draft of a stored trigger. */
export function draftOf(trigger: Trigger, zone: string): TriggerDraft {
  const fresh = newDraft(trigger.zone || zone, trigger.flow.id);
  return {
    ...fresh,
    byCron: trigger.kind === "poll" && trigger.every_s === null,
    everyS: String(trigger.every_s ?? fresh.everyS),
    poll: trigger.poll ?? fresh.poll,
    environment: trigger.environment,
    name: trigger.name,
    kind: trigger.kind,
    cron: trigger.cron || fresh.cron,
    calendar: trigger.calendar,
    catchUp: trigger.catch_up,
    catchUpLimit: String(trigger.catch_up_limit),
    types: trigger.types.map(shortType).join(", "),
    filter: trigger.filter,
    parameters: JSON.stringify(trigger.parameters, null, 2),
    mapping: Object.entries(trigger.mapping).map(([name, expression]) => ({ name, expression })),
  };
}

/** Types as typed: separated by commas or white space. */
export function typesOf(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

export type Faults = Partial<Record<"parameters" | "mapping", string>>;

/** What would be sent: the settings of the draft's kind, or what keeps them from being sent. */
export function settingsOf(draft: TriggerDraft): { settings: TriggerSettings | null; faults: Faults } {
  const faults: Faults = {};
  const parsed = parseJsonObject(draft.parameters.trim() || "{}");
  if (parsed.fault !== null) faults.parameters = parsed.fault;
  const lines = draft.mapping.filter((line) => line.name.trim() || line.expression.trim());
  const names = lines.map((line) => line.name.trim());
  if (names.some((name) => !name)) faults.mapping = "Each expression needs the name of an input.";
  else if (new Set(names).size < names.length) faults.mapping = "A name stands there twice.";
  if (Object.keys(faults).length > 0) return { settings: null, faults };
  const shared = {
    name: draft.name.trim(),
    parameters: parsed.value as JsonObject,
    mapping: Object.fromEntries(lines.map((line) => [line.name.trim(), line.expression.trim()])),
  };
  if (draft.kind === "event")
    return { settings: { ...shared, types: typesOf(draft.types), filter: draft.filter.trim() }, faults };
  const byClock = { cron: draft.cron.trim(), zone: draft.zone.trim(), calendar: draft.calendar };
  if (draft.kind === "poll") {
    const interval = draft.byCron
      ? { every_s: null, ...byClock }
      : { every_s: Number.parseInt(draft.everyS, 10) || 0, cron: "", zone: "", calendar: "" };
    return { settings: { ...shared, ...interval, poll: draft.poll }, faults };
  }
  return {
    settings: {
      ...shared,
      ...byClock,
      catch_up: draft.catchUp,
      catch_up_limit: Number.parseInt(draft.catchUpLimit, 10) || 1,
    },
    faults,
  };
}

import type { TriggerCheck } from "@portal/api-client";
import { Field, Select, TextInput, useCan, useMfe, useResource } from "@portal/ui";
import { useId } from "react";
import { NextFirings } from "./NextFirings";
import type { FieldsProps } from "./TriggerForm";

const EXAMPLES = [
  { value: "", label: "Examples" },
  { value: "*/15 * * * *", label: "Every 15 minutes" },
  { value: "0 * * * *", label: "Every hour" },
  { value: "0 6 * * *", label: "Every day at 06:00" },
  { value: "0 6 * * 1-5", label: "Weekdays at 06:00" },
  { value: "0 6 * * 1", label: "Mondays at 06:00" },
  { value: "0 6 1 * *", label: "The first of the month" },
];

interface ScheduleFieldsProps extends FieldsProps {
  check: TriggerCheck | null;
  /** Left out for polls, which miss nothing. */
  catchUp: boolean;
}

/** Cron, zone, working days and what becomes of missed moments, with the firings that follow from them. */
export function ScheduleFields({ draft, set, problemOf, check, catchUp }: ScheduleFieldsProps) {
  const { api } = useMfe();
  const maySee = useCan("environment:view");
  const zones = useId();
  const calendars = useResource("calendars", api.calendars, { enabled: maySee });
  return (
    <>
      <div className="sections">
        <Field label="Cron" hint="Minute, hour, day, month, day of the week." error={problemOf("cron")} required>
          {(ids) => (
            <TextInput
              {...ids}
              className="mono"
              value={draft.cron}
              onChange={(cron) => set({ cron })}
              maxLength={100}
            />
          )}
        </Field>
        <Field label="Examples" hint="Takes the place of the expression.">
          {(ids) => (
            <Select
              {...ids}
              value={EXAMPLES.some((one) => one.value === draft.cron) ? draft.cron : ""}
              onChange={(cron) => cron && set({ cron })}
              options={EXAMPLES}
            />
          )}
        </Field>
        <Field label="Time zone" error={problemOf("zone")} required>
          {(ids) => (
            <>
              <TextInput {...ids} list={zones} value={draft.zone} onChange={(zone) => set({ zone })} />
              <datalist id={zones}>
                {Intl.supportedValuesOf("timeZone").map((zone) => (
                  <option key={zone} value={zone} />
                ))}
              </datalist>
            </>
          )}
        </Field>
        <Field label="Days" error={problemOf("calendar")}>
          {(ids) => (
            <Select
              {...ids}
              value={draft.calendar}
              onChange={(calendar) => set({ calendar })}
              options={[
                { value: "", label: "All days" },
                ...(draft.calendar && !calendars.data?.results.some((one) => one.slug === draft.calendar)
                  ? [{ value: draft.calendar, label: draft.calendar }]
                  : []),
                ...(calendars.data?.results ?? []).map((one) => ({
                  value: one.slug,
                  label: `Working days of ${one.name}`,
                })),
              ]}
            />
          )}
        </Field>
      </div>
      <div className="preview" role="status" aria-label="Preview">
        {check?.moments.length ? (
          <div className="stack gap-2">
            <span className="strong small">{check.description}</span>
            <NextFirings moments={check.moments} zone={draft.zone} label="Next firings" />
          </div>
        ) : (
          <span className="small muted">The next firings stand here once the schedule can be read.</span>
        )}
      </div>
      {catchUp && (
        <div className="sections">
          <Field label="Missed firings" hint="After a stop of more than five minutes." error={problemOf("catch_up")}>
            {(ids) => (
              <Select
                {...ids}
                value={draft.catchUp}
                onChange={(value) => set({ catchUp: value as typeof draft.catchUp })}
                options={[
                  { value: "once", label: "Make up for all with one run" },
                  { value: "skip", label: "Leave them out" },
                  { value: "all", label: "Make up for each" },
                ]}
              />
            )}
          </Field>
          {draft.catchUp === "all" && (
            <Field label="At most" error={problemOf("catch_up_limit")}>
              {(ids) => (
                <TextInput
                  {...ids}
                  type="number"
                  min={1}
                  max={100}
                  value={draft.catchUpLimit}
                  onChange={(catchUpLimit) => set({ catchUpLimit })}
                />
              )}
            </Field>
          )}
        </div>
      )}
    </>
  );
}

import { ApiError, type Trigger } from "@portal/api-client";
import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  Select,
  Tabs,
  TextArea,
  TextInput,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { draftOf, newDraft, settingsOf, type TriggerDraft } from "./draft";
import { EventFields } from "./EventFields";
import { MappingFields } from "./MappingFields";
import { PollFields } from "./PollFields";
import { ScheduleFields } from "./ScheduleFields";
import { KIND_LABELS } from "./state";
import { useTriggerCheck } from "./useTriggerCheck";

export interface FieldsProps {
  draft: TriggerDraft;
  set: (change: Partial<TriggerDraft>) => void;
  /** The finding about a setting, if there is one. */
  problemOf: (path: string) => string | null;
}

interface TriggerFormProps {
  former?: Trigger;
  /** Chosen for a new trigger. */
  flow?: string;
  onClose: () => void;
  onSaved: (row: Trigger) => void;
}

const COLUMNS: Record<Trigger["kind"], string> = {
  schedule: "due_at, and due_local by the clock of the zone",
  event: "id, type, source, subject, time and data",
  poll: "rows (a JSON list), count and polled_at",
};

/** A new trigger, or changes of one; the server is asked about it while it is written. */
export function TriggerForm({ former, flow = "", onClose, onSaved }: TriggerFormProps) {
  const { api, timeZone, notify } = useMfe();
  const [draft, setDraft] = useState(() => (former ? draftOf(former, timeZone) : newDraft(timeZone, flow)));
  const flows = useResource("flows", (call) => api.flows.list({ limit: 200 }, call), { enabled: !former });
  const environments = useResource("environments", api.environments.list, { enabled: !former });
  const { check, problemOf: found, failure } = useTriggerCheck(draft);
  const action = useAction();
  const { settings, faults } = settingsOf(draft);
  const refused = action.error instanceof ApiError ? action.error.messagesByPath() : {};
  const problemOf = (path: string) => refused[path] ?? found(path);
  const set = (change: Partial<TriggerDraft>) => {
    action.clear();
    setDraft((before) => ({ ...before, ...change }));
  };
  const submit = async () => {
    if (!settings) return;
    const { flow: target, environment, kind } = draft;
    const stored = await action.run(() =>
      former
        ? api.triggers.update(former.id, settings)
        : api.triggers.create({ flow: target, environment, kind, ...settings }),
    );
    if (!stored) return;
    notify({ tone: "ok", title: former ? "Stored." : `${stored.name} was made.` });
    onSaved(stored);
  };
  const fields: FieldsProps = { draft, set, problemOf };
  return (
    <Dialog
      title={former ? `Change ${former.name}` : "New trigger"}
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            type="submit"
            tone="primary"
            busy={action.busy}
            disabled={!draft.name.trim() || !draft.flow || !settings}
          >
            {former ? "Store" : "Create"}
          </Button>
        </>
      }
    >
      {!former && (
        <div>
          <Tabs
            label="Kind"
            kind="segmented"
            items={Object.entries(KIND_LABELS).map(([key, label]) => ({ key: key as Trigger["kind"], label }))}
            value={draft.kind}
            onChange={(kind) => set({ kind })}
          />
        </div>
      )}
      <div className="sections">
        <Field label="Name" error={refused.name ?? null} required>
          {(ids) => <TextInput {...ids} maxLength={100} value={draft.name} onChange={(name) => set({ name })} />}
        </Field>
        {!former && (
          <>
            <Field label="Flow" error={refused.flow ?? null} required>
              {(ids) => (
                <Select
                  {...ids}
                  value={draft.flow}
                  onChange={(next) => set({ flow: next })}
                  options={[
                    { value: "", label: "Choose a flow" },
                    ...(flows.data?.results ?? []).map((one) => ({ value: one.id, label: one.name })),
                  ]}
                />
              )}
            </Field>
            <Field label="Environment" error={refused.environment ?? null}>
              {(ids) => (
                <Select
                  {...ids}
                  value={draft.environment}
                  onChange={(environment) => set({ environment })}
                  options={(environments.data?.results ?? [{ slug: "dev", name: "dev" }]).map((one) => ({
                    value: one.slug,
                    label: one.name || one.slug,
                  }))}
                />
              )}
            </Field>
          </>
        )}
      </div>
      {draft.kind === "schedule" && <ScheduleFields {...fields} check={check} catchUp />}
      {draft.kind === "event" && <EventFields {...fields} />}
      {draft.kind === "poll" && <PollFields {...fields} check={check} />}
      <Field
        label="Input"
        hint={
          draft.kind === "poll"
            ? "A JSON object that each run is given; the new rows are its rows."
            : "A JSON object that each run is given."
        }
        error={faults.parameters ?? problemOf("parameters")}
        required={false}
      >
        {(ids) => (
          <TextArea
            {...ids}
            className="mono"
            rows={3}
            spellCheck={false}
            value={draft.parameters}
            onChange={(parameters) => set({ parameters })}
          />
        )}
      </Field>
      <MappingFields {...fields} fault={faults.mapping ?? null} columns={COLUMNS[draft.kind]} />
      {failure && <span className="small muted">It could not be checked: {failure}</span>}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

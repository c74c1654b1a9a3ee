import { ApiError, type Flow, type Sla } from "@portal/api-client";
import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  ResourceView,
  Select,
  TextInput,
  useAction,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { useId, useState } from "react";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const UNITS = [
  { value: "60", label: "minutes" },
  { value: "3600", label: "hours" },
  { value: "86400", label: "days" },
];

/** When runs of the flow must be finished, by environment. */
export function SlaDialog({ flow, onClose }: { flow: Flow; onClose: () => void }) {
  const { api } = useMfe();
  const environments = useResource("environments", api.environments.list);
  const slas = useResource(`slas ${flow.id}`, (call) => api.slas.list(flow.id, call));
  const [environment, setEnvironment] = useState(flow.deployments.at(-1)?.environment ?? "dev");
  return (
    <Dialog
      title="Deadline of runs"
      lead="A run that is not finished by then is marked, and an event says so: run.sla_missed.v1."
      onClose={onClose}
    >
      <Field label="Environment">
        {(ids) => (
          <Select
            {...ids}
            value={environment}
            onChange={setEnvironment}
            options={(environments.data?.results ?? [{ slug: environment, name: environment }]).map((one) => ({
              value: one.slug,
              label: one.name || one.slug,
            }))}
          />
        )}
      </Field>
      <ResourceView resource={slas}>
        {({ results }) => (
          <SlaForm
            key={environment}
            flow={flow}
            environment={environment}
            former={results.find((one) => one.environment === environment) ?? null}
            onClose={onClose}
          />
        )}
      </ResourceView>
    </Dialog>
  );
}

/** Seconds as a number and the largest unit that leaves it whole. */
function split(seconds: number | null): { amount: string; unit: string } {
  if (seconds === null) return { amount: "", unit: "60" };
  const unit = [...UNITS].reverse().find(({ value }) => seconds % Number(value) === 0)?.value ?? "60";
  return { amount: String(seconds / Number(unit)), unit };
}

interface SlaFormProps {
  flow: Flow;
  environment: string;
  former: Sla | null;
  onClose: () => void;
}

function SlaForm({ flow, environment, former, onClose }: SlaFormProps) {
  const { api, notify, timeZone } = useMfe();
  const mayEdit = useCan("flow:deploy");
  const zones = useId();
  const start = split(former?.within_s ?? null);
  const [amount, setAmount] = useState(start.amount);
  const [unit, setUnit] = useState(start.unit);
  const [by, setBy] = useState(former?.by?.slice(0, 5) ?? "");
  const [zone, setZone] = useState(former?.zone || timeZone);
  const [days, setDays] = useState<readonly number[]>(former?.days.length ? former.days : [1, 2, 3, 4, 5, 6, 7]);
  const action = useAction();
  const refused = action.error instanceof ApiError ? action.error.messagesByPath() : {};
  const save = async () => {
    const body = {
      within_s: amount.trim() ? Math.round(Number(amount) * Number(unit)) : null,
      by: by || null,
      zone: by ? zone : "",
      days: [...days],
    };
    if (!(await action.run(() => api.slas.save(flow.id, environment, body)))) return;
    notify({ tone: "ok", title: `The deadline counts for runs in ${environment} from now on.` });
    onClose();
  };
  const remove = async () => {
    const done = await action.run(async () => {
      await api.slas.remove(flow.id, environment);
      return true;
    });
    if (!done) return;
    notify({ tone: "ok", title: `Runs in ${environment} have no deadline any more.` });
    onClose();
  };
  return (
    <form
      className="stack gap-4"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <div className="row gap-2 top">
        <div className="grow">
          <Field label="Finished within" hint="From when it was asked for or due." error={refused.within_s ?? null}>
            {(ids) => (
              <TextInput
                {...ids}
                type="number"
                min={0}
                step="any"
                disabled={!mayEdit}
                value={amount}
                onChange={setAmount}
              />
            )}
          </Field>
        </div>
        <Field label="Unit">
          {(ids) => <Select {...ids} disabled={!mayEdit} value={unit} onChange={setUnit} options={UNITS} />}
        </Field>
      </div>
      <div className="row gap-2 top">
        <Field label="Finished by" hint="With both, the earlier counts." error={refused.by ?? null}>
          {(ids) => <TextInput {...ids} type="time" disabled={!mayEdit} value={by} onChange={setBy} />}
        </Field>
        <div className="grow">
          <Field label="Time zone" error={refused.zone ?? null}>
            {(ids) => (
              <>
                <TextInput {...ids} list={zones} disabled={!mayEdit || !by} value={zone} onChange={setZone} />
                <datalist id={zones}>
                  {Intl.supportedValuesOf("timeZone").map((name) => (
                    <option key={name} value={name} />
                  ))}
                </datalist>
              </>
            )}
          </Field>
        </div>
      </div>
      {by && (
        <div className="field">
          <span className="label">On these days</span>
          <div className="row wrap gap-1">
            {DAYS.map((label, at) => (
              <Button
                key={label}
                small
                aria-pressed={days.includes(at + 1)}
                disabled={!mayEdit}
                onClick={() =>
                  setDays(
                    days.includes(at + 1)
                      ? days.filter((day) => day !== at + 1)
                      : [...days, at + 1].sort((a, b) => a - b),
                  )
                }
              >
                {label}
              </Button>
            ))}
          </div>
          {refused.days && (
            <span className="error" role="alert">
              {refused.days}
            </span>
          )}
        </div>
      )}
      <ErrorNotice error={action.error} />
      {mayEdit && (
        <div className="row">
          {former && (
            <Button tone="danger" icon="trash" busy={action.busy} onClick={remove}>
              Remove
            </Button>
          )}
          <span className="push row">
            <Button onClick={onClose}>Cancel</Button>
            <Button type="submit" tone="primary" busy={action.busy} disabled={!amount.trim() && !by}>
              Store
            </Button>
          </span>
        </div>
      )}
    </form>
  );
}

import type { Circuit, Connection } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Card,
  Checkbox,
  ErrorNotice,
  Facts,
  Field,
  formatDuration,
  TextInput,
  useAction,
  useCan,
  useMfe,
} from "@portal/ui";
import { useState } from "react";

interface Props {
  connection: Connection;
  onSaved: (connection: Connection) => void;
}

const FIELDS = [
  ["threshold", "Failures in a row", "After so many, calls stop."],
  ["pause_s", "First pause, seconds", "Each failed try doubles it."],
  ["longest_pause_s", "Longest pause, seconds", ""],
] as const;

/** When calls to a failing system stop, and for how long. */
export function CircuitCard({ connection, onSaved }: Props) {
  const mayEdit = useCan("connection:edit");
  const { circuit } = connection;
  const key = FIELDS.map(([name]) => circuit[name]).join() + circuit.enabled;
  return (
    <Card title="When it fails">
      {mayEdit ? (
        <CircuitForm key={key} connection={connection} onSaved={onSaved} />
      ) : (
        <Facts
          items={[
            ["Calls stop after", circuit.enabled ? `${circuit.threshold} failures in a row` : "never"],
            ["First pause", formatDuration(circuit.pause_s * 1000)],
            ["Longest pause", formatDuration(circuit.longest_pause_s * 1000)],
          ]}
        />
      )}
    </Card>
  );
}

function CircuitForm({ connection, onSaved }: Props) {
  const { api, notify } = useMfe();
  const [values, setValues] = useState(() => textsOf(connection.circuit));
  const [enabled, setEnabled] = useState(connection.circuit.enabled);
  const action = useAction();
  const problem = (path: string) =>
    action.error instanceof ApiError ? (action.error.problems.find((one) => one.path === path)?.message ?? null) : null;
  const submit = async () => {
    const numbers = Object.fromEntries(FIELDS.map(([name]) => [name, Number(values[name])]));
    const saved = await action.run(() => api.connections.updateCircuit(connection.id, { enabled, ...numbers }));
    if (!saved) return;
    notify({ tone: "ok", title: "Saved." });
    onSaved(saved);
  };
  return (
    <form
      className="form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Checkbox
        label="Stop calling it when it fails again and again"
        hint="Runs wait meanwhile, without spending attempts."
        checked={enabled}
        onChange={setEnabled}
      />
      {enabled &&
        FIELDS.map(([name, label, hint]) => (
          <Field key={name} label={label} hint={hint || undefined} error={problem(name)}>
            {(ids) => (
              <TextInput
                {...ids}
                type="number"
                inputMode="numeric"
                value={values[name]}
                onChange={(value) => setValues({ ...values, [name]: value })}
              />
            )}
          </Field>
        ))}
      <ErrorNotice error={action.error} />
      <div className="row">
        <Button type="submit" busy={action.busy}>
          Save
        </Button>
      </div>
    </form>
  );
}

function textsOf(circuit: Circuit) {
  return {
    threshold: String(circuit.threshold),
    pause_s: String(circuit.pause_s),
    longest_pause_s: String(circuit.longest_pause_s),
  };
}

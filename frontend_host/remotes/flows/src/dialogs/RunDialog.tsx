import { Button, Dialog, ErrorNotice, Field, Select, TextInput, useAction, useMfe } from "@portal/ui";
import { useState } from "react";
import { useEditor } from "../editor/useFlowEditor";
import { RunTargetFields, useRunTarget } from "./RunTarget";

export function RunDialog({ onClose }: { onClose: () => void }) {
  const { navigate, timeZone } = useMfe();
  const { definition } = useEditor();
  const target = useRunTarget();
  const [mode, setMode] = useState("");
  const [since, setSince] = useState("");
  const action = useAction();
  const submit = async () => {
    if (!target.possible) return;
    const run = await action.run(() =>
      target.start({
        ...(mode ? { mode } : {}),
        ...(mode === "incremental" && since ? { since } : {}),
      }),
    );
    if (run) navigate(`/runs/${run.id}`);
  };
  return (
    <Dialog
      title="Run"
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" icon="run" busy={action.busy} disabled={!target.possible}>
            Start
          </Button>
        </>
      }
    >
      <RunTargetFields target={target} />
      <Field label="How much">
        {(ids) => (
          <Select
            {...ids}
            value={mode}
            onChange={setMode}
            options={[
              { value: "", label: `As the flow says (${definition.load.mode})` },
              { value: "full", label: "Everything" },
              ...(definition.load.cursor ? [{ value: "incremental", label: "What changed" }] : []),
            ]}
          />
        )}
      </Field>
      {mode === "incremental" && (
        <Field
          label="Since"
          hint={`Empty: since the last run. A cursor value, e.g. 2026-01-31T00:00:00Z. Your time zone is ${timeZone}.`}
          required={false}
        >
          {(ids) => <TextInput {...ids} className="mono" value={since} onChange={setSince} />}
        </Field>
      )}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

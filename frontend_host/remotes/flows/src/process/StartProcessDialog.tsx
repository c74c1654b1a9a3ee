import { Button, Dialog, ErrorNotice, Field, parseJsonObject, TextArea, useAction, useMfe } from "@portal/ui";
import { useState } from "react";
import { RunTargetFields, useRunTarget } from "../dialogs/RunTarget";

interface InputField {
  name?: unknown;
  type?: unknown;
}

/** An example of the declared input, so that nobody has to look the names up. */
export function exampleInput(document: Record<string, unknown> | null): string {
  const fields = Array.isArray(document?.input) ? (document.input as InputField[]) : [];
  const entries = fields
    .filter((field) => typeof field.name === "string")
    .map((field) => [field.name, /CHAR|DATE|TIME|UUID/i.test(String(field.type)) ? "" : null]);
  return JSON.stringify(Object.fromEntries(entries), null, 2);
}

export function StartProcessDialog({
  document,
  onClose,
}: {
  document: Record<string, unknown> | null;
  onClose: () => void;
}) {
  const { navigate } = useMfe();
  const target = useRunTarget();
  const [input, setInput] = useState(() => exampleInput(document));
  const action = useAction();
  const { value: parameters, fault } = parseJsonObject(input.trim() || "{}");
  const submit = async () => {
    if (!target.possible || !parameters) return;
    const run = await action.run(() =>
      target.start({
        parameters,
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
          <Button type="submit" tone="primary" icon="run" busy={action.busy} disabled={!target.possible || !parameters}>
            Start
          </Button>
        </>
      }
    >
      <RunTargetFields target={target} />
      <Field label="Input" hint="A JSON object; the process reads it as input.<name>." error={fault} required={false}>
        {(ids) => <TextArea {...ids} className="mono" rows={6} value={input} onChange={setInput} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

import { FIRST_PROCESS } from "@portal/flow-model";
import { Button, Dialog, ErrorNotice, Field, TextInput, useAction, useMfe } from "@portal/ui";
import { useState } from "react";

export function CreateProcessDialog({ onClose }: { onClose: () => void }) {
  const { api, navigate } = useMfe();
  const [name, setName] = useState("");
  const action = useAction();
  const submit = async () => {
    if (!name.trim()) return;
    const flow = await action.run(() => api.flows.create({ name: name.trim(), draft: FIRST_PROCESS }));
    if (flow) navigate(`/flows/${flow.id}`);
  };
  return (
    <Dialog
      title="New process"
      lead="Steps that wait, branch, repeat and call other systems. It begins with one step that runs."
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!name.trim()}>
            Create
          </Button>
        </>
      }
    >
      <Field label="Name" required>
        {(ids) => <TextInput {...ids} value={name} onChange={setName} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

import { Button, Dialog, ErrorNotice, Field, Notice, TextArea, useAction, useMfe } from "@portal/ui";
import { useState } from "react";
import { useFlowDocument } from "../editor/flowDocument";

export function PublishDialog({ onClose, onPublished }: { onClose: () => void; onPublished: () => void }) {
  const { api, notify } = useMfe();
  const { flow, flush, setFlow, problems } = useFlowDocument();
  const [note, setNote] = useState("");
  const action = useAction();
  const errors = problems.filter((problem) => problem.severity === "error").length;
  const submit = async () => {
    const version = await action.run(async () => {
      if (!(await flush())) throw new Error("The draft could not be saved; see the top of the page.");
      return api.flows.publish(flow.id, note.trim());
    });
    if (!version) return;
    notify({ tone: "ok", title: `Version ${version.number} was published.` });
    setFlow(await api.flows.get(flow.id));
    onPublished();
  };
  return (
    <Dialog
      title="Publish the draft"
      lead="It becomes a version that never changes and can be deployed."
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy}>
            Publish version {(flow.latest_version?.number ?? 0) + 1}
          </Button>
        </>
      }
    >
      {errors > 0 && (
        <Notice
          tone="warn"
          title={`The draft has ${errors} ${errors === 1 ? "error" : "errors"}; publishing will be refused.`}
        />
      )}
      <Field label="Note" hint="What changed, for the people who deploy it." required={false}>
        {(ids) => <TextArea {...ids} value={note} onChange={setNote} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

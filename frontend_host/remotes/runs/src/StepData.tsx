import { JsonPayload, Notice, ResourceView, useMfe, useResource } from "@portal/ui";
import { useState } from "react";

/** What a step left, read when it is opened. */
export function StepData({ runId, stepId, name }: { runId: string; stepId: string; name: string }) {
  const [open, setOpen] = useState(false);
  return (
    <details className="step-data" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary className="xs muted" aria-label={`Data of ${name}`}>
        Data
      </summary>
      {open && <Data runId={runId} stepId={stepId} name={name} />}
    </details>
  );
}

function Data({ runId, stepId, name }: { runId: string; stepId: string; name: string }) {
  const { api } = useMfe();
  const step = useResource(`step ${stepId}`, (call) => api.runs.step(runId, stepId, call), { live: [`run:${runId}`] });
  return (
    <ResourceView resource={step}>
      {(data) => (
        <div className="stack gap-2">
          <span className="xs muted">
            <code>{data.path}</code>
            {data.deliveries > 1 && ` · taken up ${data.deliveries} times`}
          </span>
          {data.error && <Notice tone="bad" title={data.error.message ?? "It failed."} />}
          <JsonPayload label={`Output of ${name}`} value={data.output} />
        </div>
      )}
    </ResourceView>
  );
}

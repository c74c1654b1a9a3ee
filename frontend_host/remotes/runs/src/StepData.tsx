import type { StepInput } from "@portal/api-client";
import { formatDuration, JsonPayload, Notice, ResourceView, StatusBadge, Time, useMfe, useResource } from "@portal/ui";
import { useState } from "react";

/** What a step was given and left, read when it is opened. */
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
          {data.inputs.length > 0 && <Inputs inputs={data.inputs} name={name} />}
          <div>
            <div className="xs soft" aria-hidden="true">
              Output
            </div>
            <JsonPayload label={`Output of ${name}`} value={data.output} />
          </div>
          {data.attempt > 1 && <Attempts runId={runId} path={data.path} name={name} />}
        </div>
      )}
    </ResourceView>
  );
}

/** The step's expressions, each with what it came to. */
function Inputs({ inputs, name }: { inputs: StepInput[]; name: string }) {
  return (
    <dl className="step-inputs" aria-label={`Inputs of ${name}`}>
      {inputs.map((input) => (
        <div key={input.place}>
          <dt className="xs soft break">
            {input.place.replace(/^config\./, "")} <code title="The expression">{input.expression}</code>
          </dt>
          <dd className="mono xs break">
            {input.problem ? <span className="muted">{input.problem}</span> : JSON.stringify(input.value)}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Attempts({ runId, path, name }: { runId: string; path: string; name: string }) {
  const { api } = useMfe();
  const attempts = useResource(`attempts ${runId} ${path}`, (call) => api.runs.attempts(runId, path, call), {
    live: [`run:${runId}`],
  });
  return (
    <ResourceView resource={attempts}>
      {(page) => (
        <ol className="step-attempts xs" aria-label={`Attempts at ${name}`}>
          {page.results.map((one) => (
            <li key={one.id} className="row wrap gap-2">
              <span className="num">Attempt {one.attempt}</span>
              <StatusBadge status={one.status} />
              {one.started_at && <Time value={one.started_at} seconds />}
              {one.started_at && one.ended_at && (
                <span className="muted num">
                  {formatDuration(new Date(one.ended_at).getTime() - new Date(one.started_at).getTime())}
                </span>
              )}
              {one.error?.message && <span className="break">{one.error.message}</span>}
            </li>
          ))}
        </ol>
      )}
    </ResourceView>
  );
}

import { Field, Notice, Select, useMfe, useResource } from "@portal/ui";
import { useRef, useState } from "react";
import { useFlowDocument } from "../editor/flowDocument";

export interface RunTarget {
  environment: string;
  setEnvironment: (environment: string) => void;
  version: string;
  setVersion: (version: string) => void;
  /** Version deployed to the environment; null when there is none. */
  deployed: number | null;
  possible: boolean;
  /** Starts the run with the kind's own settings; the draft is stored first when it is what runs. */
  start: (settings: Record<string, unknown>) => Promise<{ id: string }>;
}

/** Where a flow is to run, and which version of it; for loads and processes alike. */
export function useRunTarget(): RunTarget {
  const { api } = useMfe();
  const { flow, flush } = useFlowDocument();
  const [environment, setEnvironment] = useState("dev");
  const [version, setVersion] = useState("draft");
  // A second click, or a retry after a lost answer, must not start a second run.
  const key = useRef(crypto.randomUUID());
  const deployed = flow.deployments.find((one) => one.environment === environment)?.version ?? null;
  const usesDraft = environment === "dev" && version === "draft";
  const start = async (settings: Record<string, unknown>) => {
    if (usesDraft && !(await flush())) throw new Error("The draft could not be saved; see the top of the page.");
    return api.flows.run(flow.id, {
      environment,
      ...(usesDraft ? { version: "draft" } : {}),
      ...settings,
      idempotency_key: key.current,
    });
  };
  return {
    environment,
    setEnvironment,
    version,
    setVersion,
    deployed,
    possible: usesDraft || deployed !== null,
    start,
  };
}

export function RunTargetFields({ target }: { target: RunTarget }) {
  const { api } = useMfe();
  const environments = useResource("environments", api.environments.list);
  const { environment, deployed } = target;
  return (
    <>
      <Field label="Environment">
        {(ids) => (
          <Select
            {...ids}
            value={environment}
            onChange={target.setEnvironment}
            options={(environments.data?.results ?? []).map((one) => ({
              value: one.slug,
              label: one.name || one.slug,
            }))}
          />
        )}
      </Field>
      {environment === "dev" && (
        <Field label="What to run">
          {(ids) => (
            <Select
              {...ids}
              value={target.version}
              onChange={target.setVersion}
              options={[
                { value: "draft", label: "The draft as it is now" },
                {
                  value: "deployed",
                  label: deployed ? `The deployed version ${deployed}` : "The deployed version (none)",
                  disabled: !deployed,
                },
              ]}
            />
          )}
        </Field>
      )}
      {!target.possible && <Notice tone="warn" title={`Nothing is deployed to ${environment}.`} />}
    </>
  );
}

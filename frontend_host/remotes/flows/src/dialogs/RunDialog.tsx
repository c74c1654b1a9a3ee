import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  Notice,
  Select,
  TextInput,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useRef, useState } from "react";
import { useEditor } from "../editor/useFlowEditor";

export function RunDialog({ onClose }: { onClose: () => void }) {
  const { api, navigate, timeZone } = useMfe();
  const { flow, flush, definition } = useEditor();
  const environments = useResource("environments", api.environments.list);
  const [environment, setEnvironment] = useState("dev");
  const [version, setVersion] = useState("draft");
  const [mode, setMode] = useState("");
  const [since, setSince] = useState("");
  const action = useAction();
  // A second click, or a retry after a lost answer, must not start a second run.
  const key = useRef(crypto.randomUUID());
  const deployed = flow.deployments.find((one) => one.environment === environment);
  const usesDraft = environment === "dev" && version === "draft";
  const possible = usesDraft || deployed !== undefined;
  const submit = async () => {
    if (!possible) return;
    const run = await action.run(async () => {
      if (usesDraft && !(await flush())) throw new Error("The draft could not be saved; see the top of the page.");
      return api.flows.run(flow.id, {
        environment,
        ...(usesDraft ? { version: "draft" } : {}),
        ...(mode ? { mode } : {}),
        ...(mode === "incremental" && since ? { since } : {}),
        idempotency_key: key.current,
      });
    });
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
          <Button type="submit" tone="primary" icon="run" busy={action.busy} disabled={!possible}>
            Start
          </Button>
        </>
      }
    >
      <Field label="Environment">
        {(ids) => (
          <Select
            {...ids}
            value={environment}
            onChange={setEnvironment}
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
              value={version}
              onChange={setVersion}
              options={[
                { value: "draft", label: "The draft as it is now" },
                {
                  value: "deployed",
                  label: deployed ? `The deployed version ${deployed.version}` : "The deployed version (none)",
                  disabled: !deployed,
                },
              ]}
            />
          )}
        </Field>
      )}
      {!possible && <Notice tone="warn" title={`Nothing is deployed to ${environment}.`} />}
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

import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  Notice,
  Select,
  TextArea,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useRef, useState } from "react";
import { useFlowDocument } from "../editor/flowDocument";

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

function parseInput(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text.trim() || "{}");
    return value && typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

export function StartProcessDialog({
  document,
  onClose,
}: {
  document: Record<string, unknown> | null;
  onClose: () => void;
}) {
  const { api, navigate } = useMfe();
  const { flow, flush } = useFlowDocument();
  const environments = useResource("environments", api.environments.list);
  const [environment, setEnvironment] = useState("dev");
  const [version, setVersion] = useState("draft");
  const [input, setInput] = useState(() => exampleInput(document));
  const action = useAction();
  // A second click, or a retry after a lost answer, must not start a second run.
  const key = useRef(crypto.randomUUID());
  const deployed = flow.deployments.find((one) => one.environment === environment);
  const usesDraft = environment === "dev" && version === "draft";
  const possible = usesDraft || deployed !== undefined;
  const parameters = parseInput(input);
  const submit = async () => {
    if (!possible || !parameters) return;
    const run = await action.run(async () => {
      if (usesDraft && !(await flush())) throw new Error("The draft could not be saved; see the top of the page.");
      return api.flows.run(flow.id, {
        environment,
        ...(usesDraft ? { version: "draft" } : {}),
        parameters,
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
          <Button type="submit" tone="primary" icon="run" busy={action.busy} disabled={!possible || !parameters}>
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
      <Field
        label="Input"
        hint="A JSON object; the process reads it as input.<name>."
        error={parameters ? undefined : "This is not a JSON object."}
        required={false}
      >
        {(ids) => <TextArea {...ids} className="mono" rows={6} value={input} onChange={setInput} />}
      </Field>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

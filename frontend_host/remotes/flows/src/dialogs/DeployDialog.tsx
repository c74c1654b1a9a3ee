import {
  Button,
  Dialog,
  ErrorNotice,
  Field,
  Notice,
  ResourceView,
  Select,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { useFlowDocument } from "../editor/flowDocument";

export function DeployDialog({ onClose }: { onClose: () => void }) {
  const { api, notify } = useMfe();
  const { flow, setFlow } = useFlowDocument();
  const environments = useResource("environments", api.environments.list);
  const versions = useResource(`versions ${flow.id}`, (call) => api.flows.versions(flow.id, { limit: 50 }, call));
  const [environment, setEnvironment] = useState("dev");
  const [version, setVersion] = useState(String(flow.latest_version?.number ?? ""));
  const action = useAction();
  const now = flow.deployments.find((one) => one.environment === environment);
  const submit = async () => {
    if (!version || !(await action.run(() => api.flows.deploy(flow.id, environment, Number(version))))) return;
    notify({ tone: "ok", title: `Version ${version} is deployed to ${environment}.` });
    setFlow(await api.flows.get(flow.id));
    onClose();
  };
  return (
    <Dialog
      title="Deploy"
      lead="Runs of the environment use this version from now on."
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!version}>
            Deploy
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
      <ResourceView resource={versions}>
        {({ results }) =>
          results.length ? (
            <Field label="Version">
              {(ids) => (
                <Select
                  {...ids}
                  value={version}
                  onChange={setVersion}
                  options={results.map((one) => ({
                    value: String(one.number),
                    label: `v${one.number}${one.note ? `: ${one.note}` : ""}`,
                  }))}
                />
              )}
            </Field>
          ) : (
            <Notice tone="info" title="Publish the draft first." />
          )
        }
      </ResourceView>
      <p className="small soft">
        {now ? `Now deployed there: version ${now.version}.` : "Nothing is deployed there yet."}
      </p>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

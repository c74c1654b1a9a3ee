import type { CheckResult, Connector, JsonObject } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Card,
  Empty,
  ErrorNotice,
  Field,
  Notice,
  Page,
  ResourceView,
  TextInput,
  useAction,
  useCan,
  useMfe,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { CheckPanel } from "./CheckPanel";
import { ConnectorGlyph } from "./ConnectorGlyph";
import { SchemaForm } from "./form/SchemaForm";
import { SecretFields } from "./form/SecretFields";
import { defaultsOf, findMistakes, secretsOf, withoutEmpty } from "./form/schema";

export function CreatePage() {
  const { api } = useMfe();
  const connectors = useResource("connectors", api.connectors);
  const mayEdit = useCan("connection:edit");
  const [params, setParams] = useQueryParams();
  const chosen = connectors.data?.results.find((one) => one.id === params.get("connector"));
  const back = { to: "/connections", label: "Connections" };
  if (!mayEdit)
    return (
      <Page title="New connection" back={back}>
        <Empty icon="lock" title="You may not create connections">
          A builder or an administrator of your organisation can.
        </Empty>
      </Page>
    );
  return (
    <Page
      title={chosen ? `New ${chosen.name} connection` : "New connection"}
      lead={chosen ? chosen.description : "Choose what to connect."}
      back={back}
      actions={chosen && <Button onClick={() => setParams({ connector: null })}>Choose another</Button>}
    >
      <ResourceView resource={connectors}>
        {({ results }) =>
          chosen ? (
            <ConnectorForm key={chosen.id} connector={chosen} />
          ) : (
            <div className="connector-grid">
              {/* The warehouse is made with the organisation; a second one is not offered. */}
              {results
                .filter((connector) => connector.id !== "warehouse")
                .map((connector) => (
                  <button
                    key={connector.id}
                    type="button"
                    className="connector"
                    onClick={() => setParams({ connector: connector.id })}
                  >
                    <ConnectorGlyph connector={connector.id} icon={connector.icon} />
                    <h2>{connector.name}</h2>
                    <p>{connector.description}</p>
                    <span className="xs muted">{connector.supported_operations.join(" · ")}</span>
                  </button>
                ))}
            </div>
          )
        }
      </ResourceView>
    </Page>
  );
}

function ConnectorForm({ connector }: { connector: Connector }) {
  const { api, navigate, notify } = useMfe();
  const [name, setName] = useState("");
  const [config, setConfig] = useState<JsonObject>(() => defaultsOf(connector.configuration));
  const [secrets, setSecrets] = useState<Record<string, string | null>>({});
  const [result, setResult] = useState<CheckResult | null>(null);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const check = useAction();
  const save = useAction();
  const fields = secretsOf(connector);

  const body = () => ({
    connector: connector.id,
    config: withoutEmpty(config),
    secrets: Object.fromEntries(Object.entries(secrets).filter(([, value]) => value)),
  });
  const isComplete = (withName: boolean): boolean => {
    const mistakes = findMistakes(connector.configuration, config);
    for (const secret of fields)
      if (secret.required && !secrets[secret.name]) mistakes[`secrets.${secret.name}`] = "This is needed.";
    if (withName && !name.trim()) mistakes.name = "Give the connection a name.";
    setErrors(mistakes);
    return Object.keys(mistakes).length === 0;
  };
  const takeErrors = (error: unknown) => {
    if (error instanceof ApiError) setErrors(error.messagesByPath());
    throw error;
  };
  const changed = () => setResult(null);
  const runCheck = async () => {
    if (!isComplete(false)) return;
    setResult(null);
    const answer = await check.run(() => api.connections.checkDraft(body()).catch(takeErrors));
    if (answer) setResult(answer);
  };
  const runSave = async () => {
    if (!isComplete(true)) return;
    const made = await save.run(() => api.connections.create({ name: name.trim(), ...body() }).catch(takeErrors));
    if (!made) return;
    notify({ tone: "ok", title: `${made.name} was created.` });
    navigate(`/connections/${made.id}`);
  };
  return (
    <div className="wizard">
      <form
        className="form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void runSave();
        }}
      >
        <Card>
          <div className="stack">
            <Field
              label="Name"
              hint="Shown everywhere; the slot that flows use is made from it."
              error={errors.name}
              required
            >
              {(ids) => (
                <TextInput
                  {...ids}
                  value={name}
                  onChange={setName}
                  placeholder={`e.g. ${connector.id === "postgresql" ? "ERP" : connector.name}`}
                />
              )}
            </Field>
            <SchemaForm
              schema={connector.configuration}
              values={config}
              errors={errors}
              onChange={(values) => {
                setConfig(values);
                changed();
              }}
            />
            <SecretFields
              secrets={fields}
              stored={[]}
              values={secrets}
              errors={errors}
              onChange={(values) => {
                setSecrets(values);
                changed();
              }}
            />
          </div>
        </Card>
        <ErrorNotice error={save.error ?? check.error} />
        {!result?.ok && result && <Notice tone="warn">It can be saved all the same, and be mended later.</Notice>}
        <div className="row gap-2 wrap">
          <Button type="submit" tone={result?.ok ? "primary" : undefined} busy={save.busy}>
            {result?.ok ? "Save" : "Save without a passed test"}
          </Button>
          {!result?.ok && (
            <Button tone="primary" icon="plug" busy={check.busy} onClick={runCheck}>
              Test
            </Button>
          )}
        </div>
      </form>
      <CheckPanel result={result} busy={check.busy} onCheck={runCheck} />
    </div>
  );
}

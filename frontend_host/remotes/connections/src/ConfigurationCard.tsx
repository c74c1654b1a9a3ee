import type { CheckResult, Connection, Connector, JsonObject } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Card,
  ErrorNotice,
  Facts,
  Field,
  ResourceView,
  TextInput,
  useAction,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { CheckSteps } from "./CheckPanel";
import { SchemaForm } from "./form/SchemaForm";
import { SecretFields } from "./form/SecretFields";
import { findMistakes, secretsOf, withoutEmpty } from "./form/schema";

interface Props {
  connection: Connection;
  onSaved: (connection: Connection) => void;
}

export function ConfigurationCard({ connection, onSaved }: Props) {
  const { api } = useMfe();
  const connectors = useResource("connectors", api.connectors);
  const mayEdit = useCan("connection:edit");
  return (
    <Card title="Settings">
      <ResourceView resource={connectors}>
        {({ results }) => {
          const connector = results.find((one) => one.id === connection.connector);
          return mayEdit && !connection.builtin && connector ? (
            <EditForm connection={connection} connector={connector} onSaved={onSaved} />
          ) : (
            <Facts
              items={[
                ["Name", connection.name],
                ...Object.entries(connection.config).map(([name, value]): [string, string] => [
                  name,
                  typeof value === "object" ? JSON.stringify(value) : String(value),
                ]),
                ["Secrets", connection.secrets_set.map((name) => `${name}: set`).join(", ")],
              ]}
            />
          );
        }}
      </ResourceView>
    </Card>
  );
}

function EditForm({ connection, connector, onSaved }: Props & { connector: Connector }) {
  const { api, notify } = useMfe();
  const maySecrets = useCan("secret:write");
  const [name, setName] = useState(connection.name);
  const [config, setConfig] = useState<JsonObject>(connection.config);
  const [secrets, setSecrets] = useState<Record<string, string | null>>({});
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [result, setResult] = useState<CheckResult | null>(null);
  const save = useAction();
  const check = useAction();
  const changed = Object.fromEntries(Object.entries(secrets).filter(([, value]) => value === null || value));
  const isComplete = (): boolean => {
    const mistakes = findMistakes(connector.configuration, config);
    if (!name.trim()) mistakes.name = "Give the connection a name.";
    setErrors(mistakes);
    return Object.keys(mistakes).length === 0;
  };
  const tryOut = async () => {
    if (!isComplete()) return;
    setResult(null);
    // Secrets that were not typed again are taken from the saved connection, by the server.
    const answer = await check.run(() =>
      api.connections.checkDraft({
        connection: connection.id,
        connector: connector.id,
        config: withoutEmpty(config),
        secrets: changed,
      }),
    );
    if (answer) setResult(answer);
  };
  const submit = async () => {
    if (!isComplete()) return;
    const saved = await save.run(() =>
      api.connections
        .update(connection.id, {
          name: name.trim(),
          config: withoutEmpty(config),
          ...(Object.keys(changed).length ? { secrets: changed } : {}),
        })
        .catch((error: unknown) => {
          if (error instanceof ApiError) setErrors(error.messagesByPath());
          throw error;
        }),
    );
    if (!saved) return;
    setSecrets({});
    notify({ tone: "ok", title: "Saved.", detail: "Test the connection to be sure that it still works." });
    onSaved(saved);
  };
  return (
    <form
      className="form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Field label="Name" error={errors.name} required>
        {(ids) => <TextInput {...ids} value={name} onChange={setName} />}
      </Field>
      <SchemaForm schema={connector.configuration} values={config} errors={errors} onChange={setConfig} />
      {maySecrets && (
        <SecretFields
          secrets={secretsOf(connector)}
          stored={connection.secrets_set}
          values={secrets}
          errors={errors}
          onChange={setSecrets}
        />
      )}
      <ErrorNotice error={save.error ?? check.error} />
      {result && <CheckSteps result={result} />}
      <div className="row">
        <Button type="submit" tone="primary" busy={save.busy}>
          Save
        </Button>
        <Button icon="plug" busy={check.busy} onClick={tryOut}>
          Test these settings
        </Button>
      </div>
    </form>
  );
}

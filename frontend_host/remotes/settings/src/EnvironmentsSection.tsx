import type { Connection, Environment, Variable } from "@portal/api-client";
import {
  Button,
  Card,
  Checkbox,
  Empty,
  ErrorNotice,
  ResourceView,
  Select,
  Tabs,
  TextInput,
  useAction,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";

export function EnvironmentsSection() {
  const { api } = useMfe();
  const environments = useResource("environments", api.environments.list, { live: ["environments"] });
  const [chosen, setChosen] = useState<string | null>(null);
  return (
    <ResourceView resource={environments}>
      {(answer) => {
        const list = answer.results;
        const current = list.find((one) => one.slug === chosen) ?? list[0];
        if (!current) return <Empty icon="settings" title="There is no environment" />;
        return (
          <>
            <Tabs
              label="Environments"
              kind="segmented"
              items={list.map((one) => ({ key: one.slug, label: one.name || one.slug }))}
              value={current.slug}
              onChange={setChosen}
            />
            {current.description && <p className="soft small">{current.description}</p>}
            <Bindings key={`b-${current.slug}`} environment={current} />
            <Variables key={`v-${current.slug}`} environment={current} />
          </>
        );
      }}
    </ResourceView>
  );
}

function Bindings({ environment }: { environment: Environment }) {
  const { api } = useMfe();
  const bindings = useResource(`bindings ${environment.slug}`, (call) =>
    api.environments.bindings(environment.slug, call),
  );
  const connections = useResource("connections", (call) => api.connections.list({ limit: 200 }, call));
  return (
    <Card title="Connections by slot">
      <ResourceView resource={bindings}>
        {(bound) => (
          <ResourceView resource={connections}>
            {({ results }) => (
              <BindingForm environment={environment} bound={bound} connections={results} onSaved={bindings.set} />
            )}
          </ResourceView>
        )}
      </ResourceView>
    </Card>
  );
}

interface BindingFormProps {
  environment: Environment;
  bound: Record<string, string | null>;
  connections: Connection[];
  onSaved: (bound: Record<string, string | null>) => void;
}

function BindingForm({ environment, bound, connections, onSaved }: BindingFormProps) {
  const { api, notify } = useMfe();
  const mayManage = useCan("environment:manage");
  const [draft, setDraft] = useState(bound);
  const action = useAction();
  const slots = [...new Set([...connections.map((connection) => connection.slug), ...Object.keys(draft)])].sort();
  const save = async () => {
    const saved = await action.run(() =>
      api.environments.setBindings(environment.slug, Object.fromEntries(Object.entries(draft).filter(([, id]) => id))),
    );
    if (!saved) return;
    notify({ tone: "ok", title: "Bindings saved." });
    onSaved(saved);
  };
  return (
    <div className="stack">
      <p className="soft small">A flow names a slot. Unbound, a slot means the connection of the same name.</p>
      <div className="bind-grid">
        {slots.map((slot) => (
          <div key={slot} style={{ display: "contents" }}>
            <code className="truncate">{slot}</code>
            <Select
              aria-label={`Connection for ${slot}`}
              disabled={!mayManage}
              value={draft[slot] ?? ""}
              onChange={(id) => setDraft({ ...draft, [slot]: id || null })}
              options={[
                {
                  value: "",
                  label: connections.some((one) => one.slug === slot) ? "The connection of this name" : "Not bound",
                },
                ...connections.map((one) => ({ value: one.id, label: `${one.name} (${one.connector})` })),
              ]}
            />
          </div>
        ))}
      </div>
      <ErrorNotice error={action.error} />
      {mayManage && (
        <div className="row">
          <Button tone="primary" busy={action.busy} onClick={save}>
            Save the bindings
          </Button>
        </div>
      )}
    </div>
  );
}

function Variables({ environment }: { environment: Environment }) {
  const { api } = useMfe();
  const variables = useResource(`variables ${environment.slug}`, (call) =>
    api.environments.variables(environment.slug, call),
  );
  return (
    <Card title="Variables">
      <ResourceView resource={variables}>
        {(stored) => <VariableForm environment={environment} stored={stored.variables} onSaved={variables.set} />}
      </ResourceView>
    </Card>
  );
}

interface VariableFormProps {
  environment: Environment;
  stored: Variable[];
  onSaved: (answer: { variables: Variable[] }) => void;
}

function VariableForm({ environment, stored, onSaved }: VariableFormProps) {
  const { api, notify } = useMfe();
  const mayManage = useCan("environment:manage");
  // The value of a stored secret never comes back; null keeps it.
  const [rows, setRows] = useState(() =>
    stored.map((row) => ({ ...row, value: row.secret ? null : row.value, known: true })),
  );
  const action = useAction();
  const change = (at: number, part: Partial<Variable>) =>
    setRows(rows.map((row, index) => (index === at ? { ...row, ...part } : row)));
  const save = async () => {
    const body = rows
      .filter((row) => row.name.trim())
      .map(({ name, value, secret }) => ({ name: name.trim(), value, secret }));
    const saved = await action.run(() => api.environments.setVariables(environment.slug, { variables: body }));
    if (!saved) return;
    notify({ tone: "ok", title: "Variables saved." });
    onSaved(saved);
  };
  return (
    <div className="stack">
      <p className="soft small">
        Expressions read them as <code>var.name</code>. Secret ones are sealed and hidden in previews.
      </p>
      {rows.length > 0 && (
        <div className="var-grid">
          {rows.map((row, at) => (
            <div key={at} style={{ display: "contents" }}>
              <TextInput
                className="mono"
                aria-label="Name"
                placeholder="name"
                disabled={!mayManage || row.known}
                value={row.name}
                onChange={(name) => change(at, { name })}
              />
              <TextInput
                aria-label={`Value of ${row.name}`}
                type={row.secret ? "password" : "text"}
                autoComplete="new-password"
                placeholder={row.secret && row.known ? "•••••• set; type to replace" : "value"}
                disabled={!mayManage}
                value={row.value ?? ""}
                onChange={(value) => change(at, { value: value === "" && row.secret ? null : value })}
              />
              <Checkbox
                label="Secret"
                disabled={!mayManage || row.known}
                checked={row.secret}
                onChange={(secret) => change(at, { secret })}
              />
              {mayManage && (
                <Button
                  small
                  tone="ghost"
                  icon="trash"
                  aria-label={`Remove ${row.name}`}
                  onClick={() => setRows(rows.filter((_, index) => index !== at))}
                />
              )}
            </div>
          ))}
        </div>
      )}
      {!rows.length && <Empty icon="key" title="No variable yet" />}
      <ErrorNotice error={action.error} />
      {mayManage && (
        <div className="row">
          <Button icon="plus" onClick={() => setRows([...rows, { name: "", value: "", secret: false, known: false }])}>
            Add a variable
          </Button>
          <Button tone="primary" busy={action.busy} onClick={save}>
            Save the variables
          </Button>
        </div>
      )}
    </div>
  );
}

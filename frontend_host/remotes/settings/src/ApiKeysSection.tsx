import type { ApiKey } from "@portal/api-client";
import {
  Button,
  Card,
  type Column,
  CopyButton,
  DataTable,
  Dialog,
  Empty,
  ErrorNotice,
  Field,
  Notice,
  Pager,
  ResourceView,
  Select,
  TextInput,
  Time,
  useAction,
  useConfirm,
  useMfe,
  usePages,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { PermissionChoice } from "./PermissionChoice";

const DAY_MS = 86_400_000;

export function ApiKeysSection() {
  const { api, notify } = useMfe();
  const keys = usePages("keys", (cursor, call) => api.apiKeys.list({ cursor, limit: 25 }, call));
  const [creating, setCreating] = useState(false);
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const revoke = async (key: ApiKey) => {
    if (
      (await confirm({
        title: `Revoke ${key.name}?`,
        text: "Machines that use it are refused from now on. This cannot be undone.",
        action: "Revoke",
        danger: true,
      })) === null
    )
      return;
    const done = await action.run(async () => {
      await api.apiKeys.revoke(key.id);
      return true;
    });
    if (!done) return;
    notify({ tone: "ok", title: `${key.name} was revoked.` });
    keys.reload();
  };
  const columns: Column<ApiKey>[] = [
    { key: "name", title: "Name", lead: true, render: (key) => <span className="strong">{key.name}</span> },
    { key: "prefix", title: "Begins with", render: (key) => <code>aip_{key.prefix}…</code> },
    {
      key: "status",
      title: "State",
      render: (key) => (
        <span className={`badge ${key.status === "active" ? "ok" : ""}`}>
          {key.status.replace(/^./, (letter) => letter.toUpperCase())}
        </span>
      ),
    },
    {
      key: "scopes",
      title: "Scopes",
      align: "end",
      render: (key) => <span title={key.scopes.join(", ")}>{key.scopes.length}</span>,
    },
    { key: "by", title: "By", render: (key) => key.created_by },
    { key: "used", title: "Last used", align: "end", render: (key) => <Time value={key.last_used_at} relative /> },
    {
      key: "expires",
      title: "Until",
      align: "end",
      render: (key) => (key.expires_at ? <Time value={key.expires_at} /> : <span className="muted">no end</span>),
    },
    {
      key: "revoke",
      title: "",
      align: "end",
      render: (key) =>
        key.status === "active" ? (
          <Button small tone="danger" onClick={() => revoke(key)}>
            Revoke
          </Button>
        ) : null,
    },
  ];
  return (
    <>
      <div className="toolbar">
        <span className="push">
          <Button tone="primary" icon="plus" onClick={() => setCreating(true)}>
            New key
          </Button>
        </span>
      </div>
      <Card flush>
        <ResourceView resource={keys}>
          {(page) =>
            page.results.length ? (
              <>
                <DataTable label="API keys" rows={page.results} columns={columns} rowKey={(key) => key.id} />
                <Pager
                  hasPrevious={keys.hasPrevious}
                  hasNext={keys.hasNext}
                  onPrevious={keys.previous}
                  onNext={keys.next}
                />
              </>
            ) : (
              <Empty icon="key" title="No key yet">
                Keys let machines use the REST interface with just the permissions they need.
              </Empty>
            )
          }
        </ResourceView>
      </Card>
      {creating && (
        <CreateKeyDialog
          onClose={() => {
            setCreating(false);
            keys.reload();
          }}
        />
      )}
    </>
  );
}

function CreateKeyDialog({ onClose }: { onClose: () => void }) {
  const { api, permissions } = useMfe();
  const known = useResource("permissions", api.permissions);
  const [name, setName] = useState("");
  const [days, setDays] = useState("90");
  const [scopes, setScopes] = useState<string[]>([]);
  const [made, setMade] = useState<ApiKey | null>(null);
  const action = useAction();
  const submit = async () => {
    const expires_at = days ? new Date(Date.now() + Number(days) * DAY_MS).toISOString() : null;
    const key = await action.run(() => api.apiKeys.create({ name: name.trim(), scopes, expires_at }));
    if (key) setMade(key);
  };
  if (made?.key)
    return (
      <Dialog
        title="Copy the key now"
        onClose={onClose}
        footer={
          <Button tone="primary" onClick={onClose}>
            I have stored it
          </Button>
        }
      >
        <Notice tone="warn" title="It is shown this once." />
        <div className="the-key">
          <code className="grow">{made.key}</code>
          <CopyButton text={made.key} />
        </div>
        <p className="small soft">
          Send it as <code>Authorization: Bearer …</code>
        </p>
      </Dialog>
    );
  return (
    <Dialog
      title="New API key"
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!name.trim() || !scopes.length}>
            Create
          </Button>
        </>
      }
    >
      <Field label="Name" hint="Which machine or program will use it?" required>
        {(ids) => <TextInput {...ids} maxLength={80} value={name} onChange={setName} />}
      </Field>
      <Field label="Expires">
        {(ids) => (
          <Select
            {...ids}
            value={days}
            onChange={setDays}
            options={[
              { value: "30", label: "In 30 days" },
              { value: "90", label: "In 90 days" },
              { value: "365", label: "In a year" },
              { value: "", label: "Never" },
            ]}
          />
        )}
      </Field>
      <ResourceView resource={known}>
        {/* A key never gets more than its maker has. */}
        {({ results }) => (
          <PermissionChoice
            all={results.filter(({ code }) => permissions.has(code))}
            value={scopes}
            onChange={setScopes}
          />
        )}
      </ResourceView>
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

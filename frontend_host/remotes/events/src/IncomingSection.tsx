import type { WebhookEndpoint, WebhookMessage } from "@portal/api-client";
import {
  Button,
  type Column,
  CopyButton,
  DataTable,
  Dialog,
  Empty,
  Facts,
  formatBytes,
  formatCount,
  PagedTable,
  Pager,
  Payload,
  ResourceView,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { EndpointForm, LimitForm, RotateForm, schemeLabel } from "./EndpointForms";
import { pretty, shortType } from "./format";
import { SecretDialog } from "./SecretDialog";

/** Addresses for other systems' webhooks. */
export function IncomingSection() {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("webhook:edit") && useCan("secret:write");
  const [creating, setCreating] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const rows = usePages("endpoints", (cursor, call) => api.webhookEndpoints.list({ cursor, limit: 25 }, call));
  const opened = params.get("endpoint");
  const columns: Column<WebhookEndpoint>[] = [
    { key: "name", title: "Name", lead: true, render: (row) => row.name },
    { key: "status", title: "Status", render: (row) => <StatusBadge status={row.status} /> },
    { key: "scheme", title: "Signed by", render: (row) => schemeLabel(row.scheme) },
    { key: "type", title: "Event type", render: (row) => <code>{shortType(row.event_type)}</code> },
    {
      key: "taken",
      title: "Taken, 24 h",
      align: "end",
      render: (row) => <span className="num">{formatCount(row.accepted_24h, locale)}</span>,
    },
    {
      key: "rejected",
      title: "Refused, 24 h",
      align: "end",
      render: (row) => (
        <span className={row.refused_24h ? "bad-number" : "muted"} title={row.last_rejection || undefined}>
          {formatCount(row.refused_24h, locale)}
        </span>
      ),
    },
    { key: "last", title: "Last taken", align: "end", render: (row) => <Time value={row.last_received_at} relative /> },
  ];
  return (
    <>
      <div className="toolbar">
        <Button icon="refresh" onClick={rows.reload}>
          Read again
        </Button>
        {mayEdit && (
          <span className="push">
            <Button tone="primary" icon="plus" onClick={() => setCreating(true)}>
              New address
            </Button>
          </span>
        )}
      </div>
      <PagedTable
        resource={rows}
        label="Webhooks in"
        columns={columns}
        rowKey={(row) => row.id}
        onOpen={(row) => setParams({ endpoint: row.id })}
        empty={
          <Empty icon="inbox" title="No address yet">
            Make one, and let Stripe, GitHub, Slack or your own system send here.
          </Empty>
        }
      />
      {creating && (
        <EndpointForm
          onClose={() => setCreating(false)}
          onSaved={(row) => {
            setCreating(false);
            rows.reload();
            setParams({ endpoint: row.id });
            setSecret(row.secret);
          }}
        />
      )}
      {opened && !secret && (
        <EndpointDrawer
          key={opened}
          id={opened}
          onClose={() => setParams({ endpoint: null })}
          onChanged={rows.reload}
        />
      )}
      {secret && <SecretDialog secret={secret} onClose={() => setSecret(null)} />}
    </>
  );
}

function EndpointDrawer({ id, onClose, onChanged }: { id: string; onClose: () => void; onChanged: () => void }) {
  const { api, notify, locale } = useMfe();
  const mayEdit = useCan("webhook:edit");
  const mayRotate = useCan("secret:write") && mayEdit;
  const mayInspect = useCan("webhook:inspect");
  const endpoint = useResource(`endpoint ${id}`, (call) => api.webhookEndpoints.get(id, call));
  const messages = usePages(`messages ${id}`, (cursor, call) =>
    api.webhookEndpoints.messages({ endpoint: id, cursor, limit: 25 }, call),
  );
  const [message, setMessage] = useState<string | null>(null);
  const [rotating, setRotating] = useState(false);
  const [limiting, setLimiting] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const setStatus = async (status: string) => {
    const saved = await action.run(() => api.webhookEndpoints.update(id, { status }));
    if (!saved) return;
    endpoint.set(saved);
    notify({
      tone: "ok",
      title: status === "active" ? "Webhooks are taken again." : "Senders are told to come later.",
    });
    onChanged();
  };
  const archive = async (name: string) => {
    const answer = await confirm({
      title: `Archive ${name}?`,
      text: "The address is unknown from then on. This cannot be undone.",
      action: "Archive",
      danger: true,
    });
    if (answer === null) return;
    const done = await action.run(async () => {
      await api.webhookEndpoints.archive(id);
      return true;
    });
    if (!done) return;
    onChanged();
    onClose();
  };
  const columns: Column<WebhookMessage>[] = [
    { key: "id", title: "Message", lead: true, render: (row) => <code className="break">{row.message_id}</code> },
    { key: "size", title: "Size", align: "end", render: (row) => formatBytes(row.size_bytes, locale) },
    { key: "at", title: "Taken", align: "end", render: (row) => <Time value={row.received_at} relative /> },
  ];
  return (
    <Dialog
      kind="drawer"
      title={endpoint.data?.name ?? "Address"}
      lead={endpoint.data && <StatusBadge status={endpoint.data.status} />}
      onClose={onClose}
    >
      <ResourceView resource={endpoint}>
        {(row) => {
          const address = `${window.location.origin}${row.path}`;
          return (
            <>
              <div className="the-secret">
                <code className="grow">{address}</code>
                <CopyButton text={address} />
              </div>
              <Facts
                items={[
                  ["Signed by", schemeLabel(row.scheme)],
                  ["Publishes", <code key="t">{shortType(row.event_type)}</code>],
                  ["Clock tolerance", `${row.tolerance_s} s`],
                  ["Largest body", formatBytes(row.max_bytes, locale)],
                  ["Taken in 24 hours", describeTaken(row, locale)],
                  ["Refused in 24 hours", row.refused_24h ? formatCount(row.refused_24h, locale) : null],
                  [
                    "Last refusal",
                    row.last_rejected_at && (
                      <span key="r">
                        <Time value={row.last_rejected_at} relative />: {row.last_rejection} (
                        {formatCount(row.rejected, locale)} in all)
                      </span>
                    ),
                  ],
                  ["Limit", describeLimit(row, locale)],
                ]}
              />
              <div className="row wrap">
                {mayEdit &&
                  (row.status === "active" ? (
                    <Button icon="stop" busy={action.busy} onClick={() => setStatus("paused")}>
                      Pause
                    </Button>
                  ) : (
                    <Button icon="run" tone="primary" busy={action.busy} onClick={() => setStatus("active")}>
                      Resume
                    </Button>
                  ))}
                {mayEdit && (
                  <Button icon="settings" onClick={() => setLimiting(true)}>
                    Change the limit
                  </Button>
                )}
                {mayRotate && (
                  <Button icon="key" onClick={() => setRotating(true)}>
                    Rotate the secret
                  </Button>
                )}
                {mayRotate && (
                  <Button icon="trash" tone="danger" onClick={() => archive(row.name)}>
                    Archive
                  </Button>
                )}
              </div>
              {limiting && (
                <LimitForm
                  endpoint={row}
                  onClose={() => setLimiting(false)}
                  onSaved={(saved) => {
                    setLimiting(false);
                    endpoint.set(saved);
                    notify({ tone: "ok", title: "The limit counts within seconds." });
                  }}
                />
              )}
              {rotating && (
                <RotateForm
                  endpoint={row}
                  onClose={() => setRotating(false)}
                  onSaved={(saved) => {
                    setRotating(false);
                    endpoint.reload();
                    if (saved.secret) setSecret(saved.secret);
                    else notify({ tone: "ok", title: "The new secret counts." });
                  }}
                />
              )}
            </>
          );
        }}
      </ResourceView>
      <section>
        <h3>Taken</h3>
        <ResourceView resource={messages}>
          {(page) =>
            page.results.length ? (
              <>
                <DataTable
                  label="Webhooks taken"
                  rows={page.results}
                  columns={columns}
                  rowKey={(row) => row.id}
                  onOpen={mayInspect ? (row) => setMessage(row.id) : undefined}
                />
                <Pager
                  hasPrevious={messages.hasPrevious}
                  hasNext={messages.hasNext}
                  onPrevious={messages.previous}
                  onNext={messages.next}
                />
              </>
            ) : (
              <Empty icon="inbox" title="Nothing arrived yet" />
            )
          }
        </ResourceView>
      </section>
      {message && <MessageDialog key={message} id={message} onClose={() => setMessage(null)} />}
      {secret && <SecretDialog secret={secret} onClose={() => setSecret(null)} />}
    </Dialog>
  );
}

function describeTaken(row: WebhookEndpoint, locale: string): string {
  const twice = row.duplicates_24h ? `, and ${formatCount(row.duplicates_24h, locale)} that had come before` : "";
  return formatCount(row.accepted_24h, locale) + twice;
}

function describeLimit(row: WebhookEndpoint, locale: string): string {
  if (row.rate_per_s === null && row.burst === null) return "As installed";
  const rate = row.rate_per_s === null ? "As installed" : `${formatCount(row.rate_per_s, locale)} a second`;
  return row.burst === null ? rate : `${rate}, ${formatCount(row.burst, locale)} at once`;
}

function MessageDialog({ id, onClose }: { id: string; onClose: () => void }) {
  const { api } = useMfe();
  const message = useResource(`message ${id}`, (call) => api.webhookEndpoints.message(id, call));
  return (
    <Dialog title="Webhook" wide onClose={onClose}>
      <ResourceView resource={message}>
        {(row) => (
          <>
            <Facts
              items={[
                ["Message", <code key="m">{row.message_id}</code>],
                ["Event", <code key="e">{row.event_id}</code>],
                ["Content", row.content_type],
                ["Taken", <Time key="t" value={row.received_at} seconds />],
                ...Object.entries(row.headers).map(([name, value]): [string, string] => [name, value]),
              ]}
            />
            <Payload label="Body" text={pretty(row.body)} />
          </>
        )}
      </ResourceView>
    </Dialog>
  );
}

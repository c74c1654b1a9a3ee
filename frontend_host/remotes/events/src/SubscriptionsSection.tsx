import type { EventSubscription } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  formatCount,
  PagedTable,
  SearchInput,
  StatusBadge,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";
import { useState } from "react";
import { shortType } from "./format";
import { SecretDialog } from "./SecretDialog";
import { SubscriptionForm } from "./SubscriptionForm";

/** Where events are sent, and how the receivers fare. */
export function SubscriptionsSection() {
  const { api, locale, navigate } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("webhook:edit") && useCan("secret:write");
  const [creating, setCreating] = useState(false);
  const [made, setMade] = useState<{ id: string; secret: string } | null>(null);
  const search = params.get("search");
  const rows = usePages(
    `subscriptions ${search}`,
    (cursor, call) => api.subscriptions.list({ search, cursor, limit: 25 }, call),
    { live: ["subscriptions"] },
  );
  const columns: Column<EventSubscription>[] = [
    { key: "name", title: "Name", lead: true, render: (row) => row.name },
    { key: "status", title: "Status", render: (row) => <StatusBadge status={healthOf(row)} /> },
    {
      key: "types",
      title: "Types",
      render: (row) => <span className="truncate excerpt small">{row.types.map(shortType).join(", ")}</span>,
    },
    { key: "url", title: "Address", render: (row) => <span className="truncate excerpt small">{row.config.url}</span> },
    {
      key: "delivered",
      title: "Delivered",
      align: "end",
      render: (row) => formatCount(row.health.delivered, locale),
    },
    {
      key: "dead",
      title: "Dead letters",
      align: "end",
      render: (row) => (
        <span className={row.health.dead ? "bad-number" : "muted"}>{formatCount(row.health.dead, locale)}</span>
      ),
    },
    {
      key: "last",
      title: "Last success",
      align: "end",
      render: (row) => <Time value={row.health.last_success_at} relative />,
    },
  ];
  return (
    <>
      <div className="toolbar">
        <SearchInput value={search ?? ""} onChange={(next) => setParams({ search: next })} label="Search by name" />
        {mayEdit && (
          <span className="push">
            <Button tone="primary" icon="plus" onClick={() => setCreating(true)}>
              New webhook
            </Button>
          </span>
        )}
      </div>
      <PagedTable
        resource={rows}
        label="Webhooks out"
        columns={columns}
        rowKey={(row) => row.id}
        href={(row) => `/events/webhooks/${row.id}`}
        empty={
          <Empty icon={search ? "filter" : "globe"} title={search ? "No webhook matches" : "No webhook yet"}>
            {search ? "Change the search." : "Tell your own systems what happens here, signed and in order."}
          </Empty>
        }
      />
      {creating && (
        <SubscriptionForm
          onClose={() => setCreating(false)}
          onSaved={(row, secret) => {
            setCreating(false);
            rows.reload();
            if (secret) setMade({ id: row.id, secret });
          }}
        />
      )}
      {made && <SecretDialog secret={made.secret} onClose={() => navigate(`/events/webhooks/${made.id}`)} />}
    </>
  );
}

/** An active subscription whose endpoint fails says so. */
export function healthOf(row: EventSubscription): string {
  return row.status === "active" && row.health.state === "failing" ? "failing" : row.status;
}

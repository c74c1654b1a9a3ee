import type { Consumer } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  formatCount,
  PagedTable,
  StatusBadge,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";
import { useState } from "react";
import { ConsumerDrawer } from "./ConsumerDrawer";
import { ConsumerForm } from "./ConsumerForm";
import { healthOf, shortType } from "./format";

/** What takes messages from brokers, and how it is doing. */
export function ConsumersSection() {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("consumer:edit");
  const [creating, setCreating] = useState(false);
  const rows = usePages("consumers", (cursor, call) => api.consumers.list({ cursor, limit: 25 }, call), {
    live: ["consumers"],
  });
  const opened = params.get("consumer");
  const columns: Column<Consumer>[] = [
    { key: "name", title: "Name", lead: true, render: (row) => row.name },
    { key: "status", title: "Status", render: (row) => <StatusBadge status={healthOf(row)} /> },
    {
      key: "source",
      title: "Takes",
      render: (row) => (
        <span className="break small">
          {row.connection} · <code>{row.source}</code>
        </span>
      ),
    },
    { key: "type", title: "Event type", render: (row) => <code>{shortType(row.event_type)}</code> },
    { key: "published", title: "Published", align: "end", render: (row) => formatCount(row.published, locale) },
    {
      key: "lag",
      title: "Waiting",
      align: "end",
      render: (row) => (row.lag === null ? <span className="muted">–</span> : formatCount(row.lag, locale)),
    },
    {
      key: "dead",
      title: "Dead letters",
      align: "end",
      render: (row) => <span className={row.dead ? "bad-number" : "muted"}>{formatCount(row.dead, locale)}</span>,
    },
    {
      key: "last",
      title: "Last message",
      align: "end",
      render: (row) => <Time value={row.last_message_at} relative />,
    },
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
              New consumer
            </Button>
          </span>
        )}
      </div>
      <PagedTable
        resource={rows}
        label="Consumers"
        columns={columns}
        rowKey={(row) => row.id}
        onOpen={(row) => setParams({ consumer: row.id })}
        empty={
          <Empty icon="inbox" title="No consumer yet">
            Make one, and each message of a queue, stream or topic becomes an event that can start flows.
          </Empty>
        }
      />
      {creating && (
        <ConsumerForm
          onClose={() => setCreating(false)}
          onSaved={(row) => {
            setCreating(false);
            rows.reload();
            setParams({ consumer: row.id });
          }}
        />
      )}
      {opened && (
        <ConsumerDrawer
          key={opened}
          id={opened}
          onClose={() => setParams({ consumer: null })}
          onChanged={rows.reload}
        />
      )}
    </>
  );
}

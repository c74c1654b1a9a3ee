import type { CloudEvent } from "@portal/api-client";
import {
  Button,
  type Column,
  CopyButton,
  Dialog,
  Empty,
  Facts,
  PagedTable,
  Payload,
  ResourceView,
  SearchInput,
  Select,
  TextInput,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { DeliveryList } from "./DeliveryList";
import { pretty, shortType, toInstant } from "./format";
import { ReplayDialog } from "./ReplayDialog";

/** The log with its filters, one event with its data and deliveries, and the way to a replay. */
export function ExplorerSection() {
  const { api } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayReplay = useCan("event:replay") && useCan("webhook:view");
  const [replaying, setReplaying] = useState(false);
  const filter = {
    type: params.get("type"),
    subject: params.get("subject"),
    from: params.get("from"),
    to: params.get("to"),
  };
  const query = {
    type: filter.type,
    subject: filter.subject ? `${filter.subject.replace(/\*$/, "")}*` : null,
    from: toInstant(filter.from),
    to: toInstant(filter.to),
  };
  const events = usePages(JSON.stringify(query), (cursor, call) =>
    api.events.list({ ...query, cursor, limit: 50 }, call),
  );
  const types = useResource("types", api.events.types);
  const filtered = Object.values(filter).some(Boolean);
  const opened = params.get("event");
  const columns: Column<CloudEvent>[] = [
    { key: "type", title: "Type", lead: true, render: (event) => <code>{shortType(event.type)}</code> },
    { key: "subject", title: "Subject", render: (event) => <span className="break">{event.subject}</span> },
    {
      key: "sequence",
      title: "Number",
      align: "end",
      render: (event) => (event.sequence ? String(Number(event.sequence)) : <span className="muted">waits</span>),
    },
    { key: "time", title: "When", align: "end", render: (event) => <Time value={event.time} seconds /> },
  ];
  return (
    <>
      <div className="toolbar">
        <Select
          aria-label="Type"
          value={filter.type ?? ""}
          onChange={(type) => setParams({ type })}
          options={[
            { value: "", label: "All types" },
            ...[
              ...new Set([
                ...(types.data?.results ?? []).map((one) => one.type),
                ...(filter.type ? [filter.type] : []),
              ]),
            ]
              .sort()
              .map((type) => ({ value: type, label: shortType(type) })),
          ]}
        />
        <SearchInput
          value={filter.subject ?? ""}
          onChange={(subject) => setParams({ subject })}
          label="Subjects that begin with"
          placeholder="run/…"
        />
        <span className="when">
          <span className="small soft" aria-hidden="true">
            from
          </span>
          <TextInput
            type="datetime-local"
            aria-label="From"
            value={filter.from ?? ""}
            onChange={(from) => setParams({ from })}
          />
        </span>
        <span className="when">
          <span className="small soft" aria-hidden="true">
            to
          </span>
          <TextInput
            type="datetime-local"
            aria-label="To"
            value={filter.to ?? ""}
            onChange={(to) => setParams({ to })}
          />
        </span>
        {filtered && (
          <Button tone="ghost" onClick={() => setParams({ type: null, subject: null, from: null, to: null })}>
            Clear
          </Button>
        )}
        <span className="push row">
          <Button icon="refresh" onClick={events.reload}>
            Read again
          </Button>
          {mayReplay && (
            <Button icon="history" onClick={() => setReplaying(true)}>
              Replay…
            </Button>
          )}
        </span>
      </div>
      <PagedTable
        resource={events}
        label="Events"
        columns={columns}
        rowKey={(event) => event.id}
        onOpen={(event) => setParams({ event: event.id })}
        empty={
          <Empty
            icon={filtered ? "filter" : "inbox"}
            title={filtered ? "No event matches" : "Nothing has happened yet"}
          >
            {filtered ? "Change or clear the filters." : "Runs, sign-offs and your own systems write here."}
          </Empty>
        }
      />
      {opened && <EventDrawer key={opened} id={opened} onClose={() => setParams({ event: null })} />}
      {replaying && (
        <ReplayDialog
          range={{
            ...(query.from ? { since: query.from } : {}),
            ...(query.to ? { until: query.to } : {}),
            ...(filter.type ? { types: [filter.type] } : {}),
          }}
          onClose={() => setReplaying(false)}
        />
      )}
    </>
  );
}

function EventDrawer({ id, onClose }: { id: string; onClose: () => void }) {
  const { api } = useMfe();
  const maySeeDeliveries = useCan("webhook:view");
  const event = useResource(`event ${id}`, (call) => api.events.get(id, call));
  return (
    <Dialog kind="drawer" title={event.data ? shortType(event.data.type) : "Event"} onClose={onClose}>
      <ResourceView resource={event}>
        {(data) => {
          const text = pretty(data.data);
          return (
            <>
              <Facts
                items={[
                  ["Id", <code key="i">{data.id}</code>],
                  ["Type", <code key="t">{data.type}</code>],
                  ["Subject", data.subject],
                  ["When", <Time key="w" value={data.time} seconds />],
                  ["Number", data.sequence && String(Number(data.sequence))],
                  ["Ordered by", data.partitionkey],
                ]}
              />
              <section>
                <div className="row">
                  <h3>Data</h3>
                  <span className="push">
                    <CopyButton text={text} />
                  </span>
                </div>
                <Payload label="Data" text={text} />
              </section>
              {maySeeDeliveries && (
                <section>
                  <h3>Deliveries</h3>
                  <DeliveryList filter={{ event: id }} />
                </section>
              )}
            </>
          );
        }}
      </ResourceView>
    </Dialog>
  );
}

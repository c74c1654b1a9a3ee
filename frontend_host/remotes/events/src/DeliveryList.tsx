import type { EventDelivery } from "@portal/api-client";
import {
  Button,
  type Column,
  DataTable,
  Dialog,
  Empty,
  Facts,
  formatDuration,
  Pager,
  Payload,
  ResourceView,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useMfe,
  usePages,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { pretty, shortType } from "./format";

interface DeliveryListProps {
  filter: { subscription?: string; event?: string; replay?: string; status?: string | null };
  selected?: ReadonlySet<string>;
  onSelect?: (selected: Set<string>) => void;
  onChanged?: () => void;
}

/** Deliveries of an event or a subscription; one opens with its attempts and can be sent again. */
export function DeliveryList({ filter, selected, onSelect, onChanged }: DeliveryListProps) {
  const { api } = useMfe();
  const [opened, setOpened] = useState<string | null>(null);
  const deliveries = usePages(
    JSON.stringify(filter),
    (cursor, call) => api.deliveries.list({ ...filter, cursor, limit: 25 }, call),
    { live: ["subscriptions"] },
  );
  const columns: Column<EventDelivery>[] = [
    filter.event
      ? { key: "to", title: "To", lead: true, render: (one) => one.subscription_name }
      : { key: "type", title: "Event", lead: true, render: (one) => <code>{shortType(one.event_type)}</code> },
    { key: "status", title: "Status", render: (one) => <StatusBadge status={one.status} /> },
    { key: "attempts", title: "Attempts", align: "end", render: (one) => String(one.attempts) },
    {
      key: "answer",
      title: "Answer",
      render: (one) => one.response_status ?? <span className="truncate excerpt soft small">{one.error || "–"}</span>,
    },
    {
      key: "at",
      title: "When",
      align: "end",
      render: (one) => <Time value={one.delivered_at ?? one.created_at} relative />,
    },
  ];
  return (
    <>
      <ResourceView resource={deliveries}>
        {(page) =>
          page.results.length ? (
            <>
              <DataTable
                label="Deliveries"
                rows={page.results}
                columns={columns}
                rowKey={(one) => one.id}
                onOpen={(one) => setOpened(one.id)}
                selected={selected ? new Set(selected) : undefined}
                onSelect={onSelect}
              />
              <Pager
                hasPrevious={deliveries.hasPrevious}
                hasNext={deliveries.hasNext}
                onPrevious={deliveries.previous}
                onNext={deliveries.next}
              />
            </>
          ) : (
            <Empty icon="inbox" title={filter.event ? "Nobody subscribed to it" : "Nothing here"} />
          )
        }
      </ResourceView>
      {opened && (
        <DeliveryDrawer
          key={opened}
          id={opened}
          onClose={() => setOpened(null)}
          onChanged={() => {
            deliveries.reload();
            onChanged?.();
          }}
        />
      )}
    </>
  );
}

function DeliveryDrawer({ id, onClose, onChanged }: { id: string; onClose: () => void; onChanged: () => void }) {
  const { api, notify } = useMfe();
  const mayReplay = useCan("event:replay");
  const delivery = useResource(`delivery ${id}`, (call) => api.deliveries.get(id, call), { live: ["subscriptions"] });
  const action = useAction({ toast: true });
  const again = async () => {
    const done = await action.run(() => api.deliveries.redeliver(id));
    if (!done) return;
    delivery.set(done);
    notify({ tone: "ok", title: "The delivery is due again." });
    onChanged();
  };
  return (
    <Dialog
      kind="drawer"
      title="Delivery"
      lead={delivery.data && <StatusBadge status={delivery.data.status} />}
      onClose={onClose}
    >
      <ResourceView resource={delivery}>
        {(data) => (
          <>
            <Facts
              items={[
                ["To", data.subscription_name],
                ["Event", <code key="e">{shortType(data.event_type)}</code>],
                ["Subject", data.event_subject],
                ["Event id", <code key="i">{data.event}</code>],
                ["Key", data.lane],
                ["Next attempt", data.status === "failed" && <Time key="n" value={data.next_attempt_at} seconds />],
                ["Error", data.error],
              ]}
            />
            <div className="row">
              <Button icon="refresh" onClick={delivery.reload}>
                Read again
              </Button>
              {mayReplay && ["delivered", "dead", "discarded"].includes(data.status) && (
                <Button tone="primary" busy={action.busy} onClick={again}>
                  Send again
                </Button>
              )}
            </div>
            <section>
              <h3>Attempts</h3>
              {data.attempt_log.length ? (
                <ol className="attempts" reversed>
                  {data.attempt_log.map((attempt) => (
                    <li key={attempt.number}>
                      <span className={`badge ${attempt.ok ? "ok" : "bad"}`}>
                        {attempt.response_status ?? (attempt.ok ? "Taken" : "Failed")}
                      </span>{" "}
                      <Time value={attempt.started_at} seconds /> · {formatDuration(attempt.duration_ms)}
                      {attempt.error && <div className="small soft break">{attempt.error}</div>}
                      {attempt.excerpt && (
                        <Payload label={`Answer to attempt ${attempt.number}`} text={attempt.excerpt} />
                      )}
                    </li>
                  ))}
                </ol>
              ) : (
                <p className="soft">None yet.</p>
              )}
            </section>
            <section>
              <h3>Data</h3>
              <Payload label="Data" text={pretty(data.cloudevent.data)} />
            </section>
          </>
        )}
      </ResourceView>
    </Dialog>
  );
}

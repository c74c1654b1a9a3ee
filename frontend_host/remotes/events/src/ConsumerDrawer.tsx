import type { Consumer, DeadLetter } from "@portal/api-client";
import {
  Button,
  type Column,
  DataTable,
  Dialog,
  Empty,
  Facts,
  formatBytes,
  formatCount,
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
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { healthOf, pretty, shortType } from "./format";

interface DrawerProps {
  id: string;
  onClose: () => void;
  onChanged: () => void;
}

/** One consumer: health, what it takes, and its dead letters. */
export function ConsumerDrawer({ id, onClose, onChanged }: DrawerProps) {
  const { api, notify } = useMfe();
  const mayEdit = useCan("consumer:edit");
  const consumer = useResource(`consumer ${id}`, (call) => api.consumers.get(id, call), { live: ["consumers"] });
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const pause = async () => {
    const saved = await action.run(() => api.consumers.pause(id, ""));
    if (!saved) return;
    consumer.set(saved);
    notify({ tone: "ok", title: "Messages now wait at the broker." });
    onChanged();
  };
  const resume = async () => {
    const saved = await action.run(() => api.consumers.resume(id));
    if (!saved) return;
    consumer.set(saved);
    notify({ tone: "ok", title: "Messages are taken again." });
    onChanged();
  };
  const remove = async (name: string) => {
    const answer = await confirm({
      title: `Delete ${name}?`,
      text: "It takes no more messages. Its events stay, its dead letters go. This cannot be undone.",
      action: "Delete",
      danger: true,
    });
    if (answer === null) return;
    const done = await action.run(async () => {
      await api.consumers.delete(id);
      return true;
    });
    if (!done) return;
    onChanged();
    onClose();
  };
  return (
    <Dialog
      kind="drawer"
      title={consumer.data?.name ?? "Consumer"}
      lead={consumer.data && <StatusBadge status={healthOf(consumer.data)} />}
      onClose={onClose}
    >
      <ResourceView resource={consumer}>
        {(row) => (
          <>
            {row.status_reason && <p className="soft">{row.status_reason}</p>}
            {row.last_error && (
              <p role="alert">
                {row.last_error.message} <span className="soft">{row.last_error.remedy}</span>
              </p>
            )}
            <ConsumerFacts row={row} />
            {mayEdit && (
              <div className="row wrap">
                {row.status === "active" && (
                  <Button icon="stop" busy={action.busy} onClick={pause}>
                    Pause
                  </Button>
                )}
                {(row.status === "paused" || row.failures > 0) && (
                  <Button icon="run" tone="primary" busy={action.busy} onClick={resume}>
                    {row.status === "paused" ? "Resume" : "Try now"}
                  </Button>
                )}
                <Button icon="trash" tone="danger" onClick={() => remove(row.name)}>
                  Delete
                </Button>
              </div>
            )}
          </>
        )}
      </ResourceView>
      <Letters
        id={id}
        onChanged={() => {
          consumer.reload();
          onChanged();
        }}
      />
    </Dialog>
  );
}

function ConsumerFacts({ row }: { row: Consumer }) {
  const { locale } = useMfe();
  const count = (value: number) => formatCount(value, locale);
  return (
    <Facts
      items={[
        ["Takes", <code key="s">{row.source}</code>],
        ["Connection", `${row.connection} (${row.environment})`],
        ["Publishes", <code key="t">{shortType(row.event_type)}</code>],
        ["Only with", row.filter ? <code key="f">{row.filter}</code> : null],
        ["Order by", row.key_expression ? <code key="k">{row.key_expression}</code> : null],
        ["At most", `${count(row.max_per_second)} a second`],
        ["Connected since", row.connected_at && <Time key="c" value={row.connected_at} relative />],
        [
          "Next attempt",
          row.failures > 0 && row.next_attempt_at ? <Time key="n" value={row.next_attempt_at} seconds /> : null,
        ],
        ["Waiting at the broker", row.lag === null ? null : count(row.lag)],
        ["Position", row.position ? <code key="p">{row.position}</code> : null],
        ["Published", `${count(row.published)} of ${count(row.received)} taken`],
        ["Known already", row.duplicates ? count(row.duplicates) : null],
        ["Left out", row.filtered ? count(row.filtered) : null],
      ]}
    />
  );
}

function Letters({ id, onChanged }: { id: string; onChanged: () => void }) {
  const { api, notify, locale } = useMfe();
  const mayReplay = useCan("event:replay");
  const mayInspect = useCan("consumer:inspect");
  const [opened, setOpened] = useState<string | null>(null);
  const action = useAction({ toast: true });
  const letters = usePages(
    `letters ${id}`,
    (cursor, call) => api.consumers.letters(id, { status: "dead", cursor, limit: 25 }, call),
    { live: ["consumers"] },
  );
  const columns: Column<DeadLetter>[] = [
    { key: "reason", title: "Reason", lead: true, render: (one) => <span className="break">{one.reason}</span> },
    { key: "size", title: "Size", align: "end", render: (one) => formatBytes(one.size_bytes, locale) },
    { key: "at", title: "Taken", align: "end", render: (one) => <Time value={one.created_at} relative /> },
  ];
  const redeliverAll = async () => {
    const done = await action.run(() => api.consumers.redeliverAll(id));
    if (!done) return;
    const left = done.dead ? ` ${formatCount(done.dead, locale)} still cannot become events.` : "";
    notify({
      tone: done.redelivered ? "ok" : "bad",
      title: `${formatCount(done.redelivered, locale)} became events.${left}`,
    });
    letters.reload();
    onChanged();
  };
  return (
    <section>
      <h3>Dead letters</h3>
      <ResourceView resource={letters}>
        {(page) =>
          page.results.length ? (
            <>
              {mayReplay && (
                <div className="row wrap">
                  <Button icon="refresh" busy={action.busy} onClick={redeliverAll}>
                    Try all again
                  </Button>
                </div>
              )}
              <DataTable
                label="Dead letters"
                rows={page.results}
                columns={columns}
                rowKey={(one) => one.id}
                onOpen={mayInspect ? (one) => setOpened(one.id) : undefined}
              />
              <Pager
                hasPrevious={letters.hasPrevious}
                hasNext={letters.hasNext}
                onPrevious={letters.previous}
                onNext={letters.next}
              />
            </>
          ) : (
            <Empty icon="check" title="Every message became an event" />
          )
        }
      </ResourceView>
      {opened && (
        <LetterDialog
          key={opened}
          id={opened}
          onClose={() => setOpened(null)}
          onSettled={() => {
            setOpened(null);
            letters.reload();
            onChanged();
          }}
        />
      )}
    </section>
  );
}

function LetterDialog({ id, onClose, onSettled }: { id: string; onClose: () => void; onSettled: () => void }) {
  const { api, notify } = useMfe();
  const mayReplay = useCan("event:replay");
  const letter = useResource(`letter ${id}`, (call) => api.deadLetters.get(id, call));
  const action = useAction({ toast: true });
  const settle = async (act: () => Promise<DeadLetter>, title: string) => {
    const done = await action.run(act);
    if (!done) return;
    notify({ tone: "ok", title });
    onSettled();
  };
  return (
    <Dialog title="Dead letter" wide onClose={onClose}>
      <ResourceView resource={letter}>
        {(row) => (
          <>
            <p role="alert">{row.reason}</p>
            <Facts
              items={[
                ["Code", <code key="c">{row.code}</code>],
                ["From", <code key="s">{row.source}</code>],
                ["Message", row.message_id ? <code key="m">{row.message_id}</code> : null],
                ["Position", row.position ? <code key="p">{row.position}</code> : null],
                ["Key", row.key || null],
                ["Content", row.content_type || null],
                ["Sent", row.sent_at && <Time key="t" value={row.sent_at} seconds />],
                ...Object.entries(row.headers).map(([name, value]): [string, string] => [name, value]),
              ]}
            />
            <Payload label={row.is_complete ? "Body" : "Beginning of the body"} text={pretty(row.body)} />
            {mayReplay && (
              <div className="row wrap">
                <Button
                  icon="refresh"
                  tone="primary"
                  busy={action.busy}
                  disabled={!row.is_complete}
                  onClick={() => settle(() => api.deadLetters.redeliver(id), "It became an event.")}
                >
                  Try again
                </Button>
                <Button
                  icon="trash"
                  tone="danger"
                  busy={action.busy}
                  onClick={() => settle(() => api.deadLetters.discard(id), "The letter was discarded.")}
                >
                  Discard
                </Button>
              </div>
            )}
          </>
        )}
      </ResourceView>
    </Dialog>
  );
}

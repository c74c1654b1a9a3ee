import type { Capture } from "@portal/api-client";
import {
  Button,
  Dialog,
  Facts,
  formatBytes,
  formatCount,
  Link,
  Notice,
  Progress,
  ResourceView,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useResource,
} from "@portal/ui";
import { progressOf, stateOf, walState } from "./capture";

interface CaptureDrawerProps {
  id: string;
  onClose: () => void;
  onChanged: () => void;
}

/** How one capture is, and what can be done with it. */
export function CaptureDrawer({ id, onClose, onChanged }: CaptureDrawerProps) {
  const { api, notify } = useMfe();
  const mayEdit = useCan("capture:edit");
  const capture = useResource(`capture ${id}`, (call) => api.captures.get(id, call), { live: [`capture:${id}`] });
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const move = async (call: () => Promise<Capture>, said: string) => {
    const saved = await action.run(call);
    if (!saved) return;
    capture.set(saved);
    notify({ tone: "ok", title: said });
    onChanged();
  };
  const restart = async (row: Capture) => {
    const answer = await confirm({
      title: `Restart ${row.name}?`,
      text: "It makes a new slot and publishes every row of its tables again.",
      action: "Restart",
    });
    if (answer !== null) await move(() => api.captures.restart(id), "The capture begins again.");
  };
  const remove = async (row: Capture) => {
    const stuck = row.status === "deleting";
    const answer = await confirm({
      title: stuck ? `Forget ${row.name}?` : `Delete ${row.name}?`,
      text: stuck
        ? `Its source cannot be reached. The slot ${row.slot} stays there and keeps log until an administrator drops it.`
        : "Slot and publication are dropped at the source. The events stay in the log.",
      action: stuck ? "Forget" : "Delete",
      danger: true,
    });
    if (answer === null) return;
    const done = await action.run(async () => {
      await api.captures.remove(id, stuck);
      return true;
    });
    onChanged();
    if (done) onClose();
    else capture.reload();
  };
  return (
    <Dialog
      kind="drawer"
      title={capture.data?.name ?? "Change capture"}
      lead={capture.data && <StatusBadge status={stateOf(capture.data)} />}
      onClose={onClose}
    >
      <ResourceView resource={capture}>
        {(row) => (
          <>
            <Trouble row={row} />
            <Figures row={row} />
            <div className="row wrap">
              <Button
                icon="refresh"
                busy={action.busy}
                onClick={() => move(() => api.captures.measure(id), "Measured.")}
              >
                Measure now
              </Button>
              {mayEdit && row.status === "running" && (
                <Button
                  icon="stop"
                  busy={action.busy}
                  onClick={() => move(() => api.captures.pause(id), "Paused. The source keeps its log meanwhile.")}
                >
                  Pause
                </Button>
              )}
              {mayEdit && (row.status === "paused" || (row.status === "failed" && !row.problem?.needs_restart)) && (
                <Button
                  icon="run"
                  tone="primary"
                  busy={action.busy}
                  onClick={() => move(() => api.captures.resume(id), "It goes on where it stopped.")}
                >
                  Resume
                </Button>
              )}
              {mayEdit && row.status !== "deleting" && (
                <Button
                  icon="undo"
                  tone={row.problem?.needs_restart ? "primary" : undefined}
                  busy={action.busy}
                  onClick={() => restart(row)}
                >
                  Restart
                </Button>
              )}
              {mayEdit && (
                <Button icon="trash" tone="danger" busy={action.busy} onClick={() => remove(row)}>
                  {row.status === "deleting" ? "Forget" : "Delete"}
                </Button>
              )}
            </div>
            <section>
              <h3>Tables</h3>
              <ul className="capture-tables">
                {row.tables.map((table) => (
                  <li key={table.name}>
                    <code>{table.name}</code>
                    <span className="small muted">
                      key {table.keys.join(", ")}; {table.columns.length} columns
                    </span>
                  </li>
                ))}
              </ul>
            </section>
          </>
        )}
      </ResourceView>
    </Dialog>
  );
}

function Trouble({ row }: { row: Capture }) {
  const reasons = row.health.reasons ?? [];
  return (
    <>
      {row.problem && (
        <Notice tone={row.status === "failed" ? "bad" : "warn"} title={row.problem.message}>
          {row.status === "failed" ? row.problem.remedy : "It tries again by itself."}
        </Notice>
      )}
      {row.alarm !== "ok" && reasons.length > 0 && (
        <Notice tone={row.alarm === "critical" ? "bad" : "warn"} title="The source needs attention">
          {reasons.join(" ")}
        </Notice>
      )}
    </>
  );
}

function Figures({ row }: { row: Capture }) {
  const { locale } = useMfe();
  const { health } = row;
  const share = health.retained_bytes === undefined ? 0 : health.retained_bytes / row.max_wal_bytes;
  const limit = row.drop_at_limit ? "then the slot is dropped" : "then only a warning is given";
  return (
    <>
      <div className="capture-meter">
        <span className="small">
          Log kept at the source: {formatBytes(health.retained_bytes, locale)} of{" "}
          {formatBytes(row.max_wal_bytes, locale)}, {limit}
        </span>
        <Progress
          share={share}
          tone={row.alarm === "ok" ? "ok" : row.alarm === "critical" ? "bad" : "warn"}
          label="Share of the limit of log kept at the source"
        />
      </div>
      <Facts
        items={[
          [
            "Connection",
            <Link key="c" to={`/connections/${row.connection}`}>
              {row.connection_name}
            </Link>,
          ],
          ["Rows that were there", `${progressOf(row)}, ${formatCount(row.rows_read, locale)} rows`],
          ["Changes", formatCount(row.changes, locale)],
          ["Behind", health.lag_s === undefined ? null : `${health.lag_s} s, ${formatBytes(health.lag_bytes, locale)}`],
          ["Last event", <Time key="e" value={row.last_event_at} relative />],
          ["Last change there", <Time key="l" value={row.last_commit_at} seconds />],
          ["Log at the source", walState(health.wal_status)],
          [
            "Slot",
            <code key="s" className="break">
              {row.slot}
            </code>,
          ],
          ["Publication", row.own_publication ? "made by the portal" : <code key="p">{row.publication}</code>],
          ["Captured to", <code key="p">{row.position}</code>],
          ["Measured", <Time key="m" value={health.measured_at ?? null} relative />],
        ]}
      />
    </>
  );
}

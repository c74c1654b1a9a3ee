import type { Circuit, Connection } from "@portal/api-client";
import { Button, Notice, Time, useAction, useCan, useMfe } from "@portal/ui";

/** Nothing while the system is called as usual. */
export function CircuitBadge({ circuit }: { circuit: Circuit }) {
  if (circuit.state === "closed") return null;
  return circuit.state === "open" ? (
    <span className="badge bad">Calls stopped</span>
  ) : (
    <span className="badge warn live">Trying again</span>
  );
}

interface NoticeProps {
  connection: Connection;
  busy: boolean;
  onTry?: () => void;
  onChanged: (connection: Connection) => void;
}

/** Why nothing is called at the moment, until when, and what a person can do about it. */
export function CircuitNotice({ connection, busy, onTry, onChanged }: NoticeProps) {
  const { api, notify } = useMfe();
  const mayControl = useCan("connection:control");
  const action = useAction({ toast: true });
  const { circuit } = connection;
  if (circuit.state === "closed") return null;
  const reset = async () => {
    const saved = await action.run(() => api.connections.resetCircuit(connection.id));
    if (!saved) return;
    notify({ tone: "ok", title: `${connection.name} is called again.` });
    onChanged(saved);
  };
  return (
    <Notice tone="bad" title={`Calls are stopped after ${circuit.failures} failures in a row.`}>
      <span className="stack gap-3">
        {circuit.state === "half_open" ? (
          <span>One call asks at this moment whether it works again.</span>
        ) : (
          <span>
            Steps wait. Next try: <Time value={circuit.next_probe_at} seconds />
          </span>
        )}
        {circuit.last_failure && (
          <span className="small">
            Last error, <Time value={circuit.last_failure_at} relative />:{" "}
            <span className="break">{circuit.last_failure.message}</span> {circuit.last_failure.remedy}
          </span>
        )}
        <span className="row wrap">
          {onTry && (
            <Button small icon="refresh" busy={busy} onClick={onTry}>
              Try now
            </Button>
          )}
          {mayControl && (
            <Button small busy={action.busy} onClick={reset}>
              Allow calls
            </Button>
          )}
        </span>
      </span>
    </Notice>
  );
}

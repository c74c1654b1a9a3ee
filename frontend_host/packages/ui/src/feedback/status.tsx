interface ProgressProps {
  /** 0 to 1; null when it cannot be told. */
  share: number | null;
  tone?: "ok" | "bad" | "warn";
  label: string;
}

export function Progress({ share, tone, label }: ProgressProps) {
  const percent = share === null ? undefined : Math.round(Math.min(1, Math.max(0, share)) * 100);
  return (
    <div
      className={`progress ${tone ?? ""} ${percent === undefined ? "unknown" : ""}`}
      role="progressbar"
      aria-label={label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <i style={percent === undefined ? undefined : { width: `${percent}%` }} />
    </div>
  );
}

const STATUS: Record<string, [tone: string, label: string]> = {
  queued: ["", "Queued"],
  pending: ["", "Waiting"],
  waiting: ["info", "Waiting"],
  parked: ["info", "Parked"],
  ready: ["", "Ready"],
  running: ["info live", "Running"],
  cancelling: ["warn live", "Cancelling"],
  succeeded: ["ok", "Succeeded"],
  failed: ["bad", "Failed"],
  cancelled: ["", "Cancelled"],
  skipped: ["", "Skipped"],
  new: ["", "Not tested"],
  ok: ["ok", "Working"],
  failing: ["bad", "Failing"],
  open: ["warn", "Open"],
  corrected: ["info", "Corrected"],
  replayed: ["ok", "Replayed"],
  discarded: ["", "Discarded"],
  green: ["ok", "Reconciled"],
  amber: ["warn", "To review"],
  red: ["bad", "Differs"],
  signed: ["info", "Signed off"],
  draft: ["", "Draft"],
  active: ["ok", "Active"],
  paused: ["warn", "Paused"],
  disabled: ["bad", "Disabled"],
  delivering: ["info live", "Sending"],
  delivered: ["ok", "Delivered"],
  dead: ["bad", "Dead letter"],
  redelivered: ["ok", "Redelivered"],
  connected: ["ok", "Connected"],
  connecting: ["info live", "Connecting"],
  answered: ["ok", "Answered"],
  expired: ["bad", "Expired"],
  started: ["ok", "Started"],
  published: ["ok", "Published"],
  late: ["bad", "Deadline missed"],
  sent: ["info", "Sent"],
  confirmed: ["ok", "Confirmed"],
  refused: ["bad", "Refused"],
  unknown: ["warn", "Not known"],
  reading: ["info live", "Reading"],
  streaming: ["ok live", "Following"],
  retrying: ["warn", "Trying again"],
  warning: ["warn", "Warning"],
  critical: ["bad", "Critical"],
  deleting: ["warn", "Deleting"],
};

/** The status of a run, stage, connection, row, reconciliation, subscription, delivery, task or effect; never by colour alone. */
export function StatusBadge({ status }: { status: string }) {
  const [tone, label] = STATUS[status] ?? ["", status];
  return <span className={tone ? `badge ${tone}` : "badge"}>{label}</span>;
}

/** Change captures: tables whose changes become events. */

export interface CaptureTable {
  name: string;
  keys: string[];
  columns: { name: string; type: string }[];
}

/** How the replication slot was when it was last measured; empty before the first time. */
export interface CaptureHealth {
  measured_at?: string;
  failed_at?: string;
  error?: string;
  wal_status?: string;
  active?: boolean;
  retained_bytes?: number;
  safe_bytes?: number | null;
  lag_bytes?: number;
  lag_s?: number;
  reasons?: string[];
}

export interface Capture {
  id: string;
  name: string;
  connection: string;
  connection_name: string;
  connection_slug: string;
  tables: CaptureTable[];
  slot: string;
  publication: string;
  own_publication: boolean;
  with_snapshot: boolean;
  status: "running" | "paused" | "failed" | "deleting";
  phase: "new" | "snapshot" | "streaming";
  position: string;
  tables_read: number;
  rows_read: number;
  changes: number;
  last_commit_at: string | null;
  last_event_at: string | null;
  retry_at: string | null;
  problem: { code: string; message: string; remedy: string; needs_restart: boolean; at: string } | null;
  health: CaptureHealth;
  alarm: "ok" | "warning" | "critical";
  warn_wal_bytes: number;
  max_wal_bytes: number;
  drop_at_limit: boolean;
  warn_lag_s: number;
  created_at: string;
}

export interface CaptureInput {
  name: string;
  connection: string;
  tables: string[];
  publication?: string;
  with_snapshot?: boolean;
  warn_wal_bytes?: number;
  max_wal_bytes?: number;
  drop_at_limit?: boolean;
  warn_lag_s?: number;
}

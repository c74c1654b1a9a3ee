import type { Capture } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  formatBytes,
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
import { CaptureDrawer } from "./CaptureDrawer";
import { CaptureForm } from "./CaptureForm";
import { stateOf } from "./capture";

/** Tables of other databases whose changes become events. */
export function CaptureSection() {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("capture:edit");
  const [creating, setCreating] = useState(false);
  const opened = params.get("capture");
  const rows = usePages("captures", (cursor, call) => api.captures.list({ cursor, limit: 25 }, call), {
    live: ["captures"],
  });
  const columns: Column<Capture>[] = [
    { key: "name", title: "Name", lead: true, render: (row) => row.name },
    { key: "state", title: "State", render: (row) => <StatusBadge status={stateOf(row)} /> },
    {
      key: "tables",
      title: "Tables",
      render: (row) => (
        <span className="truncate excerpt small">
          {row.connection_name}: {row.tables.map((table) => table.name).join(", ")}
        </span>
      ),
    },
    {
      key: "lag",
      title: "Behind",
      align: "end",
      render: (row) => (row.health.lag_s === undefined ? "–" : `${formatCount(row.health.lag_s, locale)} s`),
    },
    {
      key: "retained",
      title: "Log kept",
      align: "end",
      render: (row) => (
        <span className={row.alarm === "ok" ? "muted" : "bad-number"}>
          {formatBytes(row.health.retained_bytes, locale)}
        </span>
      ),
    },
    { key: "last", title: "Last event", align: "end", render: (row) => <Time value={row.last_event_at} relative /> },
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
              New capture
            </Button>
          </span>
        )}
      </div>
      <PagedTable
        resource={rows}
        label="Change captures"
        columns={columns}
        rowKey={(row) => row.id}
        onOpen={(row) => setParams({ capture: row.id })}
        empty={
          <Empty icon="database" title="No change capture yet">
            Choose tables of a PostgreSQL connection: each row that changes there becomes an event here.
          </Empty>
        }
      />
      {creating && (
        <CaptureForm
          onClose={() => setCreating(false)}
          onSaved={(row) => {
            setCreating(false);
            rows.reload();
            setParams({ capture: row.id });
          }}
        />
      )}
      {opened && (
        <CaptureDrawer key={opened} id={opened} onClose={() => setParams({ capture: null })} onChanged={rows.reload} />
      )}
    </>
  );
}

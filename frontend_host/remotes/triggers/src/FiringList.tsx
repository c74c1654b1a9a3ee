import type { Firing, Trigger } from "@portal/api-client";
import {
  type Column,
  Empty,
  formatCount,
  Link,
  PagedTable,
  Select,
  StatusBadge,
  Time,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";

const STATUSES = [
  { key: "all", label: "All results" },
  { key: "started", label: "Started" },
  { key: "published", label: "Published" },
  { key: "skipped", label: "Left out" },
  { key: "failed", label: "Failed" },
  { key: "pending", label: "Waiting" },
] as const;

/** What came of each moment or event, newest first. */
export function FiringList({ trigger }: { trigger: Trigger }) {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const wanted = params.get("firings");
  const status = STATUSES.find((one) => one.key === wanted)?.key ?? "all";
  const rows = usePages(
    `firings ${trigger.id} ${status}`,
    (cursor, call) =>
      api.triggers.firings(trigger.id, { status: status === "all" ? null : status, cursor, limit: 25 }, call),
    { live: [`trigger:${trigger.id}`] },
  );
  const statuses = STATUSES.filter((one) => one.key !== "published" || trigger.kind === "poll");
  const columns: Column<Firing>[] = [
    { key: "due", title: "Due", lead: true, render: (row) => <Time value={row.due_at} seconds /> },
    { key: "status", title: "Result", render: (row) => <StatusBadge status={row.status} /> },
    {
      key: "why",
      title: "Why",
      render: (row) =>
        row.error ? (
          <div className="why break small">
            {row.error.message} {row.missed > 1 && `(${formatCount(row.missed, locale)} moments)`}
            {row.error.remedy && <div className="sub">{row.error.remedy}</div>}
          </div>
        ) : null,
    },
    {
      key: "run",
      title: "Run",
      render: (row) => (row.run ? <Link to={`/runs/${row.run}`}>Open the run</Link> : null),
    },
    {
      key: "again",
      title: "Next attempt",
      align: "end",
      render: (row) => (row.next_attempt_at ? <Time value={row.next_attempt_at} seconds /> : null),
    },
  ];
  if (trigger.kind === "poll")
    columns.splice(2, 0, {
      key: "rows",
      title: "Rows",
      align: "end",
      render: (row) => formatCount(row.rows, locale),
    });
  return (
    <section aria-label="Firings" className="stack">
      <div className="toolbar">
        <h2>Firings</h2>
        <span className="push">
          <Select
            aria-label="Result"
            value={status}
            onChange={(next) => setParams({ firings: next === "all" ? null : next })}
            options={statuses.map(({ key, label }) => ({ value: key, label }))}
          />
        </span>
      </div>
      <PagedTable
        resource={rows}
        label="Firings"
        columns={columns}
        rowKey={(row) => row.id}
        empty={
          <Empty icon="clock" title={status === "all" ? "It has not fired yet" : "No firing of this kind"}>
            Each moment, event or batch of rows is kept here for ninety days.
          </Empty>
        }
      />
    </section>
  );
}

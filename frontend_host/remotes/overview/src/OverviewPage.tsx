import type { FailingConnection, Overview, RecentRun } from "@portal/api-client";
import {
  Card,
  type Column,
  DataTable,
  Empty,
  formatCompact,
  formatCount,
  formatDuration,
  Icon,
  type IconName,
  Link,
  Page,
  Progress,
  ResourceView,
  Skeleton,
  StatusBadge,
  Time,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
import { Checklist } from "./Checklist";

export function OverviewPage() {
  const { api, tenant } = useMfe();
  const overview = useResource("overview", api.overview, { live: ["runs", "connections", "flows", "quarantines"] });
  return (
    <Page title="Overview" lead={`What moves in ${tenant.name}, and what needs somebody.`}>
      <ResourceView resource={overview} skeleton={<OverviewSkeleton />}>
        {(data) => <OverviewBody data={data} />}
      </ResourceView>
    </Page>
  );
}

function OverviewBody({ data }: { data: Overview }) {
  const { counts, recent_runs, failing_connections } = data;
  const seesRuns = useCan("run:view");
  const started = counts.flows > 0 && recent_runs.length > 0;
  return (
    <>
      {!started && <Checklist counts={counts} hasRun={recent_runs.length > 0} />}
      <div className="tiles">
        <Tile label="Flows" icon="flow" value={counts.flows} to="/flows" />
        <Tile label="Connections" icon="plug" value={counts.connections} to="/connections" />
        <Tile label="Runs, 24 h" icon="run" value={counts.runs_24h} to="/runs" />
        <Tile
          label="Failed, 24 h"
          icon="error"
          value={counts.failed_24h}
          to="/runs?status=failed"
          tone={counts.failed_24h ? "bad" : undefined}
        />
        <Tile
          label="Rows in quarantine"
          icon="shield"
          value={counts.quarantine_open}
          to="/quarantine"
          tone={counts.quarantine_open ? "warn" : undefined}
        />
      </div>
      <div className="columns">
        <Card
          title="Recent runs"
          flush
          actions={
            <Link to="/runs" className="small">
              All runs
            </Link>
          }
        >
          {recent_runs.length ? (
            <RecentRuns runs={recent_runs} />
          ) : (
            <Empty icon="run" title={seesRuns ? "Nothing has run yet" : "Runs are not shown to you"}>
              Runs appear here the moment they start.
            </Empty>
          )}
        </Card>
        <Card title="Connections that fail" flush>
          <FailingConnections connections={failing_connections} />
        </Card>
      </div>
    </>
  );
}

function Tile({
  label,
  icon,
  value,
  to,
  tone,
}: {
  label: string;
  icon: IconName;
  value: number;
  to: string;
  tone?: "bad" | "warn";
}) {
  const { locale } = useMfe();
  return (
    <Link to={to} className={`tile ${tone ?? ""}`}>
      <span className="label">
        <Icon name={icon} size={15} /> {label}
      </span>
      <span className="value" title={formatCount(value, locale)}>
        {value < 100_000 ? formatCount(value, locale) : formatCompact(value, locale)}
      </span>
    </Link>
  );
}

function RecentRuns({ runs }: { runs: RecentRun[] }) {
  const { locale } = useMfe();
  const columns: Column<RecentRun>[] = [
    { key: "flow", title: "Flow", lead: true, render: (run) => run.flow.name },
    { key: "status", title: "Status", render: (run) => <StatusBadge status={run.status} /> },
    {
      key: "rows",
      title: "Rows written",
      align: "end",
      render: (run) =>
        run.status === "running" ? (
          <div className="run-progress">
            <Progress share={null} label={`Progress of ${run.flow.name}`} />
            <span className="xs muted">{formatCount(run.progress.rows_read, locale)} read</span>
          </div>
        ) : (
          formatCount(run.progress.rows_written, locale)
        ),
    },
    {
      key: "quarantined",
      title: "Quarantined",
      align: "end",
      render: (run) => formatCount(run.progress.rows_quarantined, locale),
    },
    { key: "took", title: "Took", align: "end", render: (run) => formatDuration(run.duration_ms) },
    {
      key: "at",
      title: "Started",
      align: "end",
      render: (run) => <Time value={run.started_at ?? run.created_at} relative />,
    },
  ];
  return (
    <DataTable
      label="Recent runs"
      rows={runs}
      columns={columns}
      rowKey={(run) => run.id}
      href={(run) => `/runs/${run.id}`}
    />
  );
}

function FailingConnections({ connections }: { connections: FailingConnection[] }) {
  if (!connections.length)
    return (
      <Empty icon="check" title="All is well">
        No connection failed its last check.
      </Empty>
    );
  return (
    <ul className="list">
      {connections.map((connection) => (
        <li key={connection.id}>
          <div className="row between">
            <Link to={`/connections/${connection.id}`} className="strong truncate">
              {connection.name}
            </Link>
            <span className="xs muted">
              <Time value={connection.last_checked_at} relative />
            </span>
          </div>
          <span className="small soft">{connection.last_check?.message}</span>
          {connection.last_check?.remedy && <span className="xs muted">{connection.last_check.remedy}</span>}
        </li>
      ))}
    </ul>
  );
}

function OverviewSkeleton() {
  return (
    <>
      <div className="tiles" role="status" aria-label="Loading">
        {Array.from({ length: 5 }, (_, at) => (
          <div key={at} className="tile">
            <Skeleton lines={2} height={20} />
          </div>
        ))}
      </div>
      <Card>
        <Skeleton lines={6} height={18} />
      </Card>
    </>
  );
}

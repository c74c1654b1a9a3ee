import { RUN_STATUSES, type Run } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  formatCount,
  formatDuration,
  Link,
  Page,
  PagedTable,
  Progress,
  Select,
  StatusBadge,
  Time,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";

export function RunsPage() {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const filter = {
    flow: params.get("flow"),
    status: params.get("status"),
    environment: params.get("environment"),
    sla: params.get("sla"),
  };
  const runs = usePages(
    JSON.stringify(filter),
    (cursor, call) => api.runs.list({ ...filter, cursor, limit: 25 }, call),
    { live: ["runs"] },
  );
  const flows = useResource("flows", (call) => api.flows.list({ limit: 200 }, call));
  const environments = useResource("environments", api.environments.list);
  const filtered = Object.values(filter).some(Boolean);
  const columns: Column<Run>[] = [
    { key: "flow", title: "Flow", lead: true, render: (run) => run.flow.name },
    {
      key: "status",
      title: "Status",
      render: (run) => (
        <span className="row gap-1 wrap">
          <StatusBadge status={run.status} />
          {run.sla_missed_at && <StatusBadge status="late" />}
        </span>
      ),
    },
    { key: "environment", title: "Environment", render: (run) => run.environment },
    {
      key: "mode",
      title: "Mode",
      render: (run) =>
        `${run.kind === "load" ? run.mode : run.kind} · ${run.version === null || run.version === "draft" ? "draft" : `v${run.version}`}`,
    },
    {
      key: "progress",
      title: "Read",
      align: "end",
      render: (run) =>
        run.status === "running" || run.status === "cancelling" ? (
          <div className="mini-progress">
            <Progress share={run.progress.share} label={`Progress of ${run.flow.name}`} />
            <span className="xs muted">{formatCount(run.progress.rows_read, locale)}</span>
          </div>
        ) : (
          formatCount(run.progress.rows_read, locale)
        ),
    },
    { key: "written", title: "Written", align: "end", render: (run) => formatCount(run.progress.rows_written, locale) },
    {
      key: "quarantined",
      title: "Quarantined",
      align: "end",
      render: (run) => (
        <span className={run.progress.rows_quarantined ? "warn-number" : "muted"}>
          {formatCount(run.progress.rows_quarantined, locale)}
        </span>
      ),
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
    <Page title="Runs" lead="Every load and process, while it runs and afterwards.">
      <div className="toolbar">
        <Select
          aria-label="Flow"
          value={filter.flow ?? ""}
          onChange={(flow) => setParams({ flow })}
          options={[
            { value: "", label: "All flows" },
            ...(flows.data?.results ?? []).map((flow) => ({ value: flow.id, label: flow.name })),
          ]}
        />
        <Select
          aria-label="Status"
          value={filter.status ?? ""}
          onChange={(status) => setParams({ status })}
          options={[
            { value: "", label: "Any status" },
            ...RUN_STATUSES.map((status) => ({
              value: status,
              label: status.replace(/^./, (letter) => letter.toUpperCase()),
            })),
          ]}
        />
        <Select
          aria-label="Environment"
          value={filter.environment ?? ""}
          onChange={(environment) => setParams({ environment })}
          options={[
            { value: "", label: "All environments" },
            ...(environments.data?.results ?? []).map((one) => ({ value: one.slug, label: one.name || one.slug })),
          ]}
        />
        <Select
          aria-label="Deadline"
          value={filter.sla ?? ""}
          onChange={(sla) => setParams({ sla })}
          options={[
            { value: "", label: "Any deadline" },
            { value: "missed", label: "Missed" },
            { value: "watched", label: "Still in time" },
          ]}
        />
        {filtered && (
          <Button tone="ghost" onClick={() => setParams({ flow: null, status: null, environment: null, sla: null })}>
            Clear
          </Button>
        )}
      </div>
      <PagedTable
        resource={runs}
        label="Runs"
        columns={columns}
        rowKey={(run) => run.id}
        href={(run) => `/runs/${run.id}`}
        empty={
          filtered ? (
            <Empty icon="filter" title="No run matches">
              Change or clear the filters.
            </Empty>
          ) : (
            <Empty
              icon="run"
              title="Nothing has run yet"
              actions={
                <Link to="/flows" className="btn primary">
                  Choose a flow
                </Link>
              }
            >
              Start a flow and watch it here.
            </Empty>
          )
        }
      />
    </Page>
  );
}

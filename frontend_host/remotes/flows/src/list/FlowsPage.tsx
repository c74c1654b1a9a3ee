import type { Flow } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  ErrorNotice,
  Page,
  PagedTable,
  SearchInput,
  Select,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";
import { CreateFlowDialog } from "./CreateFlowDialog";
import { CreateProcessDialog } from "./CreateProcessDialog";

export function FlowsPage() {
  const { api, notify } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("flow:edit");
  const search = params.get("search") ?? "";
  const archived = params.get("archived") === "true";
  const action = useAction();
  const flows = usePages(
    `${search} ${archived}`,
    (cursor, call) => api.flows.list({ search, archived, cursor, limit: 25 }, call),
    {
      live: ["flows", "runs"],
    },
  );
  const restore = async (flow: Flow) => {
    if (await action.run(() => api.flows.restore(flow.id))) {
      notify({ tone: "ok", title: `${flow.name} is back.` });
      flows.reload();
    }
  };
  const columns: Column<Flow>[] = [
    {
      key: "name",
      title: "Name",
      lead: true,
      render: (flow) => (
        <>
          {flow.name} {flow.paused_at && <StatusBadge status="paused" />}
        </>
      ),
    },
    {
      key: "path",
      title: "From and to",
      render: (flow) =>
        flow.source?.entity ? (
          <span className="soft break">
            {flow.source.connection} · {flow.source.entity} → {flow.target?.entity}
          </span>
        ) : flow.kind === "process" ? (
          <span className="badge plain">Process</span>
        ) : (
          <span className="muted">–</span>
        ),
    },
    {
      key: "version",
      title: "Version",
      render: (flow) =>
        flow.latest_version ? (
          <span className="num">v{flow.latest_version.number}</span>
        ) : (
          <span className="muted">draft only</span>
        ),
    },
    {
      key: "deployed",
      title: "Deployed",
      render: (flow) =>
        flow.deployments.length ? (
          <span className="row gap-1 wrap">
            {flow.deployments.map((one) => (
              <span key={one.environment} className="badge plain">
                {one.environment} v{one.version}
              </span>
            ))}
          </span>
        ) : (
          <span className="muted">–</span>
        ),
    },
    {
      key: "problems",
      title: "Draft",
      render: (flow) =>
        flow.draft_problems_count ? (
          <span className="badge warn">
            {flow.draft_problems_count} {flow.draft_problems_count === 1 ? "problem" : "problems"}
          </span>
        ) : (
          <span className="badge ok">Valid</span>
        ),
    },
    {
      key: "run",
      title: "Last run",
      render: (flow) =>
        flow.last_run ? <StatusBadge status={flow.last_run.status} /> : <span className="muted">never</span>,
    },
    { key: "at", title: "Changed", align: "end", render: (flow) => <Time value={flow.updated_at} relative /> },
  ];
  if (archived && mayEdit)
    columns.push({
      key: "restore",
      title: "",
      align: "end",
      render: (flow) => (
        <Button small busy={action.busy} onClick={() => restore(flow)}>
          Restore
        </Button>
      ),
    });
  const create = mayEdit && (
    <>
      <Button icon="plus" onClick={() => setParams({ create: "process" })}>
        New process
      </Button>
      <Button tone="primary" icon="plus" onClick={() => setParams({ create: "1" })}>
        New flow
      </Button>
    </>
  );
  return (
    <Page
      title="Flows"
      lead="Loads from a source through a mapping into the warehouse, and processes of steps."
      actions={create}
    >
      <div className="toolbar">
        <SearchInput value={search} onChange={(value) => setParams({ search: value })} label="Search flows" />
        <Select
          aria-label="Which flows"
          value={archived ? "true" : ""}
          onChange={(value) => setParams({ archived: value || null })}
          options={[
            { value: "", label: "In use" },
            { value: "true", label: "Archived" },
          ]}
        />
        <ErrorNotice error={action.error} />
      </div>
      <PagedTable
        resource={flows}
        label="Flows"
        columns={columns}
        rowKey={(flow) => flow.id}
        href={archived ? undefined : (flow) => `/flows/${flow.id}`}
        empty={
          archived ? (
            <Empty icon="search" title="Nothing is archived" />
          ) : search ? (
            <Empty icon="search" title={`No flow matches “${search}”`} />
          ) : (
            <Empty icon="flow" title="No flow yet" actions={create}>
              Pick an entity of a connection; a first mapping is suggested.
            </Empty>
          )
        }
      />
      {params.get("create") === "process" && mayEdit && (
        <CreateProcessDialog onClose={() => setParams({ create: null })} />
      )}
      {params.get("create") === "1" && mayEdit && (
        <CreateFlowDialog
          connection={params.get("connection")}
          entity={params.get("entity")}
          onClose={() => setParams({ create: null, connection: null, entity: null })}
        />
      )}
    </Page>
  );
}

import type { Connection } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  ErrorNotice,
  Icon,
  Link,
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
import { CircuitBadge } from "./CircuitPanel";
import { ConnectorGlyph } from "./ConnectorGlyph";

export function ConnectionsPage() {
  const { api, notify } = useMfe();
  const mayEdit = useCan("connection:edit");
  const [params, setParams] = useQueryParams();
  const search = params.get("search") ?? "";
  const archived = params.get("archived") === "true";
  const action = useAction();
  const connections = usePages(
    `${search} ${archived}`,
    (cursor, call) => api.connections.list({ search, archived, cursor, limit: 25 }, call),
    {
      live: ["connections"],
    },
  );
  const restore = async (row: Connection) => {
    if (await action.run(() => api.connections.restore(row.id))) {
      notify({ tone: "ok", title: `${row.name} is back.` });
      connections.reload();
    }
  };
  const columns: Column<Connection>[] = [
    {
      key: "name",
      title: "Name",
      lead: true,
      render: (row) => (
        <span className="name-cell">
          <ConnectorGlyph connector={row.connector} small />
          <span className="truncate">{row.name}</span>
        </span>
      ),
    },
    {
      key: "connector",
      title: "Connector",
      render: (row) => (row.builtin ? `${row.connector} · built in` : row.connector),
    },
    { key: "slug", title: "Slot", render: (row) => <code>{row.slug}</code> },
    {
      key: "status",
      title: "Status",
      render: (row) => (
        <span className="row wrap gap-2">
          <StatusBadge status={row.status} />
          <CircuitBadge circuit={row.circuit} />
        </span>
      ),
    },
    {
      key: "message",
      title: "Last check",
      offCard: true,
      render: (row) => <span className="soft small">{row.status === "failing" ? row.last_check?.message : ""}</span>,
    },
    { key: "checked", title: "Checked", align: "end", render: (row) => <Time value={row.last_checked_at} relative /> },
  ];
  if (archived && mayEdit)
    columns.push({
      key: "restore",
      title: "",
      align: "end",
      render: (row) => (
        <Button small busy={action.busy} onClick={() => restore(row)}>
          Restore
        </Button>
      ),
    });
  const create = mayEdit && (
    <Link to="/connections/new" className="btn primary">
      <Icon name="plus" /> New connection
    </Link>
  );
  return (
    <Page title="Connections" lead="Where data comes from and where it goes." actions={create}>
      <div className="toolbar">
        <SearchInput value={search} onChange={(value) => setParams({ search: value })} label="Search connections" />
        <Select
          aria-label="Which connections"
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
        resource={connections}
        label="Connections"
        columns={columns}
        rowKey={(row) => row.id}
        href={archived ? undefined : (row) => `/connections/${row.id}`}
        empty={
          archived ? (
            <Empty icon="search" title="Nothing is archived" />
          ) : search ? (
            <Empty icon="search" title={`No connection matches “${search}”`} />
          ) : (
            <Empty icon="plug" title="No connection yet" actions={create}>
              Connect a database, files or a REST service; secrets are sealed and never shown again.
            </Empty>
          )
        }
      />
    </Page>
  );
}

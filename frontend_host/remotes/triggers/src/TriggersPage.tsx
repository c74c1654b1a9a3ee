import type { Trigger } from "@portal/api-client";
import {
  Button,
  type Column,
  Empty,
  formatDateTime,
  Link,
  Menu,
  Page,
  PagedTable,
  ResourceView,
  SearchInput,
  Select,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { NextFirings } from "./NextFirings";
import { describeWhen, KIND_LABELS, TriggerState } from "./state";
import { TriggerForm } from "./TriggerForm";
import { useTriggerVerbs } from "./useTriggerVerbs";

/** What starts runs by itself. */
export function TriggersPage() {
  const { api, navigate } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("flow:deploy");
  const [editing, setEditing] = useState<Trigger | null>(null);
  const filter = {
    flow: params.get("flow"),
    kind: params.get("kind"),
    status: params.get("status"),
    search: params.get("search"),
  };
  const filtered = Object.values(filter).some(Boolean);
  const rows = usePages(
    `triggers ${JSON.stringify(filter)}`,
    (cursor, call) => api.triggers.list({ ...filter, cursor, limit: 25 }, call),
    { live: ["triggers", "flows"] },
  );
  const flows = useResource("flows", (call) => api.flows.list({ limit: 200 }, call));
  const columns: Column<Trigger>[] = [
    { key: "name", title: "Name", lead: true, render: (row) => row.name },
    { key: "state", title: "State", render: (row) => <TriggerState row={row} /> },
    {
      key: "flow",
      title: "Flow",
      render: (row) => (
        <div>
          <Link to={`/flows/${row.flow.id}`}>{row.flow.name}</Link>
          <div className="sub">{row.environment}</div>
        </div>
      ),
    },
    { key: "kind", title: "Kind", render: (row) => KIND_LABELS[row.kind] },
    { key: "when", title: "When", render: (row) => <div className="when break small">{describeWhen(row)}</div> },
    { key: "next", title: "Next", render: (row) => <NextCell key={row.updated_at} row={row} /> },
    {
      key: "last",
      title: "Last",
      align: "end",
      render: (row) =>
        row.last_run ? (
          <Link to={`/runs/${row.last_run}`}>
            <Time value={row.last_fired_at} relative />
          </Link>
        ) : (
          <Time value={row.last_fired_at} relative />
        ),
    },
  ];
  if (mayEdit)
    columns.push({
      key: "menu",
      title: "",
      align: "end",
      render: (row) => <RowMenu row={row} onEdit={() => setEditing(row)} onChanged={rows.reload} />,
    });
  const create = mayEdit && (
    <Button tone="primary" icon="plus" onClick={() => setParams({ create: "1" })}>
      New trigger
    </Button>
  );
  return (
    <Page
      title="Triggers"
      lead="What starts flows by itself: schedules, events, and new rows of your systems."
      actions={create}
    >
      <div className="toolbar">
        <SearchInput value={filter.search ?? ""} onChange={(search) => setParams({ search })} label="Search triggers" />
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
          aria-label="Kind"
          value={filter.kind ?? ""}
          onChange={(kind) => setParams({ kind })}
          options={[
            { value: "", label: "All kinds" },
            ...Object.entries(KIND_LABELS).map(([value, label]) => ({ value, label })),
          ]}
        />
        <Select
          aria-label="State"
          value={filter.status ?? ""}
          onChange={(status) => setParams({ status })}
          options={[
            { value: "", label: "Any state" },
            { value: "active", label: "Active" },
            { value: "paused", label: "Paused" },
          ]}
        />
        {filtered && (
          <Button tone="ghost" onClick={() => setParams({ flow: null, kind: null, status: null, search: null })}>
            Clear
          </Button>
        )}
      </div>
      <PagedTable
        resource={rows}
        label="Triggers"
        columns={columns}
        rowKey={(row) => row.id}
        href={(row) => `/triggers/${row.id}`}
        empty={
          filtered ? (
            <Empty icon="filter" title="No trigger matches" actions={filter.flow && create}>
              Change or clear the filters.
            </Empty>
          ) : (
            <Empty icon="clock" title="Nothing starts by itself yet" actions={create}>
              A trigger starts the deployed version of a flow, on a schedule, when something happens, or when a system
              has new rows.
            </Empty>
          )
        }
      />
      {params.get("create") && mayEdit && (
        <TriggerForm
          flow={filter.flow ?? ""}
          onClose={() => setParams({ create: null })}
          onSaved={(row) => navigate(`/triggers/${row.id}`)}
        />
      )}
      {editing && (
        <TriggerForm
          former={editing}
          onClose={() => setEditing(null)}
          onSaved={() => {
            setEditing(null);
            rows.reload();
          }}
        />
      )}
    </Page>
  );
}

interface RowMenuProps {
  row: Trigger;
  onEdit: () => void;
  onChanged: () => void;
}

function RowMenu({ row, onEdit, onChanged }: RowMenuProps) {
  const verbs = useTriggerVerbs(row, onChanged, onChanged);
  return (
    <Menu
      label={`Actions of ${row.name}`}
      small
      items={[
        { label: "Change", icon: "edit", run: onEdit },
        row.status === "paused"
          ? { label: "Resume", icon: "run", run: verbs.resume }
          : { label: "Pause", icon: "stop", run: verbs.pause },
        "line",
        { label: "Delete", icon: "trash", danger: true, run: verbs.remove },
      ]}
    />
  );
}

/** The next firing; the four after it are read when somebody asks. */
function NextCell({ row }: { row: Trigger }) {
  const { api, locale, timeZone } = useMfe();
  const [open, setOpen] = useState(false);
  const next = useResource(`next ${row.id}`, (call) => api.triggers.next(row.id, 5, call), { enabled: open });
  if (!row.next_due_at) return <span className="muted">–</span>;
  return (
    <div className="stack gap-1">
      <span className="row gap-1">
        <Time value={row.next_due_at} relative />
        {row.cron && (
          <Button
            small
            tone="ghost"
            icon={open ? "up" : "down"}
            aria-expanded={open}
            aria-label={`Next firings of ${row.name}`}
            onClick={() => setOpen(!open)}
          />
        )}
      </span>
      {open ? (
        <ResourceView resource={next}>
          {(data) => <NextFirings moments={data.moments} zone={row.zone} label={`Next five firings of ${row.name}`} />}
        </ResourceView>
      ) : (
        row.zone &&
        row.zone !== timeZone && <span className="sub nowrap">{formatDateTime(row.next_due_at, locale, row.zone)}</span>
      )}
    </div>
  );
}

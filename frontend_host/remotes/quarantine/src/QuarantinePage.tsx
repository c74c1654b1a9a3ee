import type { QuarantinedRow } from "@portal/api-client";
import {
  Button,
  Card,
  type Column,
  Empty,
  formatCount,
  Page,
  PagedTable,
  ResourceView,
  SearchInput,
  Select,
  StatusBadge,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { RowDrawer } from "./RowDrawer";
import { useDecisions } from "./useDecisions";

/** `waiting` is the server's word for open and corrected rows: those that still need somebody. */
const WAITING = "waiting";
const STATUSES = [
  { value: WAITING, label: "To decide" },
  { value: "open", label: "Open" },
  { value: "corrected", label: "Corrected" },
  { value: "replayed", label: "Replayed" },
  { value: "discarded", label: "Discarded" },
  { value: "all", label: "Any status" },
];

export function QuarantinePage() {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayEdit = useCan("quarantine:edit");
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const filter = {
    run: params.get("run"),
    flow: params.get("flow"),
    rule: params.get("rule"),
    search: params.get("search"),
    status: params.get("status") ?? WAITING,
  };
  const scope = { run: filter.run, flow: filter.flow };
  const state =
    filter.status === WAITING ? { waiting: true } : { status: filter.status === "all" ? null : filter.status };
  const rows = usePages(
    JSON.stringify(filter),
    (cursor, call) =>
      api.quarantine.list({ ...scope, ...state, rule: filter.rule, search: filter.search, cursor, limit: 50 }, call),
    {
      live: ["quarantines", "runs"],
    },
  );
  const summary = useResource(
    `summary ${JSON.stringify({ scope, state })}`,
    (call) => api.quarantine.summary({ ...scope, ...state }, call),
    {
      live: ["quarantines", "runs"],
    },
  );
  const flows = useResource("flows", (call) => api.flows.list({ limit: 200 }, call));
  const reload = () => {
    setSelected(new Set());
    rows.reload();
    summary.reload();
  };
  const decide = useDecisions(reload);
  const opened = params.get("row");
  const filtered = Boolean(filter.run || filter.flow || filter.rule || filter.search || filter.status !== WAITING);

  const columns: Column<QuarantinedRow>[] = [
    { key: "row", title: "Row", lead: true, render: (row) => <code>{shortId(row.row_id)}</code> },
    {
      key: "errors",
      title: "Broken rules",
      render: (row) => (
        <span className="rules">
          {rulesOf(row).map((rule) => (
            <span key={rule} className="rule">
              {rule}
            </span>
          ))}
        </span>
      ),
    },
    {
      key: "excerpt",
      title: "Reason",
      offCard: true,
      render: (row) => <div className="truncate excerpt soft small">{row.errors[0]?.message}</div>,
    },
    {
      key: "flow",
      title: "Flow",
      render: (row) => flows.data?.results.find((flow) => flow.id === row.flow_id)?.name ?? "–",
    },
    { key: "status", title: "Status", render: (row) => <StatusBadge status={row.status} /> },
    { key: "at", title: "Since", align: "end", render: (row) => <Time value={row.created_at} relative /> },
  ];
  return (
    <Page
      title="Quarantine"
      lead="Rows that broke a rule, held back from the target until somebody decides."
      actions={
        mayEdit &&
        filter.status === WAITING &&
        (summary.data?.total ?? 0) > 0 && (
          <Button
            icon="refresh"
            busy={decide.busy}
            disabled={!filter.flow && !filter.run}
            title={!filter.flow && !filter.run ? "Choose a flow first" : undefined}
            onClick={() => decide.replayMatching(scope, summary.data?.total ?? 0)}
          >
            Replay all of {filter.run ? "this run" : "this flow"}
          </Button>
        )
      }
    >
      <div className="toolbar">
        <SearchInput
          value={filter.search ?? ""}
          onChange={(search) => setParams({ search })}
          label="Search values and messages"
        />
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
          value={filter.status}
          onChange={(status) => setParams({ status: status === WAITING ? null : status })}
          options={STATUSES}
        />
        {filter.run && (
          <Button icon="close" onClick={() => setParams({ run: null })}>
            One run only
          </Button>
        )}
      </div>
      <div className="q-columns">
        <Card title="By rule" flush>
          <ResourceView resource={summary}>
            {({ by_rule, total }) => (
              <div className="facets" role="group" aria-label="Rules">
                <button type="button" aria-pressed={!filter.rule} onClick={() => setParams({ rule: null })}>
                  All rules <span className="count">{formatCount(total, locale)}</span>
                </button>
                {by_rule.map(({ rule, count }) => (
                  <button
                    key={rule}
                    type="button"
                    aria-pressed={filter.rule === rule}
                    onClick={() => setParams({ rule: filter.rule === rule ? null : rule })}
                  >
                    <span className="truncate" title={rule}>
                      {rule}
                    </span>
                    <span className="count">{formatCount(count, locale)}</span>
                  </button>
                ))}
              </div>
            )}
          </ResourceView>
        </Card>
        <div className="stack gap-3">
          {selected.size > 0 && mayEdit && (
            <div className="bulk" role="region" aria-label="Selected rows">
              <span className="strong num">{formatCount(selected.size, locale)} selected</span>
              <Button small icon="refresh" busy={decide.busy} onClick={() => decide.replaySelected([...selected])}>
                Replay
              </Button>
              <Button small tone="danger" icon="trash" busy={decide.busy} onClick={() => decide.discard([...selected])}>
                Discard
              </Button>
              <Button small tone="ghost" onClick={() => setSelected(new Set())}>
                Clear
              </Button>
            </div>
          )}
          <PagedTable
            resource={rows}
            label="Quarantined rows"
            columns={columns}
            rowKey={(row) => row.id}
            onOpen={(row) => setParams({ row: row.id })}
            selected={selected}
            onSelect={mayEdit ? setSelected : undefined}
            empty={
              filtered ? (
                <Empty
                  icon="filter"
                  title="No row matches"
                  actions={
                    <Button
                      onClick={() => setParams({ run: null, flow: null, rule: null, search: null, status: null })}
                    >
                      Clear the filters
                    </Button>
                  }
                />
              ) : (
                <Empty icon="check" title="Nothing is held back">
                  Every row of the latest runs met its rules, or was decided on.
                </Empty>
              )
            }
          />
        </div>
      </div>
      {opened && <RowDrawer key={opened} id={opened} onClose={() => setParams({ row: null })} onDecided={reload} />}
    </Page>
  );
}

function shortId(id: string | number): string {
  const text = String(id);
  return text.length > 18 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text;
}

export function rulesOf(row: QuarantinedRow): string[] {
  return [...new Set(row.errors.map((error) => error.rule || error.field || error.code))];
}

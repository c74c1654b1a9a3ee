import type { HumanTask } from "@portal/api-client";
import {
  type Column,
  Empty,
  Page,
  PagedTable,
  Select,
  StatusBadge,
  Time,
  useMfe,
  usePages,
  useQueryParams,
} from "@portal/ui";

const VIEWS = {
  mine: { label: "Waiting for me", query: { mine: true }, empty: "Nothing waits for you" },
  open: { label: "All that are open", query: { status: "open" }, empty: "Nothing is open" },
  all: { label: "All", query: {}, empty: "No process has asked anybody yet" },
};

/** Questions that processes ask people. */
export function TasksPage() {
  const { api } = useMfe();
  const [params, setParams] = useQueryParams();
  const view = VIEWS[(params.get("view") ?? "mine") as keyof typeof VIEWS] ?? VIEWS.mine;
  const tasks = usePages(
    `tasks ${JSON.stringify(view.query)}`,
    (cursor, call) => api.tasks.list({ ...view.query, cursor, limit: 25 }, call),
    { live: ["tasks"] },
  );
  const columns: Column<HumanTask>[] = [
    { key: "title", title: "Task", lead: true, render: (task) => task.title },
    { key: "flow", title: "Process", render: (task) => task.flow.name },
    { key: "status", title: "Status", render: (task) => <StatusBadge status={task.status} /> },
    {
      key: "who",
      title: "Taken by",
      render: (task) =>
        task.claimed_by ? task.claimed_by.name || task.claimed_by.email : <span className="muted">–</span>,
    },
    {
      key: "answers",
      title: "Answers",
      align: "end",
      render: (task) => (
        <span className="num">
          {task.answered} of {task.required}
        </span>
      ),
    },
    {
      key: "due",
      title: "Due",
      align: "end",
      render: (task) =>
        task.due_at ? (
          <span className={isOverdue(task) ? "overdue" : undefined}>
            <Time value={task.due_at} relative />
          </span>
        ) : (
          <span className="muted">–</span>
        ),
    },
    { key: "at", title: "Asked", align: "end", render: (task) => <Time value={task.created_at} relative /> },
  ];
  return (
    <Page title="Tasks" lead="What processes ask people; they go on when the answer is there.">
      <div className="toolbar">
        <Select
          aria-label="Which tasks"
          value={params.get("view") ?? "mine"}
          onChange={(value) => setParams({ view: value === "mine" ? null : value })}
          options={Object.entries(VIEWS).map(([value, { label }]) => ({ value, label }))}
        />
      </div>
      <PagedTable
        resource={tasks}
        label="Tasks"
        columns={columns}
        rowKey={(task) => task.id}
        href={(task) => `/tasks/${task.id}`}
        empty={
          <Empty icon="check" title={view.empty}>
            A process asks with a step of the kind “task”.
          </Empty>
        }
      />
    </Page>
  );
}

function isOverdue(task: HumanTask): boolean {
  return task.status === "open" && task.due_at !== null && new Date(task.due_at).getTime() < Date.now();
}

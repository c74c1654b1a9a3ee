import type { Connection } from "@portal/api-client";
import {
  Button,
  Empty,
  Page,
  ResourceView,
  StatusBadge,
  type TabItem,
  Tabs,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { CheckPanel } from "./CheckPanel";
import { CircuitCard } from "./CircuitCard";
import { CircuitBadge, CircuitNotice } from "./CircuitPanel";
import { ConfigurationCard } from "./ConfigurationCard";
import { EntityBrowser } from "./EntityBrowser";
import { UploadCard } from "./UploadCard";

type Tab = "browse" | "settings";

export function ConnectionPage({ id }: { id: string }) {
  const { api, navigate, notify } = useMfe();
  const connection = useResource(`connection ${id}`, (call) => api.connections.get(id, call), {
    live: [`connection:${id}`],
  });
  const mayEdit = useCan("connection:edit");
  const mayUse = useCan("connection:use");
  const confirm = useConfirm();
  const action = useAction({ toast: true });
  const check = useAction({ toast: true });
  const data = connection.data;

  const runCheck = async () => {
    await check.run(() => api.connections.check(id));
    connection.reload();
  };
  const archive = async (row: Connection) => {
    const answer = await confirm({
      title: `Archive ${row.name}?`,
      text: "Flows that use it will not run until it is restored or bound to another connection.",
      action: "Archive",
      danger: true,
    });
    if (answer === null) return;
    const done = await action.run(async () => {
      await api.connections.archive(id);
      return true;
    });
    if (!done) return;
    notify({
      tone: "ok",
      title: `${row.name} was archived.`,
      action: {
        label: "Undo",
        run: () => {
          api.connections.restore(id).then(
            () => notify({ tone: "ok", title: `${row.name} is back.` }),
            (error: Error) => notify({ tone: "bad", title: "It could not be restored.", detail: error.message }),
          );
        },
      },
    });
    navigate("/connections");
  };
  return (
    <Page
      title={data?.name ?? "Connection"}
      back={{ to: "/connections", label: "Connections" }}
      lead={
        data && (
          <span className="row wrap gap-2">
            <StatusBadge status={data.status} />
            <CircuitBadge circuit={data.circuit} />
            <span>
              {data.connector}, slot <code>{data.slug}</code>
            </span>
          </span>
        )
      }
      actions={
        data && (
          <>
            {mayUse && (
              <Button icon="plug" busy={check.busy} onClick={runCheck}>
                Test
              </Button>
            )}
            {mayEdit && !data.builtin && (
              <Button tone="danger" icon="trash" busy={action.busy} onClick={() => archive(data)}>
                Archive
              </Button>
            )}
          </>
        )
      }
    >
      <ResourceView resource={connection}>
        {(row) => (
          <ConnectionBody
            connection={row}
            onSaved={connection.set}
            checking={check.busy}
            onCheck={mayUse ? runCheck : undefined}
          />
        )}
      </ResourceView>
    </Page>
  );
}

interface BodyProps {
  connection: Connection;
  checking: boolean;
  onSaved: (connection: Connection) => void;
  onCheck?: () => void;
}

function ConnectionBody({ connection, checking, onSaved, onCheck }: BodyProps) {
  const [params, setParams] = useQueryParams();
  const mayUse = useCan("connection:use");
  const tabs: TabItem<Tab>[] = [
    { key: "browse", label: "Data" },
    { key: "settings", label: "Settings" },
  ];
  const tab: Tab = params.get("tab") === "settings" ? "settings" : "browse";
  return (
    <>
      <Tabs
        label="Parts"
        items={tabs}
        value={tab}
        onChange={(key) => setParams({ tab: key === "browse" ? null : key })}
      />
      <CircuitNotice connection={connection} busy={checking} onTry={onCheck} onChanged={onSaved} />
      {tab === "browse" ? (
        <>
          {connection.status === "failing" && (
            <CheckPanel
              result={connection.last_check}
              busy={checking}
              at={connection.last_checked_at}
              onCheck={onCheck}
            />
          )}
          {connection.connector === "files" && mayUse && <UploadCard connection={connection} />}
          {mayUse ? (
            <EntityBrowser connection={connection} />
          ) : (
            <Empty icon="lock" title="You may not look into this connection">
              Browsing needs the permission to use connections.
            </Empty>
          )}
        </>
      ) : (
        <div className="wizard">
          <ConfigurationCard key={connection.updated_at} connection={connection} onSaved={onSaved} />
          <div className="stack gap-4">
            <CheckPanel
              result={connection.last_check}
              busy={checking}
              at={connection.last_checked_at}
              onCheck={onCheck}
            />
            <CircuitCard connection={connection} onSaved={onSaved} />
          </div>
        </div>
      )}
    </>
  );
}

import type { EventContract } from "@portal/api-client";
import {
  Button,
  type Column,
  Dialog,
  Empty,
  Facts,
  PagedTable,
  Pager,
  Payload,
  ResourceView,
  Time,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { pretty } from "./format";
import { compatibilityLabel, TypeForm, VersionForm } from "./TypeForms";

/** The organisation's own types of events: what their data looks like, and what later versions must keep. */
export function TypesSection() {
  const { api } = useMfe();
  const [params, setParams] = useQueryParams();
  const mayDefine = useCan("event:define");
  const [creating, setCreating] = useState(false);
  const rows = usePages("contracts", (cursor, call) => api.eventContracts.list({ cursor, limit: 25 }, call));
  const opened = params.get("type");
  const columns: Column<EventContract>[] = [
    { key: "type", title: "Type", lead: true, render: (row) => <code className="break">{row.type}</code> },
    { key: "version", title: "Version", render: (row) => <span className="num">{row.version}</span> },
    { key: "keeps", title: "Later versions keep", render: (row) => compatibilityLabel(row.compatibility) },
    { key: "description", title: "Meaning", render: (row) => row.description || <span className="muted">–</span> },
    { key: "at", title: "Changed", align: "end", render: (row) => <Time value={row.updated_at} relative /> },
  ];
  const create = mayDefine && (
    <Button tone="primary" icon="plus" onClick={() => setCreating(true)}>
      New type
    </Button>
  );
  return (
    <>
      <div className="toolbar">
        <Button icon="refresh" onClick={rows.reload}>
          Read again
        </Button>
        <span className="push">{create}</span>
      </div>
      <PagedTable
        resource={rows}
        label="Event types"
        columns={columns}
        rowKey={(row) => row.id}
        onOpen={(row) => setParams({ type: row.id })}
        empty={
          <Empty icon="inbox" title="No type of your own yet">
            Define one, and your systems can publish it through the API; webhooks and processes can wait for it.
          </Empty>
        }
      />
      {creating && (
        <TypeForm
          onClose={() => setCreating(false)}
          onSaved={(row) => {
            setCreating(false);
            rows.reload();
            setParams({ type: row.id });
          }}
        />
      )}
      {opened && (
        <TypeDrawer key={opened} id={opened} onClose={() => setParams({ type: null })} onChanged={rows.reload} />
      )}
    </>
  );
}

function TypeDrawer({ id, onClose, onChanged }: { id: string; onClose: () => void; onChanged: () => void }) {
  const { api } = useMfe();
  const mayDefine = useCan("event:define");
  const contract = useResource(`contract ${id}`, (call) => api.eventContracts.get(id, call));
  const versions = usePages(`contract versions ${id}`, (cursor, call) =>
    api.eventContracts.versions(id, { cursor, limit: 25 }, call),
  );
  const [changing, setChanging] = useState(false);
  if (changing && contract.data)
    return (
      <VersionForm
        contract={contract.data}
        onClose={() => setChanging(false)}
        onSaved={() => {
          setChanging(false);
          contract.reload();
          versions.reload();
          onChanged();
        }}
      />
    );
  return (
    <Dialog
      title={contract.data?.type ?? "Type"}
      lead={contract.data?.description}
      kind="drawer"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>Close</Button>
          {mayDefine && contract.data && (
            <Button tone="primary" onClick={() => setChanging(true)}>
              New version
            </Button>
          )}
        </>
      }
    >
      <ResourceView resource={contract}>
        {(row) => (
          <div className="stack gap-4">
            <Facts
              items={[
                ["Version", row.version],
                ["Later versions keep", compatibilityLabel(row.compatibility)],
                ["Defined", <Time key="at" value={row.created_at} />],
              ]}
            />
            <Payload label="Schema" text={pretty(row.schema)} />
          </div>
        )}
      </ResourceView>
      <ResourceView resource={versions}>
        {(page) => (
          <>
            <ol className="attempts" aria-label="Versions">
              {page.results.map((version) => (
                <li key={version.number} value={version.number}>
                  <details>
                    <summary>
                      {version.note || "No note"} <span className="muted">· {version.published_by} ·</span>{" "}
                      <Time value={version.created_at} />
                    </summary>
                    <Payload label={`Schema of version ${version.number}`} text={pretty(version.schema)} />
                  </details>
                </li>
              ))}
            </ol>
            <Pager
              hasPrevious={versions.hasPrevious}
              hasNext={versions.hasNext}
              onPrevious={versions.previous}
              onNext={versions.next}
            />
          </>
        )}
      </ResourceView>
    </Dialog>
  );
}

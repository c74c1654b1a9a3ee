import type { AuditEntry } from "@portal/api-client";
import { type Column, Dialog, Empty, Facts, PagedTable, SearchInput, Time, useMfe, usePages } from "@portal/ui";
import { useState } from "react";

export function AuditSection() {
  const { api } = useMfe();
  const [search, setSearch] = useState("");
  const [open, setOpen] = useState<AuditEntry | null>(null);
  const entries = usePages(search, (cursor, call) => api.audit({ search, cursor, limit: 50 }, call));
  const columns: Column<AuditEntry>[] = [
    { key: "summary", title: "What", lead: true, render: (entry) => entry.summary },
    { key: "actor", title: "Who", render: (entry) => <span className="nowrap">{entry.actor.name}</span> },
    { key: "action", title: "Action", render: (entry) => <code>{entry.action}</code> },
    { key: "at", title: "When", align: "end", render: (entry) => <Time value={entry.at} seconds /> },
  ];
  return (
    <>
      <div className="toolbar">
        <SearchInput value={search} onChange={setSearch} label="Search the audit log" />
      </div>
      <PagedTable
        resource={entries}
        label="Audit log"
        columns={columns}
        rowKey={(entry) => entry.id}
        onOpen={setOpen}
        empty={<Empty icon="history" title={search ? "No entry matches" : "Nothing has happened yet"} />}
      />
      {open && (
        <Dialog kind="drawer" title={open.summary} onClose={() => setOpen(null)}>
          <Facts
            items={[
              ["Number", String(open.number)],
              ["When", <Time key="t" value={open.at} seconds />],
              ["Who", `${open.actor.name} (${open.actor.kind})`],
              ["Action", <code key="a">{open.action}</code>],
              ["On", <code key="o">{`${open.target.type} ${open.target.id}`}</code>],
              ...Object.entries(open.facts ?? {}).map(([name, value]): [string, string] => [
                name,
                typeof value === "object" ? JSON.stringify(value) : String(value),
              ]),
            ]}
          />
        </Dialog>
      )}
    </>
  );
}

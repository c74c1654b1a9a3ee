import type { Capture, Connection } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Checkbox,
  Dialog,
  Empty,
  ErrorNotice,
  Field,
  ResourceView,
  SearchInput,
  Select,
  TextInput,
  useAction,
  useMfe,
  usePages,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { toBytes } from "./capture";

interface CaptureFormProps {
  onClose: () => void;
  onSaved: (row: Capture) => void;
}

/** A new change capture: where, which tables, and how much log the source may keep for it. */
export function CaptureForm({ onClose, onSaved }: CaptureFormProps) {
  const { api } = useMfe();
  const connections = useResource("capture connections", (call) =>
    api.connections.list({ connector: "postgresql", limit: 100 }, call),
  );
  const [name, setName] = useState("");
  const [connection, setConnection] = useState("");
  const [tables, setTables] = useState<string[]>([]);
  const [snapshot, setSnapshot] = useState(true);
  const [publication, setPublication] = useState("");
  const [warn, setWarn] = useState("1000");
  const [limit, setLimit] = useState("8000");
  const [drop, setDrop] = useState(true);
  const action = useAction();
  const problems = action.error instanceof ApiError ? action.error.problems : [];
  const problem = (path: string) =>
    problems.find((one) => one.path === path || one.path.startsWith(`${path}[`))?.message ?? null;
  const [warnBytes, limitBytes] = [toBytes(warn), toBytes(limit)];
  const submit = async () => {
    if (warnBytes === null || limitBytes === null) return;
    const made = await action.run(() =>
      api.captures.create({
        name: name.trim(),
        connection,
        tables,
        publication: publication.trim(),
        with_snapshot: snapshot,
        warn_wal_bytes: warnBytes,
        max_wal_bytes: limitBytes,
        drop_at_limit: drop,
      }),
    );
    if (made) onSaved(made);
  };
  const ready = name.trim() && connection && tables.length && warnBytes && limitBytes;
  return (
    <Dialog
      title="New change capture"
      wide
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!ready}>
            Create
          </Button>
        </>
      }
    >
      <Field label="Name" error={problem("name")} required>
        {(ids) => <TextInput {...ids} maxLength={120} value={name} onChange={setName} />}
      </Field>
      <ResourceView resource={connections}>
        {(page) =>
          page.results.length ? (
            <Field label="Connection" error={problem("connection")} required>
              {(ids) => (
                <Select
                  {...ids}
                  value={connection}
                  onChange={(next) => {
                    setConnection(next);
                    setTables([]);
                  }}
                  options={[
                    { value: "", label: "Choose a PostgreSQL database" },
                    ...page.results.map((row: Connection) => ({ value: row.id, label: row.name })),
                  ]}
                />
              )}
            </Field>
          ) : (
            <Empty icon="plug" title="No PostgreSQL connection yet">
              Make one under Connections, with an account that may replicate.
            </Empty>
          )
        }
      </ResourceView>
      {connection && (
        <TableChoice
          key={connection}
          connection={connection}
          chosen={tables}
          onChange={setTables}
          error={problem("tables")}
        />
      )}
      <ErrorNotice error={action.error} />
      {problems.some((one) => one.hint) && (
        <div className="stack gap-2">
          <span className="small">For the database's administrator:</span>
          {problems.map(
            (one, at) =>
              one.hint && (
                <pre key={at} className="statement">
                  {one.hint}
                </pre>
              ),
          )}
        </div>
      )}
      <Checkbox
        label="Publish the rows that are there first"
        hint="Each as an event “read”; then every change. Without it, changes from now on only."
        checked={snapshot}
        onChange={setSnapshot}
      />
      <Field
        label="Publication"
        hint="Leave empty, and the portal makes one; else the name of one that an administrator has made."
        error={problem("publication")}
        required={false}
      >
        {(ids) => <TextInput {...ids} maxLength={63} value={publication} onChange={setPublication} />}
      </Field>
      <div className="two">
        <Field
          label="Warn when the source keeps, MB"
          hint="Log that it may not drop, because the capture has not read it."
          error={warnBytes === null ? "A whole number." : problem("warn_wal_bytes")}
          required
        >
          {(ids) => <TextInput {...ids} inputMode="numeric" value={warn} onChange={setWarn} />}
        </Field>
        <Field label="Limit, MB" error={limitBytes === null ? "A whole number." : problem("max_wal_bytes")} required>
          {(ids) => <TextInput {...ids} inputMode="numeric" value={limit} onChange={setLimit} />}
        </Field>
      </div>
      <Checkbox
        label="At the limit, drop the slot"
        hint="The source's disk stays free; the capture stops and must read everything again."
        checked={drop}
        onChange={setDrop}
      />
    </Dialog>
  );
}

interface TableChoiceProps {
  connection: string;
  chosen: string[];
  onChange: (tables: string[]) => void;
  error: string | null;
}

function TableChoice({ connection, chosen, onChange, error }: TableChoiceProps) {
  const { api } = useMfe();
  const [search, setSearch] = useState("");
  const found = usePages(`capture tables ${connection} ${search}`, (cursor, call) =>
    api.connections.entities(connection, { search, cursor, limit: 50 }, call),
  );
  return (
    <fieldset className="table-choice">
      <legend>Tables{chosen.length > 0 && `: ${chosen.length} chosen`}</legend>
      <SearchInput value={search} onChange={setSearch} label="Search tables" />
      <ResourceView resource={found}>
        {(page) => {
          const names = page.results.filter((one) => one.kind === "table").map((one) => one.name);
          const shown = [...chosen.filter((one) => !names.includes(one)), ...names];
          return shown.length ? (
            <div className="table-list">
              {shown.map((one) => (
                <Checkbox
                  key={one}
                  label={one}
                  checked={chosen.includes(one)}
                  onChange={(on) => onChange(on ? [...chosen, one] : chosen.filter((other) => other !== one))}
                />
              ))}
            </div>
          ) : (
            <Empty icon="table" title="No table found" />
          );
        }}
      </ResourceView>
      {found.hasNext && <span className="small muted">There are more; search by name.</span>}
      {error && (
        <span className="small bad-number" role="alert">
          {error}
        </span>
      )}
    </fieldset>
  );
}

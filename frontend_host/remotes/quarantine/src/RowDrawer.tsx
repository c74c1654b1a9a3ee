import type { Flow, QuarantinedRow, Row, RowError } from "@portal/api-client";
import { nameOf } from "@portal/api-client";
import { Button, Checkbox, Dialog, ErrorNotice, Facts, Icon, Link, Notice, ResourceView, StatusBadge, TextArea, TextInput, Time, useAction, useCan, useMfe, useResource } from "@portal/ui";
import { useState } from "react";
import { columnsOf, fromText, toText } from "./correction";
import { useDecisions } from "./useDecisions";

interface RowDrawerProps {
  id: string;
  onClose: () => void;
  onDecided: () => void;
}

export function RowDrawer({ id, onClose, onDecided }: RowDrawerProps) {
  const { api } = useMfe();
  const row = useResource(`row ${id}`, (call) => api.quarantine.get(id, call));
  return (
    <Dialog
      kind="drawer"
      title="Quarantined row"
      lead={row.data && <StatusBadge status={row.data.status} />}
      onClose={onClose}
    >
      <ResourceView resource={row}>
        {(data) => (
          <RowBody
            key={data.status}
            row={data}
            onChanged={(next) => {
              row.set(next);
              onDecided();
            }}
            onDone={() => {
              onDecided();
              onClose();
            }}
          />
        )}
      </ResourceView>
    </Dialog>
  );
}

interface RowBodyProps {
  row: QuarantinedRow;
  onChanged: (row: QuarantinedRow) => void;
  onDone: () => void;
}

function RowBody({ row, onChanged, onDone }: RowBodyProps) {
  const mayEdit = useCan("quarantine:edit");
  const undecided = row.status === "open" || row.status === "corrected";
  return (
    <>
      <section>
        <h3>Broken rules</h3>
        <ErrorList errors={row.errors} />
      </section>
      {mayEdit && undecided ? (
        <Correction row={row} onChanged={onChanged} onDone={onDone} />
      ) : (
        <section>
          <h3>Source values</h3>
          <Facts items={Object.entries(row.corrected ? { ...row.payload, ...row.corrected } : row.payload).map(([name, value]): [string, string] => [name, toText(value)])} />
        </section>
      )}
      <Facts
        items={[
          ["Run", <Link key="r" to={`/runs/${row.run_id}`}>Open the run</Link>],
          ["Replayed by", row.replay_run_id && <Link key="p" to={`/runs/${row.replay_run_id}`}>Open the replay</Link>],
          ["Row id", <code key="i">{row.row_id}</code>],
          ["Held since", <Time key="t" value={row.created_at} />],
          ["Decided", row.decided_at && <Time key="d" value={row.decided_at} />],
          ["By", nameOf((row as { decided_by?: string | { name: string } }).decided_by)],
          ["Note", row.note],
        ]}
      />
    </>
  );
}

function ErrorList({ errors }: { errors: RowError[] }) {
  return (
    <ul className="errors">
      {errors.map((error, at) => (
        <li key={at}>
          <Icon name="error" size={15} />
          <div>
            {error.field && <code>{error.field}</code>} {error.message} <span className="muted xs">{error.rule ?? error.code}</span>
          </div>
        </li>
      ))}
    </ul>
  );
}

function Correction({ row, onChanged, onDone }: RowBodyProps) {
  const { api, notify } = useMfe();
  const start = { ...row.payload, ...row.corrected };
  const [texts, setTexts] = useState<Record<string, string>>(() => Object.fromEntries(Object.entries(start).map(([name, value]) => [name, toText(value)])));
  const [nulls, setNulls] = useState<Record<string, boolean>>(() => Object.fromEntries(Object.entries(start).map(([name, value]) => [name, value === null])));
  const [note, setNote] = useState(row.note ?? "");
  const [remaining, setRemaining] = useState<RowError[] | null>(null);
  const save = useAction();
  const check = useAction();
  const decide = useDecisions(onDone);

  const corrected: Row = {};
  for (const [name, original] of Object.entries(row.payload)) {
    const value = fromText(texts[name] ?? "", original, nulls[name] ?? false);
    if (toText(value) !== toText(original) || (value === null) !== (original === null)) corrected[name] = value;
  }
  const changed = Object.keys(corrected).length > 0;
  const why = (column: string) => row.errors.filter((error) => columnsOf(error, row.payload).includes(column));
  const columns = Object.keys(row.payload).sort((a, b) => Number(why(b).length > 0) - Number(why(a).length > 0));

  const recheck = async () => {
    const errors = await check.run(() => checkAgain(api, row, { ...row.payload, ...corrected }));
    if (errors) setRemaining(errors);
  };
  const store = async () => {
    const saved = await save.run(() => api.quarantine.correct(row.id, corrected, note));
    if (!saved) return;
    notify({ tone: "ok", title: "The correction is stored.", detail: "Replay the row to send it on." });
    onChanged(saved);
  };
  return (
    <section className="correction">
      <h3>Correct the source values</h3>
      {columns.map((name) => {
        const reasons = why(name);
        const isChanged = name in corrected;
        return (
          <div key={name} className={`line ${reasons.length ? "broken" : ""}`}>
            <label htmlFor={`c-${name}`}>{name}</label>
            <div className="stack gap-1">
              <div className="row">
                <TextInput
                  id={`c-${name}`}
                  value={nulls[name] ? "" : (texts[name] ?? "")}
                  disabled={nulls[name]}
                  placeholder={nulls[name] ? "null" : ""}
                  onChange={(text) => {
                    setTexts({ ...texts, [name]: text });
                    setRemaining(null);
                  }}
                />
                <Checkbox
                  label="null"
                  checked={nulls[name] ?? false}
                  onChange={(value) => {
                    setNulls({ ...nulls, [name]: value });
                    setRemaining(null);
                  }}
                />
              </div>
              {isChanged && <span className="was">was {toText(row.payload[name]) || "empty"}</span>}
              {reasons.map((error, at) => (
                <span key={at} className="why">
                  {error.message}
                </span>
              ))}
            </div>
          </div>
        );
      })}
      <div className="field">
        <label htmlFor="c-note">Note</label>
        <TextArea id="c-note" value={note} onChange={setNote} placeholder="Why is this the right value?" />
      </div>
      {remaining &&
        (remaining.length ? (
          <Notice tone="warn" title="The row would still break a rule.">
            <ErrorList errors={remaining} />
          </Notice>
        ) : (
          <Notice tone="ok" title="With these values the row passes." />
        ))}
      <ErrorNotice error={save.error ?? check.error} />
      <div className="row wrap">
        <Button tone="primary" disabled={!changed} busy={save.busy} onClick={store}>
          Store the correction
        </Button>
        <Button icon="check" busy={check.busy} onClick={recheck}>
          Check
        </Button>
        <Button icon="refresh" busy={decide.busy} disabled={row.status !== "corrected" && changed} onClick={() => decide.replaySelected([row.id])}>
          Replay
        </Button>
        <Button tone="danger" icon="trash" busy={decide.busy} onClick={() => decide.discard([row.id])}>
          Discard
        </Button>
      </div>
    </section>
  );
}

interface NodeConfig {
  filter?: string | null;
  fields?: { target: string; type: string; expression: string; nullable?: boolean }[];
  validations?: { id: string; expression: string; message: string; field?: string | null; severity?: string }[];
}

/**
 * Evaluates the flow's mapping and rules on the corrected values. It uses the current draft, so it tells what a replay
 * of that would do; the replay itself decides.
 */
async function checkAgain(api: ReturnType<typeof useMfe>["api"], row: QuarantinedRow, values: Row): Promise<RowError[]> {
  const flow: Flow = await api.flows.get(row.flow_id);
  const nodes = (flow.draft.nodes ?? []) as unknown as { kind: string; config: NodeConfig }[];
  const map = nodes.find((node) => node.kind === "map")?.config ?? {};
  const fields = map.fields ?? [];
  const source = nodes.find((node) => node.kind === "source")?.config as unknown as { connection: string; entity: string };
  const connections = await api.connections.list({ search: source.connection, limit: 50 });
  const connection = connections.results.find((one) => one.slug === source.connection);
  const schema = connection ? (await api.connections.entity(connection.id, source.entity)).fields : [];
  const rules = (map.validations ?? []).filter((rule) => !/\bmapped\./.test(rule.expression));
  const answer = await api.expressions.evaluate({
    expressions: [
      ...fields.map((field) => ({ name: field.target, expression: field.expression })),
      ...rules.map((rule) => ({ name: `rule:${rule.id}`, expression: rule.expression })),
    ],
    schema: schema.map(({ name, type, nullable }) => ({ name, type, nullable })),
    rows: [values],
  });
  const result = answer.rows[0];
  if (!result) return [];
  const failed = result.errors.map((error): RowError => ({ rule: null, field: error.name, code: error.code, message: error.message }));
  const nulls = fields
    .filter((field) => field.nullable === false && result.values[field.target] === null)
    .map((field): RowError => ({ rule: null, field: field.target, code: "null", message: `${field.target} must not be empty.` }));
  const broken = rules
    .filter((rule) => result.values[`rule:${rule.id}`] === false)
    .map((rule): RowError => ({ rule: rule.id, field: rule.field ?? null, code: "rule", message: rule.message }));
  return [...failed, ...nulls, ...broken];
}

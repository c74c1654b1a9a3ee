import type { QuarantinedRow, Row, RowError } from "@portal/api-client";
import { ApiError } from "@portal/api-client";
import {
  Button,
  Checkbox,
  Dialog,
  ErrorNotice,
  Facts,
  Icon,
  Link,
  Notice,
  ResourceView,
  StatusBadge,
  TextArea,
  TextInput,
  Time,
  useAction,
  useCan,
  useMfe,
  useResource,
} from "@portal/ui";
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
          <Facts
            items={Object.entries(row.corrected ? { ...row.payload, ...row.corrected } : row.payload).map(
              ([name, value]): [string, string] => [name, toText(value)],
            )}
          />
        </section>
      )}
      <Facts
        items={[
          [
            "Run",
            <Link key="r" to={`/runs/${row.run_id}`}>
              Open the run
            </Link>,
          ],
          [
            "Replayed by",
            row.replay_run_id && (
              <Link key="p" to={`/runs/${row.replay_run_id}`}>
                Open the replay
              </Link>
            ),
          ],
          ["Row id", <code key="i">{row.row_id}</code>],
          ["Held since", <Time key="t" value={row.created_at} />],
          ["Decided", row.decided_at && <Time key="d" value={row.decided_at} />],
          ["By", row.decided_by?.name],
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
            {error.field && <code>{error.field}</code>} {error.message}{" "}
            <span className="muted xs">{error.rule ?? error.code}</span>
          </div>
        </li>
      ))}
    </ul>
  );
}

function Correction({ row, onChanged, onDone }: RowBodyProps) {
  const { api, notify } = useMfe();
  const start = { ...row.payload, ...row.corrected };
  const [texts, setTexts] = useState<Record<string, string>>(() =>
    Object.fromEntries(Object.entries(start).map(([name, value]) => [name, toText(value)])),
  );
  const [nulls, setNulls] = useState<Record<string, boolean>>(() =>
    Object.fromEntries(Object.entries(start).map(([name, value]) => [name, value === null])),
  );
  const [note, setNote] = useState(row.note ?? "");
  const save = useAction();
  const decide = useDecisions(onDone);

  const corrected: Row = {};
  for (const [name, original] of Object.entries(row.payload)) {
    const value = fromText(texts[name] ?? "", original, nulls[name] ?? false);
    if (toText(value) !== toText(original) || (value === null) !== (original === null)) corrected[name] = value;
  }
  const changed = JSON.stringify(corrected) !== JSON.stringify(row.corrected ?? {});
  const stillBroken = brokenRulesOf(save.error);
  const why = (column: string) => row.errors.filter((error) => columnsOf(error, row.payload).includes(column));
  const columns = Object.keys(row.payload).sort((a, b) => Number(why(b).length > 0) - Number(why(a).length > 0));

  const store = async () => {
    const saved = await save.run(() => api.quarantine.correct(row.id, corrected, note));
    if (!saved) return;
    notify({
      tone: "ok",
      title: "The row meets every rule; the correction is stored.",
      detail: "Replay the row to send it on.",
    });
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
                  }}
                />
                <Checkbox
                  label="null"
                  checked={nulls[name] ?? false}
                  onChange={(value) => {
                    setNulls({ ...nulls, [name]: value });
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
      {stillBroken.length > 0 ? (
        <Notice tone="warn" title="With these values the row still breaks a rule.">
          <ErrorList errors={stillBroken} />
        </Notice>
      ) : (
        <ErrorNotice error={save.error} />
      )}
      {row.status === "corrected" && !changed && (
        <Notice tone="ok" title="The correction meets every rule; replay the row to send it on." />
      )}
      <div className="row wrap">
        <Button tone="primary" disabled={!changed} busy={save.busy} onClick={store}>
          Check and store
        </Button>
        <Button
          icon="refresh"
          busy={decide.busy}
          disabled={changed}
          title={changed ? "Store the correction first" : undefined}
          onClick={() => decide.replaySelected([row.id])}
        >
          Replay
        </Button>
        <Button tone="danger" icon="trash" busy={decide.busy} onClick={() => decide.discard([row.id])}>
          Discard
        </Button>
      </div>
    </section>
  );
}

/** The rules that a refused correction still breaks. */
function brokenRulesOf(error: unknown): RowError[] {
  if (!(error instanceof ApiError) || error.status !== 422) return [];
  return error.problems.map(({ path, code, message }) => ({
    rule: null,
    field: path.replace(/^corrected\.?/, "") || null,
    code,
    message,
  }));
}

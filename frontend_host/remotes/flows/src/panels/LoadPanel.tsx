import type { Disposition, FlowDefinition, LoadMode, LoadSettings } from "@portal/flow-model";
import { toggleKey } from "@portal/flow-model";
import { Card, Checkbox, Field, Notice, Select, TextInput, useMfe, useResource } from "@portal/ui";
import { useEditor } from "../editor/useFlowEditor";

const MODES = [
  { value: "full", label: "Everything" },
  { value: "incremental", label: "What changed since the last run" },
  { value: "partitioned", label: "Everything, in parallel parts" },
];
const DISPOSITIONS = [
  { value: "append", label: "Add rows" },
  { value: "upsert", label: "Insert or update by key" },
  { value: "replace", label: "Replace the whole table" },
  { value: "scd2", label: "Keep every version of a row" },
];

export function LoadPanel() {
  const { api } = useMfe();
  const { definition, edit, editable, source, problems } = useEditor();
  const connections = useResource("connections", (call) => api.connections.list({ limit: 200 }, call));
  const { load, target, limits } = definition;
  const setLoad = (change: Partial<LoadSettings>, merge?: string) =>
    edit((flow) => ({ ...flow, load: { ...flow.load, ...change } }), merge);
  const setTarget = (change: Partial<FlowDefinition["target"]>, merge?: string) =>
    edit((flow) => ({ ...flow, target: { ...flow.target, ...change } }), merge);
  const columns = source.data?.fields ?? [];
  const candidates = source.data?.cursor_candidates ?? [];
  const cursors = [...columns].sort(
    (a, b) => Number(candidates.includes(b.name)) - Number(candidates.includes(a.name)),
  );
  const keyed = target.disposition === "upsert" || target.disposition === "scd2";
  const here = problems.filter(
    ({ place }) => place.area === "load" || place.area === "target" || place.area === "source",
  );
  const number = (text: string) => Math.max(0, Number.parseInt(text, 10) || 0);
  return (
    <div className="stack">
      {here.map((problem, at) => (
        <Notice key={at} tone={problem.severity === "error" ? "bad" : "warn"} title={problem.message}>
          {problem.hint}
        </Notice>
      ))}
      <div className="grid two">
        <Card title="Reading">
          <div className="stack">
            <Field label="How much">
              {(ids) => (
                <Select
                  {...ids}
                  disabled={!editable}
                  value={load.mode}
                  options={MODES}
                  onChange={(mode) => setLoad({ mode: mode as LoadMode })}
                />
              )}
            </Field>
            {load.mode === "incremental" && (
              <>
                <Field label="Cursor" hint="Grows with every change of a row, e.g. a time of change.">
                  {(ids) => (
                    <Select
                      {...ids}
                      disabled={!editable}
                      value={load.cursor ?? ""}
                      onChange={(cursor) => setLoad({ cursor: cursor || null })}
                      options={[
                        { value: "", label: "Choose a column…" },
                        ...cursors.map(({ name, type }) => ({
                          value: name,
                          label: `${name} (${type})${candidates.includes(name) ? " · fits" : ""}`,
                        })),
                      ]}
                    />
                  )}
                </Field>
                <Field
                  label="Look back, seconds"
                  hint="Reads this much again before the last cursor, for rows that were committed late."
                >
                  {(ids) => (
                    <TextInput
                      {...ids}
                      inputMode="numeric"
                      disabled={!editable}
                      value={String(load.lookback_s)}
                      onChange={(text) => setLoad({ lookback_s: number(text) }, "lookback")}
                    />
                  )}
                </Field>
                <Checkbox
                  label="Guard against late commits"
                  hint="Asks the source which transactions are still open, where it can tell."
                  disabled={!editable}
                  checked={load.late_commit_guard}
                  onChange={(late_commit_guard) => setLoad({ late_commit_guard })}
                />
              </>
            )}
            {load.mode === "partitioned" && (
              <>
                <Field label="Parts">
                  {(ids) => (
                    <TextInput
                      {...ids}
                      inputMode="numeric"
                      disabled={!editable}
                      value={String(load.partitions)}
                      onChange={(text) => setLoad({ partitions: Math.max(1, number(text)) }, "parts")}
                    />
                  )}
                </Field>
                <Field label="Split by" hint="Left open, the key is used.">
                  {(ids) => (
                    <Select
                      {...ids}
                      disabled={!editable}
                      value={load.partition_column ?? ""}
                      onChange={(name) => setLoad({ partition_column: name || null })}
                      options={[
                        { value: "", label: "The key" },
                        ...columns.map(({ name }) => ({ value: name, label: name })),
                      ]}
                    />
                  )}
                </Field>
              </>
            )}
            <Checkbox
              label="Allow an empty extract"
              hint="Off, a run that reads nothing stops before it empties or replaces the target."
              disabled={!editable}
              checked={load.allow_empty}
              onChange={(allow_empty) => setLoad({ allow_empty })}
            />
            <Field
              label="Stop when more than this share is rejected"
              hint="Per cent of the rows read; empty: never."
              required={false}
            >
              {(ids) => (
                <TextInput
                  {...ids}
                  inputMode="decimal"
                  disabled={!editable}
                  value={
                    limits.max_reject_share === null ? "" : String(Math.round(limits.max_reject_share * 10_000) / 100)
                  }
                  onChange={(text) => {
                    const share =
                      text.trim() === "" ? null : Math.min(100, Math.max(0, Number(text.replace(",", ".")) || 0)) / 100;
                    edit((flow) => ({ ...flow, limits: { ...flow.limits, max_reject_share: share } }), "share");
                  }}
                />
              )}
            </Field>
          </div>
        </Card>
        <Card title="Writing">
          <div className="stack">
            <Field label="Target connection">
              {(ids) => (
                <Select
                  {...ids}
                  disabled={!editable}
                  value={target.connection}
                  onChange={(connection) => setTarget({ connection })}
                  options={[
                    ...(connections.data?.results ?? []).map((one) => ({ value: one.slug, label: one.name })),
                    ...(connections.data?.results.some((one) => one.slug === target.connection)
                      ? []
                      : [{ value: target.connection, label: target.connection }]),
                  ]}
                />
              )}
            </Field>
            <Field label="Target table">
              {(ids) => (
                <TextInput
                  {...ids}
                  className="mono"
                  disabled={!editable}
                  value={target.entity}
                  onChange={(entity) => setTarget({ entity }, "target")}
                />
              )}
            </Field>
            <Field label="How rows enter it">
              {(ids) => (
                <Select
                  {...ids}
                  disabled={!editable}
                  value={target.disposition}
                  options={DISPOSITIONS}
                  onChange={(value) => setTarget({ disposition: value as Disposition })}
                />
              )}
            </Field>
            <fieldset>
              <legend>Keys{keyed ? "" : " (used to find doubles)"}</legend>
              {definition.fields.length ? (
                <div className="key-choice">
                  {definition.fields.map((field, at) => (
                    <Checkbox
                      key={at}
                      label={<code>{field.target || "…"}</code>}
                      disabled={!editable}
                      checked={target.keys.includes(field.target)}
                      onChange={() => edit((flow) => toggleKey(flow, at))}
                    />
                  ))}
                </div>
              ) : (
                <span className="small muted">Map a field first.</span>
              )}
            </fieldset>
            {keyed && target.keys.length === 0 && <Notice tone="warn" title="Choose at least one key." />}
          </div>
        </Card>
      </div>
    </div>
  );
}

import type { RestartPreview, Run, Stage } from "@portal/api-client";
import {
  Button,
  type Column,
  DataTable,
  Dialog,
  ErrorNotice,
  Field,
  Notice,
  parseJsonObject,
  StatusBadge,
  TableSkeleton,
  TextArea,
  useAction,
  useMfe,
  useResource,
} from "@portal/ui";
import { useEffect, useState } from "react";
import { describeEffect, describeVerdict } from "./status";

/** How long nobody types before the preview is asked for. */
const REST_MS = 500;
type Forecast = RestartPreview["effects"][number];

/** Does a run again from one step: with which input, and what that does to other systems. */
export function RestartDialog({ run, stage, onClose }: { run: Run; stage: Stage; onClose: () => void }) {
  const { api, navigate, notify } = useMfe();
  const original = JSON.stringify(run.parameters ?? {}, null, 2);
  const [text, setText] = useState(original);
  const asked = useRested(text);
  const [again, setAgain] = useState<ReadonlySet<string>>(new Set());
  const action = useAction();
  const { value: parameters, fault } = parseJsonObject(text.trim() || "{}");
  const edited = (input: string) => {
    const value = parseJsonObject(input.trim() || "{}").value;
    return value && JSON.stringify(value) !== JSON.stringify(run.parameters ?? {}) ? { parameters: value } : {};
  };
  const readable = Boolean(parseJsonObject(asked.trim() || "{}").value);
  const preview = useResource(
    `restart ${run.id} ${stage.path} ${asked}`,
    (call) => api.runs.previewRestart(run.id, { path: stage.path, ...edited(asked) }, call),
    { enabled: readable },
  );
  const shown = text === asked && readable ? preview.data : undefined;
  const submit = async () => {
    if (!parameters || !shown) return;
    const known = new Set(shown.effects.map((one) => one.effect.path));
    const made = await action.run(() =>
      api.runs.restart(run.id, {
        path: stage.path,
        ...edited(text),
        preview: shown.hash,
        again: [...again].filter((path) => known.has(path)),
      }),
    );
    if (!made) return preview.reload();
    notify({ tone: "ok", title: "A new run was started." });
    onClose();
    navigate(`/runs/${made.id}`);
  };
  const toggle = (path: string) => {
    const next = new Set(again);
    if (!next.delete(path)) next.add(path);
    setAgain(next);
  };
  return (
    <Dialog
      wide
      title={`Restart from ${stage.name}`}
      lead="A new run keeps what had ended before this step, and does the rest again."
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" icon="run" busy={action.busy} disabled={!shown || !parameters}>
            Restart
          </Button>
        </>
      }
    >
      <Field label="Input" hint="Steps that are kept have used the old input." error={fault}>
        {(ids) => <TextArea {...ids} className="mono" rows={6} value={text} onChange={setText} />}
      </Field>
      {shown ? (
        <Effects preview={shown} again={again} onToggle={toggle} />
      ) : preview.error && text === asked ? (
        <ErrorNotice error={preview.error} />
      ) : (
        !fault && <TableSkeleton rows={3} />
      )}
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

function Effects({
  preview,
  again,
  onToggle,
}: {
  preview: RestartPreview;
  again: ReadonlySet<string>;
  onToggle: (path: string) => void;
}) {
  const columns: Column<Forecast>[] = [
    {
      key: "step",
      title: "Step",
      lead: true,
      render: (one) => (
        <>
          {one.name} <code className="xs muted break">{one.effect.path}</code>
        </>
      ),
    },
    {
      key: "effect",
      title: "What it did",
      render: (one) => (
        <span className="break">
          {describeEffect(one.effect)} <StatusBadge status={one.effect.outcome} />
        </span>
      ),
    },
    {
      key: "verdict",
      title: "This time",
      render: (one) => (
        <>
          <span className="strong">{describeVerdict(one.verdict, again.has(one.effect.path))}</span>
          {!again.has(one.effect.path) && <div className="xs muted">{one.reason}</div>}
        </>
      ),
    },
    {
      key: "again",
      title: "Once more",
      render: (one) =>
        one.verdict === "repeated" ? null : (
          <input
            type="checkbox"
            className="box"
            aria-label={`Let ${one.effect.path} happen once more`}
            checked={again.has(one.effect.path)}
            onChange={() => onToggle(one.effect.path)}
          />
        ),
    },
  ];
  return (
    <div className="stack gap-2">
      <p className="small soft" role="status">
        {preview.kept} {preview.kept === 1 ? "step is" : "steps are"} kept, {preview.redone} of the old run{" "}
        {preview.redone === 1 ? "is" : "are"} done again.
      </p>
      {preview.effects.length ? (
        <DataTable
          label="Effects of the steps that are done again"
          rows={preview.effects}
          columns={columns}
          rowKey={(one) => one.effect.id}
        />
      ) : (
        <Notice title="None of these steps has done anything to another system yet." />
      )}
      {preview.more > 0 && <p className="xs muted">And {preview.more} more effects.</p>}
    </div>
  );
}

/** The text once nobody has typed for a moment. */
function useRested(text: string): string {
  const [rested, setRested] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setRested(text), REST_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return rested;
}

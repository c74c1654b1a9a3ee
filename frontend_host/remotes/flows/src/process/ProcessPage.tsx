import type { Flow } from "@portal/api-client";
import { type OutlineStep, writeProcess } from "@portal/flow-model";
import {
  Button,
  Card,
  Empty,
  Icon,
  Notice,
  Page,
  StatusBadge,
  Tabs,
  useAction,
  useCan,
  useQueryParams,
} from "@portal/ui";
import { useEffect, useRef, useState } from "react";
import { DeployDialog } from "../dialogs/DeployDialog";
import { PublishDialog } from "../dialogs/PublishDialog";
import { FlowDocumentProvider } from "../editor/flowDocument";
import { FlowActions, type OpenDialog, PausedNotice } from "../FlowActions";
import { HistoryPanel } from "../panels/HistoryPanel";
import { StartProcessDialog } from "./StartProcessDialog";
import { type ProcessEditor, useProcessText } from "./useProcessText";

type Tab = "definition" | "history";

/** A process: its definition as JSON beside an outline of its steps and everything that is wrong with it. */
export function ProcessPage({ initial }: { initial: Flow }) {
  const editor = useProcessText(initial, useCan("flow:edit"));
  const [params, setParams] = useQueryParams();
  const [dialog, setDialog] = useState<OpenDialog>(null);
  const tab = (params.get("tab") ?? "definition") as Tab;
  const setTab = (next: Tab) => setParams({ tab: next === "definition" ? null : next });
  const { flow, problems } = editor;
  return (
    <FlowDocumentProvider value={editor}>
      <Page
        title={flow.name}
        back={{ to: "/flows", label: "Flows" }}
        size="wide"
        lead={
          <span className="row wrap gap-2">
            <span className="badge plain">Process</span>
            <Saved editor={editor} />
            {flow.deployments.map((one) => (
              <span key={one.environment} className="badge plain">
                {one.environment} v{one.version}
              </span>
            ))}
            {flow.last_run && <StatusBadge status={flow.last_run.status} />}
          </span>
        }
        actions={<FlowActions flow={flow} setFlow={editor.setFlow} editable={editor.editable} onOpen={setDialog} />}
      >
        <PausedNotice flow={flow} />
        <Failure editor={editor} />
        <Tabs
          label="Parts of the process"
          items={[
            {
              key: "definition",
              label: "Definition",
              count: problems.length,
              tone: problems.some(({ severity }) => severity === "error") ? "bad" : "warn",
            },
            { key: "history", label: "History" },
          ]}
          value={tab}
          onChange={setTab}
        />
        {tab === "definition" ? (
          <Definition editor={editor} />
        ) : (
          <HistoryPanel
            onRestore={(definition) => {
              editor.setText(writeProcess(definition));
              setTab("definition");
            }}
          />
        )}
        {dialog === "publish" && (
          <PublishDialog
            onClose={() => setDialog(null)}
            onPublished={() => {
              setDialog(null);
              setTab("history");
            }}
          />
        )}
        {dialog === "deploy" && <DeployDialog onClose={() => setDialog(null)} />}
        {dialog === "run" && <StartProcessDialog document={editor.read.value} onClose={() => setDialog(null)} />}
      </Page>
    </FlowDocumentProvider>
  );
}

function Saved({ editor }: { editor: ProcessEditor }) {
  if (!editor.editable) return <span className="badge plain">You may look, not change</span>;
  const [tone, label] = editor.saving ? ["", "Saving…"] : editor.dirty ? ["warn", "Not saved"] : ["ok", "Saved"];
  return (
    <span role="status" className={`badge ${tone}`}>
      {label}
    </span>
  );
}

function Failure({ editor }: { editor: ProcessEditor }) {
  const action = useAction({ toast: true });
  if (!editor.failure) return null;
  if (!editor.failure.conflict)
    return (
      <Notice tone="bad" title="Not saved.">
        {editor.failure.message}
      </Notice>
    );
  return (
    <Notice
      tone="warn"
      title="Somebody else changed this draft."
      actions={
        <div className="row wrap">
          <Button small busy={action.busy} onClick={() => action.run(editor.takeTheirs)}>
            Take theirs
          </Button>
          <Button small tone="danger" busy={action.busy} onClick={() => action.run(editor.keepMine)}>
            Keep mine
          </Button>
        </div>
      }
    >
      Your changes since then are on this page only. Taking theirs drops them; keeping yours replaces theirs.
    </Notice>
  );
}

function Definition({ editor }: { editor: ProcessEditor }) {
  const area = useRef<HTMLTextAreaElement | null>(null);
  const { read, flush } = editor;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
      event.preventDefault();
      void flush();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  const show = (place: { start: number; end: number } | null) => {
    const element = area.current;
    if (!element || !place) return;
    element.focus();
    element.setSelectionRange(place.start, place.end);
    // The browser scrolls to a selection only while typing.
    const line = editor.text.slice(0, place.start).split("\n").length - 1;
    const height = element.scrollHeight / editor.text.split("\n").length;
    element.scrollTop = Math.max(0, (line - 4) * height);
  };
  return (
    <div className="process-grid">
      <Card
        title="Definition"
        actions={
          editor.editable && (
            <Button
              small
              tone="primary"
              title="Save (Ctrl S)"
              busy={editor.saving}
              disabled={!editor.dirty}
              onClick={() => void flush()}
            >
              Save
            </Button>
          )
        }
      >
        <textarea
          ref={area}
          className="input mono process-text"
          aria-label="Definition as JSON"
          aria-invalid={read.fault !== null}
          aria-describedby="process-fault"
          spellCheck={false}
          readOnly={!editor.editable}
          value={editor.text}
          onChange={(event) => editor.setText(event.target.value)}
        />
        <p id="process-fault" className="small soft" role="status">
          {read.fault ? (
            <button
              type="button"
              className="linklike"
              onClick={() => show({ start: read.fault!.offset, end: read.fault!.offset + 1 })}
            >
              Line {read.fault.line}, column {read.fault.column}: {read.fault.message}
            </button>
          ) : (
            "Checked by the server after every save."
          )}
        </p>
      </Card>
      <div className="stack gap-4">
        <Findings editor={editor} onShow={(path) => show(read.locate(path))} />
        <Card title="Steps" flush>
          {read.steps.length ? (
            <ol className="outline">
              {read.steps.map((step) => (
                <Step key={step.path} step={step} editor={editor} onShow={() => show(step)} />
              ))}
            </ol>
          ) : (
            <Empty icon="flow" title="No step yet">
              A step has an id and a kind.
            </Empty>
          )}
        </Card>
      </div>
    </div>
  );
}

function Step({ step, editor, onShow }: { step: OutlineStep; editor: ProcessEditor; onShow: () => void }) {
  const own = editor.problems.filter(({ path }) => path === step.path || path.startsWith(`${step.path}.`));
  return (
    <li style={{ paddingInlineStart: `calc(var(--space-3) * ${step.depth})` }}>
      <button type="button" onClick={onShow}>
        <span className="strong break">{step.name || step.id}</span>
        <span className="badge plain">{step.kind}</span>
        {step.dependencies && (
          <span className="xs muted break">
            {step.dependencies.length ? `after ${step.dependencies.join(", ")}` : "at once"}
          </span>
        )}
        {own.length > 0 && (
          <span className={`badge ${own.some(({ severity }) => severity === "error") ? "bad" : "warn"}`}>
            {own.length}
          </span>
        )}
      </button>
    </li>
  );
}

function Findings({ editor, onShow }: { editor: ProcessEditor; onShow: (path: string) => void }) {
  if (!editor.problems.length)
    return editor.dirty || !editor.checked ? null : (
      <Notice tone="ok" title="No problems">
        The draft can be published.
      </Notice>
    );
  return (
    <Card title="Problems" flush>
      <ul className="problems">
        {editor.problems.map((problem, at) => (
          <li key={at}>
            <button type="button" onClick={() => onShow(problem.path)}>
              <span className={problem.severity}>
                <Icon name={problem.severity === "error" ? "error" : "alert"} size={15} />
              </span>
              <span className="stack gap-1">
                <span className="break">
                  <code>{problem.path || "process"}</code> {problem.message}
                </span>
                {problem.hint && <span className="xs muted">{problem.hint}</span>}
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Card>
  );
}

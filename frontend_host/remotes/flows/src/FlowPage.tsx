import type { Flow } from "@portal/api-client";
import { fromJson } from "@portal/flow-model";
import {
  Button,
  Notice,
  Page,
  ResourceView,
  StatusBadge,
  type TabItem,
  Tabs,
  useAction,
  useCan,
  useMfe,
  useQueryParams,
  useResource,
} from "@portal/ui";
import { useEffect, useRef, useState } from "react";
import { DeployDialog } from "./dialogs/DeployDialog";
import { PublishDialog } from "./dialogs/PublishDialog";
import { RunDialog } from "./dialogs/RunDialog";
import { SuggestDrawer } from "./dialogs/SuggestDrawer";
import { FlowDocumentProvider } from "./editor/flowDocument";
import { SaveBadge } from "./editor/SaveBadge";
import { EditorProvider, type FlowEditor, useFlowEditor } from "./editor/useFlowEditor";
import { type ExpressionFocus, ExpressionFocusContext } from "./expression/focus";
import { FlowActions, type OpenDialog, PausedNotice } from "./FlowActions";
import { ContractPanel } from "./panels/ContractPanel";
import { HistoryPanel } from "./panels/HistoryPanel";
import { Inspector, type InspectorTab } from "./panels/Inspector";
import { LoadPanel } from "./panels/LoadPanel";
import { MappingPane } from "./panels/MappingPane";
import { ReconciliationPanel } from "./panels/ReconciliationPanel";
import { RulesPanel } from "./panels/RulesPanel";
import { SourcePane } from "./panels/SourcePane";
import { ProcessPage } from "./process/ProcessPage";

type Tab = "mapping" | "rules" | "load" | "contract" | "reconciliation" | "history";
type Pane = "source" | "mapping" | "inspector";

const TAB_OF_AREA: Record<string, Tab> = {
  field: "mapping",
  filter: "rules",
  validation: "rules",
  control: "reconciliation",
  load: "load",
  source: "load",
  target: "load",
  contract: "contract",
};

export function FlowPage({ id }: { id: string }) {
  const { api } = useMfe();
  // Read once: the editor owns the draft from here on, and conflicts are found when it saves.
  const flow = useResource(`flow ${id}`, (call) => api.flows.get(id, call));
  if (!flow.data)
    return (
      <Page title="Flow" back={{ to: "/flows", label: "Flows" }}>
        <ResourceView resource={flow}>{() => null}</ResourceView>
      </Page>
    );
  return flow.data.kind === "process" ? <ProcessPage initial={flow.data} /> : <Editor initial={flow.data} />;
}

function Editor({ initial }: { initial: Flow }) {
  const mayEdit = useCan("flow:edit");
  const editor = useFlowEditor(initial, mayEdit);
  const focus = useRef<ExpressionFocus["current"]>(null);
  const [params, setParams] = useQueryParams();
  const [dialog, setDialog] = useState<OpenDialog>(params.get("suggest") ? "suggest" : null);
  const tab = (params.get("tab") ?? "mapping") as Tab;
  const setTab = (next: Tab) => setParams({ tab: next === "mapping" ? null : next });
  const close = () => {
    setDialog(null);
    if (params.get("suggest")) setParams({ suggest: null });
  };
  const { problems } = editor;
  const tally = (...areas: string[]): Pick<TabItem<Tab>, "count" | "tone"> => {
    const found = problems.filter(({ place }) => areas.includes(place.area));
    return { count: found.length, tone: found.some(({ severity }) => severity === "error") ? "bad" : "warn" };
  };
  return (
    <EditorProvider value={editor}>
      <ExpressionFocusContext value={focus}>
        <FlowDocumentProvider value={editor}>
          <Page
            title={editor.flow.name}
            back={{ to: "/flows", label: "Flows" }}
            size="wide"
            lead={
              <span className="row wrap gap-2">
                <SaveBadge />
                {editor.flow.deployments.map((one) => (
                  <span key={one.environment} className="badge plain">
                    {one.environment} v{one.version}
                  </span>
                ))}
                {editor.flow.last_run && <StatusBadge status={editor.flow.last_run.status} />}
              </span>
            }
            actions={
              <FlowActions
                flow={editor.flow}
                setFlow={editor.setFlow}
                editable={editor.editable}
                undo={editor.undo}
                redo={editor.redo}
                onOpen={setDialog}
              />
            }
          >
            <PausedNotice flow={editor.flow} />
            <Conflict editor={editor} />
            <Tabs
              label="Parts of the flow"
              items={[
                { key: "mapping", label: "Mapping", ...tally("field") },
                { key: "rules", label: "Rules", ...tally("filter", "validation") },
                { key: "load", label: "Load", ...tally("load", "source", "target") },
                { key: "contract", label: "Contract", ...tally("contract") },
                { key: "reconciliation", label: "Reconciliation", ...tally("control") },
                { key: "history", label: "History" },
              ]}
              value={tab}
              onChange={setTab}
            />
            {tab === "mapping" && <Workbench onSuggest={() => setDialog("suggest")} onTab={setTab} />}
            {tab === "rules" && <RulesPanel />}
            {tab === "load" && <LoadPanel />}
            {tab === "contract" && <ContractPanel />}
            {tab === "reconciliation" && <ReconciliationPanel />}
            {tab === "history" && (
              <HistoryPanel
                onRestore={(stored) => {
                  const definition = fromJson(stored);
                  editor.edit(() => definition);
                }}
              />
            )}
            {dialog === "suggest" && mayEdit && <SuggestDrawer onClose={close} />}
            {dialog === "publish" && (
              <PublishDialog
                onClose={close}
                onPublished={() => {
                  close();
                  setTab("history");
                }}
              />
            )}
            {dialog === "deploy" && <DeployDialog onClose={close} />}
            {dialog === "run" && <RunDialog onClose={close} />}
          </Page>
        </FlowDocumentProvider>
      </ExpressionFocusContext>
    </EditorProvider>
  );
}

/** The three panes; on small screens one at a time. */
function Workbench({ onSuggest, onTab }: { onSuggest: () => void; onTab: (tab: Tab) => void }) {
  const [pane, setPane] = useState<Pane>("mapping");
  const [inspected, setInspected] = useState<InspectorTab>("preview");
  const [round, setRound] = useState(0);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      setInspected("preview");
      setPane("inspector");
      setRound((value) => value + 1);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  return (
    <div className={`workbench show-${pane}`}>
      <div className="pane-switch">
        <Tabs
          label="Pane"
          kind="segmented"
          items={[
            { key: "source", label: "Source" },
            { key: "mapping", label: "Mapping" },
            { key: "inspector", label: "Inspector" },
          ]}
          value={pane}
          onChange={setPane}
        />
      </div>
      <SourcePane />
      <MappingPane onSuggest={onSuggest} />
      <Inspector
        tab={inspected}
        onTab={setInspected}
        previewRound={round}
        onOpenProblem={(area) => {
          const tab = TAB_OF_AREA[area] ?? "mapping";
          if (tab !== "mapping") onTab(tab);
          else setPane("mapping");
        }}
      />
    </div>
  );
}

function Conflict({ editor }: { editor: FlowEditor }) {
  const action = useAction({ toast: true });
  if (editor.save.kind !== "conflict") return null;
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

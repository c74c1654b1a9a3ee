import { Tabs } from "@portal/ui";
import { useEditor } from "../editor/useFlowEditor";
import { FunctionsPanel } from "./FunctionsPanel";
import { PreviewPanel } from "./PreviewPanel";
import { ProblemsPanel } from "./ProblemsPanel";

export type InspectorTab = "preview" | "problems" | "functions";

interface InspectorProps {
  tab: InspectorTab;
  onTab: (tab: InspectorTab) => void;
  /** Grows when the person asks for a new preview. */
  previewRound: number;
  onOpenProblem: (area: string) => void;
}

export function Inspector({ tab, onTab, previewRound, onOpenProblem }: InspectorProps) {
  const { problems } = useEditor();
  const errors = problems.filter((problem) => problem.severity === "error").length;
  return (
    <section className="pane inspector" aria-label="Inspector">
      <div className="pane-tabs">
        <Tabs
          label="Inspector"
          items={[
            { key: "preview", label: "Preview" },
            { key: "problems", label: "Problems", count: problems.length, tone: errors ? "bad" : "warn" },
            { key: "functions", label: "Functions" },
          ]}
          value={tab}
          onChange={onTab}
        />
      </div>
      <div className="pane-body">
        {tab === "preview" && <PreviewPanel round={previewRound} />}
        {tab === "problems" && <ProblemsPanel onOpen={onOpenProblem} />}
        {tab === "functions" && <FunctionsPanel />}
      </div>
    </section>
  );
}

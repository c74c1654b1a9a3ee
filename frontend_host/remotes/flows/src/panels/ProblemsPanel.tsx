import { markSpans, type PlacedProblem } from "@portal/flow-model";
import { Button, Empty, Icon } from "@portal/ui";
import { type FlowEditor, useEditor } from "../editor/useFlowEditor";

function expressionOf(problem: PlacedProblem, editor: FlowEditor): string | null {
  const { place } = problem;
  if (problem.start === null || !editor.checked) return null;
  if (place.area === "field") return editor.checked.fields[place.index]?.expression ?? null;
  if (place.area === "validation") return editor.checked.validations[place.index]?.expression ?? null;
  return place.area === "filter" ? editor.checked.filter : null;
}

/** Every finding about the draft; choosing one goes to its place. */
export function ProblemsPanel({ onOpen }: { onOpen: (area: string) => void }) {
  const editor = useEditor();
  const open = (problem: PlacedProblem) => {
    onOpen(problem.place.area);
    if (problem.place.area !== "field") return;
    const { index } = problem.place;
    requestAnimationFrame(() => {
      const roots = [...document.querySelectorAll("portal-mfe")].map((element) => element.shadowRoot);
      const row = roots.map((root) => root?.getElementById(`field-${index}`)).find(Boolean);
      row?.scrollIntoView({ block: "center" });
      row?.querySelector<HTMLElement>("textarea")?.focus();
    });
  };
  return (
    <div>
      <div className="preview-head">
        <span className="small soft">{editor.validating ? "Checking…" : "Checked after every save."}</span>
        <Button
          small
          tone="ghost"
          icon="refresh"
          busy={editor.validating}
          aria-label="Check now"
          onClick={() => void editor.validate()}
        />
      </div>
      {editor.problems.length ? (
        <ul className="problems">
          {editor.problems.map((problem, at) => {
            const expression = expressionOf(problem, editor);
            return (
              <li key={at}>
                <button type="button" onClick={() => open(problem)}>
                  <span className={problem.severity}>
                    <Icon name={problem.severity === "error" ? "error" : "alert"} size={15} />
                  </span>
                  <span className="stack gap-1">
                    <span>
                      <strong>{problem.label}</strong> {problem.message}
                    </span>
                    {expression && (
                      <code className="excerpt">
                        {markSpans(expression, [problem]).map((span, index) => (
                          <span key={index} className={span.mark ? `mark-${span.mark}` : undefined}>
                            {span.text}
                          </span>
                        ))}
                      </code>
                    )}
                    {problem.hint && <span className="xs muted">{problem.hint}</span>}
                  </span>
                </button>
              </li>
            );
          })}
        </ul>
      ) : (
        <Empty icon="check" title="No problems">
          The draft can be published.
        </Empty>
      )}
    </div>
  );
}

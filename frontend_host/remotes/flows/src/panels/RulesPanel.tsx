import { addRule, removeRule, updateRule } from "@portal/flow-model";
import { Button, Card, Empty, Field, Select, TextInput } from "@portal/ui";
import { useMemo } from "react";
import { useEditor } from "../editor/useFlowEditor";
import { ExpressionField, type FieldProblem } from "../expression/ExpressionField";

const SEVERITIES = [
  { value: "quarantine", label: "Hold the row back" },
  { value: "warning", label: "Load it and count it" },
];

/** The filter, and the rules each row must meet. They see source columns, and mapped fields as `mapped.<name>`. */
export function RulesPanel() {
  const editor = useEditor();
  const { definition, edit, editable, columns } = editor;
  const mapped = useMemo(
    () =>
      definition.fields
        .filter((field) => field.target)
        .map(({ target, type, nullable }) => ({ name: target, type, nullable })),
    [definition.fields],
  );
  const problemsAt = (area: "filter" | "validation", index: number, text: string | null): FieldProblem[] => {
    const checkedText = area === "filter" ? editor.checked?.filter : editor.checked?.validations[index]?.expression;
    if (checkedText !== text) return [];
    return editor.problems.filter(
      ({ place }) => place.area === area && (area === "filter" || ("index" in place && place.index === index)),
    );
  };
  return (
    <div className="stack">
      <Card title="Filter">
        <div className="stack gap-2">
          <p className="small soft">Only rows for which this is true are loaded. Left empty, all rows are.</p>
          <ExpressionField
            label="Filter"
            value={definition.filter ?? ""}
            columns={columns}
            mapped={mapped}
            targetType="BOOLEAN"
            disabled={!editable}
            placeholder="status <> 'void'"
            problems={problemsAt("filter", 0, definition.filter)}
            onChange={(filter) => edit((flow) => ({ ...flow, filter: filter || null }), "filter")}
          />
        </div>
      </Card>
      <Card
        title="Validations"
        actions={
          editable && (
            <Button small icon="plus" onClick={() => edit(addRule)}>
              Add a rule
            </Button>
          )
        }
      >
        {definition.validations.length ? (
          <ol className="rules-list">
            {definition.validations.map((rule, at) => (
              <li key={at}>
                <div className="rule-grid">
                  <Field label="Rule">
                    {(ids) => (
                      <TextInput
                        {...ids}
                        className="mono"
                        disabled={!editable}
                        value={rule.id}
                        onChange={(id) => edit((flow) => updateRule(flow, at, { id }), `rule-id-${at}`)}
                      />
                    )}
                  </Field>
                  <Field label="About">
                    {(ids) => (
                      <Select
                        {...ids}
                        disabled={!editable}
                        value={rule.field ?? ""}
                        onChange={(field) => edit((flow) => updateRule(flow, at, { field: field || null }))}
                        options={[
                          { value: "", label: "The whole row" },
                          ...definition.fields.map((field) => ({ value: field.target, label: field.target })),
                        ]}
                      />
                    )}
                  </Field>
                  <Field label="When broken">
                    {(ids) => (
                      <Select
                        {...ids}
                        disabled={!editable}
                        value={rule.severity}
                        onChange={(severity) => edit((flow) => updateRule(flow, at, { severity }))}
                        options={SEVERITIES}
                      />
                    )}
                  </Field>
                  {editable && (
                    <Button
                      tone="ghost"
                      icon="trash"
                      aria-label={`Remove ${rule.id}`}
                      onClick={() => edit((flow) => removeRule(flow, at))}
                    />
                  )}
                </div>
                <ExpressionField
                  label={`Expression of ${rule.id}`}
                  value={rule.expression}
                  columns={columns}
                  mapped={mapped}
                  targetType="BOOLEAN"
                  disabled={!editable}
                  placeholder="total >= 0"
                  problems={problemsAt("validation", at, rule.expression)}
                  onChange={(expression) => edit((flow) => updateRule(flow, at, { expression }), `rule-${at}`)}
                />
                <TextInput
                  aria-label={`Message of ${rule.id}`}
                  placeholder="What the person reads, e.g. “Total must not be negative”"
                  disabled={!editable}
                  value={rule.message}
                  onChange={(message) => edit((flow) => updateRule(flow, at, { message }), `rule-message-${at}`)}
                />
              </li>
            ))}
          </ol>
        ) : (
          <Empty icon="shield" title="No rule yet">
            Values that do not convert, and empty required fields, are held back without a rule.
          </Empty>
        )}
      </Card>
    </div>
  );
}

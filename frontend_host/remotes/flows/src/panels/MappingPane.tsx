import type { Column } from "@portal/api-client";
import { insertField, moveField, removeField, toggleKey, updateField } from "@portal/flow-model";
import { Button, Empty, Icon, Menu } from "@portal/ui";
import { memo, useState } from "react";
import { type FlowEditor, useEditor } from "../editor/useFlowEditor";
import { ExpressionField, type FieldProblem } from "../expression/ExpressionField";
import { TYPES } from "./types";

/** Target ← expression, one row a field. */
export function MappingPane({ onSuggest }: { onSuggest: () => void }) {
  const editor = useEditor();
  const { definition, edit, editable, columns } = editor;
  return (
    <section className="pane mapping-pane" aria-label="Mapping">
      <header className="pane-head">
        <div className="grow">
          <h2>Mapping</h2>
          <div className="xs muted truncate">
            {definition.fields.length} {definition.fields.length === 1 ? "field" : "fields"} into{" "}
            {definition.target.entity || "…"}
          </div>
        </div>
        {editable && (
          <div className="row">
            <Button small icon="wand" onClick={onSuggest}>
              Suggest
            </Button>
            <Button small icon="plus" onClick={() => edit((flow) => insertField(flow, {}))}>
              Add
            </Button>
          </div>
        )}
      </header>
      <div className="pane-body">
        {definition.fields.length ? (
          <>
            <div className="map-head" aria-hidden="true">
              <span>Target field</span>
              <span>Type</span>
              <span>Expression</span>
              <span />
            </div>
            <ol className="map-rows">
              {definition.fields.map((_, at) => (
                <MappingRow key={at} at={at} editor={editor} columns={columns} />
              ))}
            </ol>
          </>
        ) : (
          <Empty
            icon="flow"
            title="Nothing is mapped yet"
            actions={
              editable && (
                <Button tone="primary" icon="wand" onClick={onSuggest}>
                  Suggest a mapping
                </Button>
              )
            }
          >
            Suggestions compare names and types; you accept each, or all.
          </Empty>
        )}
      </div>
      <datalist id="field-types">
        {TYPES.map((type) => (
          <option key={type} value={type} />
        ))}
      </datalist>
    </section>
  );
}

interface MappingRowProps {
  at: number;
  editor: FlowEditor;
  columns: readonly Column[];
}

/** Findings about one row; positions hold only while the text is the one that was checked. */
function problemsOf(editor: FlowEditor, at: number, part: string): FieldProblem[] {
  const unchanged = editor.checked?.fields[at]?.expression === editor.definition.fields[at]?.expression;
  return editor.problems
    .filter(
      ({ place }) =>
        place.area === "field" &&
        place.index === at &&
        (part === "expression" ? place.part === "expression" : place.part !== "expression"),
    )
    .filter(() => part !== "expression" || unchanged)
    .map(({ message, severity, start, end, hint }) => ({ message, severity, start, end, hint }));
}

const MappingRow = memo(function MappingRow({ at, editor, columns }: MappingRowProps) {
  const { definition, edit, editable, types } = editor;
  const field = definition.fields[at]!;
  const isKey = definition.target.keys.includes(field.target);
  const [described, setDescribed] = useState(Boolean(field.description));
  const others = problemsOf(editor, at, "other");
  const actual = types.get(field.target);
  const move = (by: number) => edit((flow) => moveField(flow, at, at + by));
  return (
    <li className={`map-row ${others.length ? "broken" : ""}`} id={`field-${at}`}>
      <input
        className="input mono target"
        aria-label={`Target field ${at + 1}`}
        value={field.target}
        disabled={!editable}
        onChange={(event) => edit((flow) => updateField(flow, at, { target: event.target.value }), `target-${at}`)}
        onKeyDown={(event) => {
          if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
          event.preventDefault();
          move(event.key === "ArrowUp" ? -1 : 1);
        }}
      />
      <input
        className="input mono type-input"
        aria-label={`Type of ${field.target}`}
        list="field-types"
        value={field.type}
        disabled={!editable}
        title={
          actual && actual !== field.type ? `The expression gives ${actual}; it is converted row by row` : undefined
        }
        onChange={(event) =>
          edit((flow) => updateField(flow, at, { type: event.target.value.toUpperCase() }), `type-${at}`)
        }
      />
      <ExpressionField
        label={`Expression for ${field.target}`}
        value={field.expression}
        columns={columns}
        targetType={field.type}
        disabled={!editable}
        placeholder="column or expression"
        problems={problemsOf(editor, at, "expression")}
        onChange={(expression) => edit((flow) => updateField(flow, at, { expression }), `expression-${at}`)}
      />
      <div className="row gap-1 map-tools">
        <Button
          small
          tone="ghost"
          icon="key"
          aria-pressed={isKey}
          aria-label={`Key: ${field.target}`}
          title={isKey ? "A key of the target" : "Make it a key"}
          disabled={!editable}
          onClick={() => edit((flow) => toggleKey(flow, at))}
        />
        <Button
          small
          tone="ghost"
          aria-pressed={!field.nullable}
          aria-label={`Required: ${field.target}`}
          title={field.nullable ? "May be empty" : "Must not be empty"}
          disabled={!editable || isKey}
          onClick={() => edit((flow) => updateField(flow, at, { nullable: !field.nullable }))}
        >
          {field.nullable ? "null" : "req"}
        </Button>
        {editable && (
          <Menu
            label={`More for ${field.target}`}
            small
            items={[
              { label: "Move up", icon: "up", disabled: at === 0, run: () => move(-1) },
              { label: "Move down", icon: "down", disabled: at === definition.fields.length - 1, run: () => move(1) },
              {
                label: described ? "Hide the description" : "Describe",
                icon: "edit",
                run: () => setDescribed(!described),
              },
              {
                label: "Duplicate",
                icon: "copy",
                run: () => edit((flow) => insertField(flow, { ...field, target: `${field.target}_copy` }, at + 1)),
              },
              "line",
              { label: "Remove", icon: "trash", danger: true, run: () => edit((flow) => removeField(flow, at)) },
            ]}
          />
        )}
      </div>
      {described && (
        <input
          className="input description"
          aria-label={`Description of ${field.target}`}
          placeholder="What this field means"
          value={field.description}
          disabled={!editable}
          onChange={(event) =>
            edit((flow) => updateField(flow, at, { description: event.target.value }), `description-${at}`)
          }
        />
      )}
      {others.map((problem, index) => (
        <div key={index} className="row-problem">
          <Icon name="error" size={13} /> {problem.message}
        </div>
      ))}
    </li>
  );
});

import { Button, Field, TextInput } from "@portal/ui";
import type { MappingLine } from "./draft";
import type { FieldsProps } from "./TriggerForm";

interface MappingFieldsProps extends FieldsProps {
  fault: string | null;
  /** What the expressions may name, for people. */
  columns: string;
}

/** Inputs that are computed at each firing; each line has its own finding. */
export function MappingFields({ draft, set, problemOf, fault, columns }: MappingFieldsProps) {
  const put = (at: number, change: Partial<MappingLine>) =>
    set({ mapping: draft.mapping.map((line, place) => (place === at ? { ...line, ...change } : line)) });
  return (
    <fieldset className="field mapping">
      <legend className="label small strong">Computed input</legend>
      <span className="hint">Expressions over {columns}; they win over the input above.</span>
      {draft.mapping.map((line, at) => (
        <div key={at} className="mapping-row">
          <Field label={<span className="xs">Input</span>}>
            {(ids) => (
              <TextInput
                {...ids}
                aria-label={`Input ${at + 1}`}
                value={line.name}
                onChange={(name) => put(at, { name })}
              />
            )}
          </Field>
          <Field label={<span className="xs">Expression</span>} error={problemOf(`mapping.${line.name.trim()}`)}>
            {(ids) => (
              <TextInput
                {...ids}
                aria-label={`Expression ${at + 1}`}
                className="mono"
                spellCheck={false}
                value={line.expression}
                onChange={(expression) => put(at, { expression })}
              />
            )}
          </Field>
          <Button
            icon="trash"
            tone="ghost"
            aria-label={`Remove line ${at + 1}`}
            onClick={() => set({ mapping: draft.mapping.filter((_, place) => place !== at) })}
          />
        </div>
      ))}
      {fault && (
        <span className="error" role="alert">
          {fault}
        </span>
      )}
      <div className="row">
        <Button small icon="plus" onClick={() => set({ mapping: [...draft.mapping, { name: "", expression: "" }] })}>
          Add an input
        </Button>
      </div>
    </fieldset>
  );
}

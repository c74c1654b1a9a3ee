import { freshName, updateControl } from "@portal/flow-model";
import { Button, Card, Empty, Field, isNumericType, Select, TextInput } from "@portal/ui";
import { useEditor } from "../editor/useFlowEditor";

const AGGREGATES = ["sum", "count", "min", "max"].map((value) => ({
  value,
  label: value.replace(/^./, (letter) => letter.toUpperCase()),
}));

/** Totals that are computed in the source and in the target and must agree. */
export function ReconciliationPanel() {
  const { definition, edit, editable, source } = useEditor();
  const { controls, count_tolerance } = definition.reconciliation;
  const columns = source.data?.fields ?? [];
  const setControls = (next: typeof controls) =>
    edit((flow) => ({ ...flow, reconciliation: { ...flow.reconciliation, controls: next } }));
  const add = () => {
    const taken = new Set(controls.map((control) => control.target));
    const amount = definition.fields.find(
      (field) =>
        isNumericType(field.type) && !taken.has(field.target) && !definition.target.keys.includes(field.target),
    );
    const column = columns.find((one) => one.name === amount?.expression.replaceAll('"', ""));
    setControls([
      ...controls,
      {
        name: freshName(
          controls.map((control) => control.name),
          amount ? `Total ${amount.target}` : "Total",
        ),
        source: column?.name ?? "",
        target: amount?.target ?? "",
        aggregate: "sum",
        tolerance: "0.00",
      },
    ]);
  };
  return (
    <div className="stack">
      <Card title="Row count">
        <div style={{ maxWidth: 320 }}>
          <Field label="Tolerated difference, rows" hint="Rows in quarantine are counted, so 0 is the usual choice.">
            {(ids) => (
              <TextInput
                {...ids}
                inputMode="numeric"
                disabled={!editable}
                value={String(count_tolerance)}
                onChange={(text) =>
                  edit(
                    (flow) => ({
                      ...flow,
                      reconciliation: {
                        ...flow.reconciliation,
                        count_tolerance: Math.max(0, Number.parseInt(text, 10) || 0),
                      },
                    }),
                    "count",
                  )
                }
              />
            )}
          </Field>
        </div>
      </Card>
      <Card
        title="Control totals"
        actions={
          editable && (
            <Button small icon="plus" onClick={add}>
              Add a control
            </Button>
          )
        }
      >
        {controls.length ? (
          <ol className="rules-list">
            {controls.map((control, at) => (
              <li key={at}>
                <div className="control-grid">
                  <Field label="Name">
                    {(ids) => (
                      <TextInput
                        {...ids}
                        disabled={!editable}
                        value={control.name}
                        onChange={(name) => edit((flow) => updateControl(flow, at, { name }), `control-${at}`)}
                      />
                    )}
                  </Field>
                  <Field label="Aggregate">
                    {(ids) => (
                      <Select
                        {...ids}
                        disabled={!editable}
                        value={control.aggregate}
                        options={AGGREGATES}
                        onChange={(aggregate) => edit((flow) => updateControl(flow, at, { aggregate }))}
                      />
                    )}
                  </Field>
                  <Field label="Source column">
                    {(ids) => (
                      <Select
                        {...ids}
                        disabled={!editable}
                        value={control.source}
                        onChange={(name) => edit((flow) => updateControl(flow, at, { source: name }))}
                        options={[
                          { value: "", label: "Choose…" },
                          ...columns.map(({ name }) => ({ value: name, label: name })),
                        ]}
                      />
                    )}
                  </Field>
                  <Field label="Target field">
                    {(ids) => (
                      <Select
                        {...ids}
                        disabled={!editable}
                        value={control.target}
                        onChange={(name) => edit((flow) => updateControl(flow, at, { target: name }))}
                        options={[
                          { value: "", label: "Choose…" },
                          ...definition.fields.map(({ target }) => ({ value: target, label: target })),
                        ]}
                      />
                    )}
                  </Field>
                  <Field label="Tolerance">
                    {(ids) => (
                      <TextInput
                        {...ids}
                        inputMode="decimal"
                        disabled={!editable}
                        value={control.tolerance}
                        aria-invalid={!/^\d+(\.\d+)?$/.test(control.tolerance) || undefined}
                        onChange={(tolerance) =>
                          edit((flow) => updateControl(flow, at, { tolerance }), `tolerance-${at}`)
                        }
                      />
                    )}
                  </Field>
                  {editable && (
                    <Button
                      tone="ghost"
                      icon="trash"
                      aria-label={`Remove ${control.name}`}
                      onClick={() => setControls(controls.toSpliced(at, 1))}
                    />
                  )}
                </div>
              </li>
            ))}
          </ol>
        ) : (
          <Empty icon="scale" title="No control yet">
            For invoices, the sum of the totals is the one that auditors ask for.
          </Empty>
        )}
      </Card>
    </div>
  );
}

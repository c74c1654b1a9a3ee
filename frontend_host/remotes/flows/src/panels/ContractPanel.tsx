import { Button, Card, Empty, Field, Notice, Select } from "@portal/ui";
import { useEditor } from "../editor/useFlowEditor";

const POLICIES = {
  new_column: [
    ["evolve", "Take it in"],
    ["ignore", "Leave it out"],
    ["freeze", "Stop the run"],
    ["quarantine", "Hold its rows back"],
  ],
  missing_column: [
    ["freeze", "Stop the run"],
    ["null", "Go on with empty values"],
    ["evolve", "Drop it from the contract"],
    ["ignore", "Leave it out"],
    ["quarantine", "Hold the rows back"],
  ],
  type_change: [
    ["quarantine", "Hold rows back that do not convert"],
    ["evolve", "Take the new type"],
    ["freeze", "Stop the run"],
    ["ignore", "Convert and go on"],
  ],
} as const;

const LABELS = {
  new_column: "A new column appears",
  missing_column: "A column is missing",
  type_change: "A type changes",
} as const;

/** What the source has promised, what it has now, and what a run does about a difference. */
export function ContractPanel() {
  const { definition, edit, editable, source } = useEditor();
  const { contract } = definition;
  const actual = source.data?.fields ?? [];
  const promised = new Map(contract.fields.map((field) => [field.name, field.type]));
  const present = new Map(actual.map((field) => [field.name, field.type]));
  const names = [...new Set([...promised.keys(), ...present.keys()])];
  const stateOf = (name: string): [tone: string, label: string] => {
    const [was, is] = [promised.get(name), present.get(name)];
    if (!promised.size) return ["", "not agreed"];
    if (was === undefined) return ["info", "new"];
    if (is === undefined) return ["bad", source.data ? "missing" : "unknown"];
    return was === is ? ["ok", "as agreed"] : ["warn", "type changed"];
  };
  const drifted =
    promised.size > 0 && source.data ? names.filter((name) => stateOf(name)[1] !== "as agreed").length : 0;
  return (
    <div className="stack">
      <Card title="When the source differs">
        <div className="grid three">
          {(Object.keys(LABELS) as (keyof typeof LABELS)[]).map((key) => (
            <Field key={key} label={LABELS[key]}>
              {(ids) => (
                <Select
                  {...ids}
                  disabled={!editable}
                  value={contract[key]}
                  options={POLICIES[key].map(([value, label]) => ({ value, label }))}
                  onChange={(value) => edit((flow) => ({ ...flow, contract: { ...flow.contract, [key]: value } }))}
                />
              )}
            </Field>
          ))}
        </div>
      </Card>
      {drifted > 0 && (
        <Notice
          tone="warn"
          title={`${drifted} ${drifted === 1 ? "column differs" : "columns differ"} from the contract.`}
        />
      )}
      <Card
        title="Columns"
        flush
        actions={
          editable && (
            <Button
              small
              icon="refresh"
              disabled={!actual.length}
              onClick={() =>
                edit((flow) => ({
                  ...flow,
                  contract: { ...flow.contract, fields: actual.map(({ name, type }) => ({ name, type })) },
                }))
              }
            >
              Agree on the source as it is
            </Button>
          )
        }
      >
        {names.length ? (
          <section className="table-wrap" aria-label="Contract" tabIndex={0}>
            <table className="table">
              <thead>
                <tr>
                  <th scope="col">Column</th>
                  <th scope="col">Agreed</th>
                  <th scope="col">Now</th>
                  <th scope="col">State</th>
                </tr>
              </thead>
              <tbody>
                {names.map((name) => {
                  const [tone, label] = stateOf(name);
                  return (
                    <tr key={name}>
                      <td className="strong">{name}</td>
                      <td className="type">{promised.get(name) ?? "–"}</td>
                      <td className="type">{present.get(name) ?? "–"}</td>
                      <td>
                        <span className={`badge ${tone}`}>{label}</span>
                      </td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </section>
        ) : (
          <Empty icon="table" title="The source shows no columns yet" />
        )}
      </Card>
    </div>
  );
}

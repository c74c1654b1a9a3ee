import { insertField, quoteName } from "@portal/flow-model";
import { Button, ErrorState, Icon, Skeleton, useCan, useMfe, useResource, Value } from "@portal/ui";
import { useMemo, useState } from "react";
import { useEditor } from "../editor/useFlowEditor";
import { useExpressionFocus } from "../expression/focus";
import { tableNameOf } from "../list/CreateFlowDialog";

/** Source columns with their types and a value of the sample; one click puts a column where the caret was. */
export function SourcePane() {
  const { api } = useMfe();
  const { definition, connection, source, edit, editable } = useEditor();
  const mayUse = useCan("connection:use");
  const focus = useExpressionFocus();
  const [search, setSearch] = useState("");
  const { entity } = definition.source;
  const sample = useResource(
    `sample ${connection?.id} ${entity}`,
    (call) => api.connections.sample(connection!.id, entity, 5, call),
    {
      enabled: Boolean(connection && entity && mayUse),
    },
  );
  const used = useMemo(() => {
    const words = new Set<string>();
    for (const field of definition.fields)
      for (const word of field.expression.match(/[\w$]+/g) ?? []) words.add(word.toLowerCase());
    return words;
  }, [definition.fields]);
  const fields = (source.data?.fields ?? []).filter((field) => field.name.toLowerCase().includes(search.toLowerCase()));
  const exampleOf = (name: string) =>
    sample.data?.rows.map((row) => row[name]).find((value) => value !== null && value !== undefined && value !== "");
  return (
    <section className="pane source-pane" aria-label="Source columns">
      <header className="pane-head">
        <div className="grow">
          <h2>Source</h2>
          <div className="xs muted truncate" title={entity}>
            {connection?.name ?? definition.source.connection} · {entity}
          </div>
        </div>
      </header>
      <div className="pane-search">
        <input
          className="input"
          type="search"
          aria-label="Search columns"
          placeholder="Search columns"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
        />
      </div>
      <div className="pane-body">
        {source.error ? (
          <ErrorState error={source.error} onRetry={source.reload} />
        ) : !source.data ? (
          <div className="pad">
            <Skeleton lines={8} />
          </div>
        ) : (
          <ul className="columns">
            {fields.map((field) => (
              <li key={field.name}>
                <button
                  type="button"
                  className="column"
                  disabled={!editable}
                  title={`Insert ${field.name} at the caret`}
                  onClick={() => focus.current?.insert(quoteName(field.name))}
                >
                  <span className="row between">
                    <span className={`column-name ${used.has(field.name.toLowerCase()) ? "" : "strong"}`}>
                      {field.primary_key || source.data?.keys.includes(field.name) ? (
                        <Icon name="key" size={11} />
                      ) : null}
                      {field.name}
                    </span>
                    <span className="type">{field.type}</span>
                  </span>
                  <span className="example truncate">
                    {sample.data && <Value value={exampleOf(field.name)} type={field.type} />}
                  </span>
                </button>
                {editable && (
                  <Button
                    small
                    tone="ghost"
                    icon="plus"
                    aria-label={`Map ${field.name}`}
                    title="Add a mapped field"
                    onClick={() =>
                      edit((flow) =>
                        insertField(flow, {
                          target: tableNameOf(field.name),
                          type: field.type,
                          expression: quoteName(field.name),
                          nullable: field.nullable,
                        }),
                      )
                    }
                  />
                )}
              </li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

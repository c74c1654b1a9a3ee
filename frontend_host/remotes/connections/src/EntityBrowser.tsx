import type { Connection, EntitySchema } from "@portal/api-client";
import {
  Card,
  Empty,
  formatCompact,
  Icon,
  Link,
  Pager,
  ResourceView,
  SearchInput,
  Tabs,
  useCan,
  useMfe,
  usePages,
  useQueryParams,
  useResource,
  ValueGrid,
} from "@portal/ui";
import { useState } from "react";

const SAMPLE_ROWS = 50;

/** The entities of a connection, and of the chosen one its sample rows and schema. */
export function EntityBrowser({ connection }: { connection: Connection }) {
  const { api, locale } = useMfe();
  const [params, setParams] = useQueryParams();
  const [search, setSearch] = useState("");
  const chosen = params.get("entity");
  const entities = usePages(
    `${connection.id} ${search}`,
    (cursor, call) => api.connections.entities(connection.id, { search, cursor, limit: 50 }, call),
    { live: [`connection:${connection.id}`] },
  );
  return (
    <div className="browser">
      <Card flush>
        <div className="entity-search">
          <SearchInput value={search} onChange={setSearch} label="Search tables and files" />
        </div>
        <ResourceView resource={entities}>
          {(page) =>
            page.results.length ? (
              <>
                <div className="entity-list">
                  {page.results.map((entity) => (
                    <button
                      key={entity.name}
                      type="button"
                      aria-current={entity.name === chosen}
                      onClick={() => setParams({ entity: entity.name })}
                    >
                      <Icon name={entity.kind === "file" ? "file" : "table"} size={15} />
                      <span className="grow truncate" title={entity.name}>
                        {entity.label || entity.name}
                      </span>
                      {entity.row_estimate !== null && (
                        <span className="xs muted num" title="Rows, estimated">
                          {formatCompact(entity.row_estimate, locale)}
                        </span>
                      )}
                    </button>
                  ))}
                </div>
                <Pager
                  hasPrevious={entities.hasPrevious}
                  hasNext={entities.hasNext}
                  onPrevious={entities.previous}
                  onNext={entities.next}
                />
              </>
            ) : (
              <Empty icon="table" title={search ? "Nothing matches" : "Nothing here yet"}>
                {search ? "Try a shorter word." : "The connection shows no tables or files."}
              </Empty>
            )
          }
        </ResourceView>
      </Card>
      {chosen ? (
        <EntityCard key={chosen} connection={connection} entity={chosen} />
      ) : (
        <Card>
          <Empty icon="table" title="Choose a table or file">
            Its columns and some rows are shown here.
          </Empty>
        </Card>
      )}
    </div>
  );
}

function EntityCard({ connection, entity }: { connection: Connection; entity: string }) {
  const { api } = useMfe();
  const [tab, setTab] = useState<"rows" | "schema">("rows");
  const mayBuild = useCan("flow:edit");
  const sample = useResource(
    `sample ${connection.id} ${entity}`,
    (call) => api.connections.sample(connection.id, entity, SAMPLE_ROWS, call),
    {
      enabled: tab === "rows",
    },
  );
  const schema = useResource(
    `schema ${connection.id} ${entity}`,
    (call) => api.connections.entity(connection.id, entity, call),
    {
      enabled: tab === "schema",
    },
  );
  return (
    <Card
      title={entity}
      flush
      actions={
        mayBuild && (
          <Link
            className="btn small"
            to={`/flows?create=1&connection=${connection.slug}&entity=${encodeURIComponent(entity)}`}
          >
            <Icon name="flow" size={14} /> New flow from it
          </Link>
        )
      }
    >
      <div style={{ padding: "var(--space-2) var(--space-4) 0" }}>
        <Tabs
          label="View"
          items={[
            { key: "rows", label: "Sample rows" },
            { key: "schema", label: "Columns" },
          ]}
          value={tab}
          onChange={setTab}
        />
      </div>
      {tab === "rows" ? (
        <ResourceView resource={sample}>
          {({ fields, rows }) =>
            rows.length ? (
              <ValueGrid label={`Sample rows of ${entity}`} fields={fields} rows={rows} />
            ) : (
              <Empty icon="table" title="It has no rows" />
            )
          }
        </ResourceView>
      ) : (
        <ResourceView resource={schema}>{(data) => <SchemaTable schema={data} />}</ResourceView>
      )}
    </Card>
  );
}

function SchemaTable({ schema }: { schema: EntitySchema }) {
  return (
    <section className="table-wrap" aria-label={`Columns of ${schema.name}`} tabIndex={0}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Column</th>
            <th scope="col">Type</th>
            <th scope="col">In the source</th>
            <th scope="col">Notes</th>
          </tr>
        </thead>
        <tbody>
          {schema.fields.map((field) => (
            <tr key={field.name}>
              <td className="strong">{field.name}</td>
              <td>
                <span className="type">{field.type}</span>
              </td>
              <td className="muted">{field.native_type}</td>
              <td>
                <span className="row gap-1 wrap">
                  {(field.primary_key || schema.keys.includes(field.name)) && (
                    <span className="badge info plain">key</span>
                  )}
                  {!field.nullable && <span className="badge plain">not null</span>}
                  {schema.cursor_candidates.includes(field.name) && <span className="badge plain">cursor</span>}
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

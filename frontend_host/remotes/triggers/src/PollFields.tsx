import type { Poll, TriggerCheck } from "@portal/api-client";
import { Field, Select, Tabs, TextArea, TextInput, useCan, useMfe, useResource } from "@portal/ui";
import { useId, useState } from "react";
import { ScheduleFields } from "./ScheduleFields";
import type { FieldsProps } from "./TriggerForm";

/** Which system is looked at for new rows, how often, and what becomes of them. */
export function PollFields({ draft, set, problemOf, check }: FieldsProps & { check: TriggerCheck | null }) {
  const { api } = useMfe();
  const { poll } = draft;
  const [byQuery, setByQuery] = useState(poll.query !== "");
  const [entities, columns] = [useId(), useId()];
  const connections = useResource("connections", (call) => api.connections.list({ limit: 200 }, call), {
    enabled: useCan("connection:view"),
  });
  const contracts = useResource("event contracts", (call) => api.eventContracts.list({ limit: 200 }, call), {
    enabled: useCan("event:view"),
  });
  const chosen = connections.data?.results.find((one) => one.slug === poll.connection);
  const found = useResource(
    `entities ${chosen?.id} ${poll.entity}`,
    (call) => api.connections.entities(chosen!.id, { search: poll.entity, limit: 30 }, call),
    { enabled: chosen !== undefined && !byQuery },
  );
  const exact = found.data?.results.some((one) => one.name === poll.entity) ?? false;
  const schema = useResource(
    `entity ${chosen?.id} ${poll.entity}`,
    (call) => api.connections.entity(chosen!.id, poll.entity, call),
    { enabled: exact },
  );
  const put = (change: Partial<Poll>) => set({ poll: { ...poll, ...change } });
  // What is still to be written is asked for when the form is sent.
  const problem = (name: keyof Poll) => (poll[name] === "" ? null : problemOf(`poll.${name}`));
  return (
    <>
      <div className="sections">
        <Field label="Connection" hint="By its short name, as bound in the environment." error={problem("connection")}>
          {(ids) => (
            <Select
              {...ids}
              value={poll.connection}
              onChange={(connection) => put({ connection, entity: "", cursor: "" })}
              options={[
                { value: "", label: "Choose a connection" },
                ...(poll.connection && !chosen ? [{ value: poll.connection, label: poll.connection }] : []),
                ...(connections.data?.results ?? []).map((one) => ({ value: one.slug, label: one.name })),
              ]}
            />
          )}
        </Field>
        <Field label="How often">
          {(ids) => (
            <Select
              {...ids}
              value={draft.byCron ? "cron" : "interval"}
              onChange={(value) => set({ byCron: value === "cron" })}
              options={[
                { value: "interval", label: "Every so many seconds" },
                { value: "cron", label: "By cron" },
              ]}
            />
          )}
        </Field>
        {!draft.byCron && (
          <Field label="Seconds" hint="10 at least." error={problemOf("every_s")}>
            {(ids) => (
              <TextInput
                {...ids}
                type="number"
                min={10}
                max={86400}
                value={draft.everyS}
                onChange={(everyS) => set({ everyS })}
              />
            )}
          </Field>
        )}
      </div>
      {draft.byCron && <ScheduleFields draft={draft} set={set} problemOf={problemOf} check={check} catchUp={false} />}
      <div>
        <Tabs
          label="What is read"
          kind="segmented"
          items={[
            { key: "entity", label: "Entity" },
            { key: "query", label: "Query" },
          ]}
          value={byQuery ? "query" : "entity"}
          onChange={(next) => {
            setByQuery(next === "query");
            put(next === "query" ? { entity: "" } : { query: "" });
          }}
        />
      </div>
      {byQuery ? (
        <Field
          label="Query"
          hint={
            <>
              Its parameter is the highest value so far: <code>SELECT * FROM orders WHERE id &gt; %(position)s</code>
            </>
          }
          error={problem("query")}
        >
          {(ids) => (
            <TextArea
              {...ids}
              className="mono"
              rows={3}
              spellCheck={false}
              value={poll.query}
              onChange={(query) => put({ query })}
            />
          )}
        </Field>
      ) : (
        <Field label="Entity" hint="A table, view or resource of the system." error={problem("entity")}>
          {(ids) => (
            <>
              <TextInput {...ids} list={entities} value={poll.entity} onChange={(entity) => put({ entity })} />
              <datalist id={entities}>
                {(found.data?.results ?? []).map((one) => (
                  <option key={one.name} value={one.name} />
                ))}
              </datalist>
            </>
          )}
        </Field>
      )}
      <div className="sections">
        <Field label="Cursor" hint="The column that rises with every new row." error={problem("cursor")}>
          {(ids) => (
            <>
              <TextInput {...ids} list={columns} value={poll.cursor} onChange={(cursor) => put({ cursor })} />
              <datalist id={columns}>
                {(schema.data?.cursor_candidates ?? []).map((name) => (
                  <option key={name} value={name} />
                ))}
              </datalist>
            </>
          )}
        </Field>
        <Field
          label="Starts at"
          hint={byQuery ? "The first position." : "Empty: what comes from now on."}
          error={problem("start")}
          required={byQuery ? undefined : false}
        >
          {(ids) => <TextInput {...ids} value={poll.start} onChange={(start) => put({ start })} />}
        </Field>
      </div>
      <div className="sections">
        <Field label="New rows" error={problem("event_type")}>
          {(ids) => (
            <Select
              {...ids}
              value={poll.event_type}
              onChange={(event_type) => put({ event_type })}
              options={[
                { value: "", label: "Start runs" },
                ...(contracts.data?.results ?? []).map((one) => ({
                  value: one.type,
                  label: `Become events of ${one.type}`,
                })),
              ]}
            />
          )}
        </Field>
        <Field label="Rows a run" hint="500 at most; more are several runs." error={problem("batch_rows")}>
          {(ids) => (
            <TextInput
              {...ids}
              type="number"
              min={1}
              max={500}
              value={String(poll.batch_rows)}
              onChange={(text) => put({ batch_rows: Number.parseInt(text, 10) || 1 })}
            />
          )}
        </Field>
      </div>
    </>
  );
}

import { Field, Select, TextArea, TextInput, useCan, useMfe, useResource } from "@portal/ui";
import { shortType, typesOf } from "./draft";
import type { FieldsProps } from "./TriggerForm";

/** Which events, and only when. */
export function EventFields({ draft, set, problemOf }: FieldsProps) {
  const { api } = useMfe();
  const types = useResource("event types", api.events.types, { enabled: useCan("event:view") });
  const chosen = typesOf(draft.types);
  const all = (types.data?.results ?? []).map((one) => ({ ...one, type: shortType(one.type) }));
  const known = all.filter((one) => !chosen.includes(one.type));
  const picked = all.find((one) => one.type === chosen.at(-1));
  return (
    <>
      <div className="sections">
        <Field label="Types" hint="run.completed.v1, quarantine.*, or * for all." error={problemOf("types")} required>
          {(ids) => <TextInput {...ids} value={draft.types} onChange={(next) => set({ types: next })} />}
        </Field>
        {known.length > 0 && (
          <Field label="Add a type" hint={picked?.description}>
            {(ids) => (
              <Select
                {...ids}
                value=""
                onChange={(type) => type && set({ types: [...chosen, type].join(", ") })}
                options={[
                  { value: "", label: "Choose a type" },
                  ...known.map((one) => ({ value: one.type, label: one.type })),
                ]}
              />
            )}
          </Field>
        )}
      </div>
      <Field
        label="Only when"
        hint={
          <>
            A condition over the event, such as <code>data-&gt;&gt;'status' = 'failed'</code>
          </>
        }
        error={problemOf("filter")}
        required={false}
      >
        {(ids) => (
          <TextArea
            {...ids}
            className="mono"
            rows={2}
            spellCheck={false}
            value={draft.filter}
            onChange={(filter) => set({ filter })}
          />
        )}
      </Field>
    </>
  );
}

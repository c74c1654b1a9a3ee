import type { Suggestion } from "@portal/api-client";
import { acceptSuggestions } from "@portal/flow-model";
import { Button, Dialog, Empty, ErrorState, Skeleton, useMfe, useResource } from "@portal/ui";
import { useState } from "react";
import { useEditor } from "../editor/useFlowEditor";

/** Suggested matches by name and type, each to take or leave. */
export function SuggestDrawer({ onClose }: { onClose: () => void }) {
  const { api } = useMfe();
  const { flow, definition, edit } = useEditor();
  const { source, target } = definition;
  const [decided, setDecided] = useState<ReadonlyMap<string, boolean>>(new Map());
  const suggestions = useResource(
    `suggest ${flow.id} ${source.connection} ${source.entity} ${target.entity}`,
    (call) =>
      api.flows.suggest(
        flow.id,
        {
          connection: source.connection,
          entity: source.entity,
          target_connection: target.connection,
          target_entity: target.entity,
        },
        call,
      ),
    { enabled: Boolean(source.entity) },
  );
  const mapped = new Set(definition.fields.filter((field) => field.expression.trim()).map((field) => field.target));
  const offered = (suggestions.data?.fields ?? []).filter((one) => one.expression);
  const open = offered.filter((one) => !decided.has(one.target) && !mapped.has(one.target));
  const keys = suggestions.data?.keys ?? [];
  const accept = (chosen: Suggestion[]) => {
    edit((before) => {
      const next = acceptSuggestions(before, chosen);
      const fresh = keys.filter((key) => chosen.some((one) => one.target === key) && !next.target.keys.includes(key));
      const cursor = next.load.cursor ?? suggestions.data?.cursor ?? null;
      const keyed = [...next.target.keys, ...fresh];
      const disposition = fresh.length && next.target.disposition === "append" ? "upsert" : next.target.disposition;
      return {
        ...next,
        fields: next.fields.map((field) => (fresh.includes(field.target) ? { ...field, nullable: false } : field)),
        target: { ...next.target, keys: keyed, disposition },
        load: { ...next.load, cursor },
      };
    });
    setDecided(new Map([...decided, ...chosen.map((one): [string, boolean] => [one.target, true])]));
  };
  const reject = (one: Suggestion) => setDecided(new Map(decided).set(one.target, false));
  return (
    <Dialog
      kind="drawer"
      title="Suggested mapping"
      lead={suggestions.data && `${open.length} to decide, by name and type.`}
      onClose={onClose}
      footer={
        <>
          <Button
            disabled={!open.length}
            onClick={() =>
              setDecided(new Map([...decided, ...open.map((one): [string, boolean] => [one.target, false])]))
            }
          >
            Reject all
          </Button>
          <span className="grow" />
          <Button
            tone="primary"
            icon="check"
            disabled={!open.length}
            onClick={() => {
              accept(open);
              onClose();
            }}
          >
            Accept {open.length === 1 ? "it" : `all ${open.length}`}
          </Button>
        </>
      }
    >
      {suggestions.error ? (
        <ErrorState error={suggestions.error} onRetry={suggestions.reload} />
      ) : !suggestions.data ? (
        <Skeleton lines={8} height={18} />
      ) : offered.length === 0 ? (
        <Empty icon="wand" title="Nothing fits">
          No source column resembles a target field.
        </Empty>
      ) : (
        <ul className="suggestions">
          {offered.map((one) => {
            const state = mapped.has(one.target) ? "mapped" : decided.get(one.target) === false ? "rejected" : "open";
            return (
              <li key={one.target} className={state}>
                <div className="grow">
                  <div className="row gap-2 wrap">
                    <code className="strong">{one.target}</code>
                    <span className="type">{one.type}</span>
                    {keys.includes(one.target) && <span className="badge info plain">key</span>}
                  </div>
                  <div className="mono xs soft break">← {one.expression}</div>
                  <div className="xs muted">
                    {Math.round(Number(one.confidence) * 100)} % sure{one.reason && `: ${one.reason}`}
                  </div>
                </div>
                {state === "open" ? (
                  <div className="row gap-1">
                    <Button
                      small
                      tone="ghost"
                      icon="close"
                      aria-label={`Reject ${one.target}`}
                      onClick={() => reject(one)}
                    />
                    <Button small icon="check" aria-label={`Accept ${one.target}`} onClick={() => accept([one])} />
                  </div>
                ) : (
                  <span className="xs muted">{state === "mapped" ? "Mapped" : "Rejected"}</span>
                )}
              </li>
            );
          })}
        </ul>
      )}
    </Dialog>
  );
}

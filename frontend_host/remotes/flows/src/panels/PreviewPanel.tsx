import type { Preview } from "@portal/api-client";
import { toJson } from "@portal/flow-model";
import { Button, Empty, ErrorNotice, Icon, isNumericType, Skeleton, useCan, useMfe, Value } from "@portal/ui";
import { Fragment, useEffect, useState } from "react";
import { useEditor } from "../editor/useFlowEditor";

const ROWS = 25;
const DELAY_MS = 700;

/** The mapping applied to sample rows, a moment after each edit; broken rows say why, cell by cell. */
export function PreviewPanel({ round }: { round: number }) {
  const { api } = useMfe();
  const { definition, flow } = useEditor();
  const mayUse = useCan("connection:use");
  const [state, setState] = useState<{ preview: Preview | null; error: unknown; busy: boolean }>({
    preview: null,
    error: null,
    busy: false,
  });
  const [again, setAgain] = useState(0);
  const ready = Boolean(
    mayUse && definition.source.entity && definition.fields.some((field) => field.expression.trim()),
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` and `again` ask for a new preview of the same draft.
  useEffect(() => {
    if (!ready) return;
    const control = new AbortController();
    const timer = setTimeout(() => {
      setState((before) => ({ ...before, busy: true }));
      api.flows.preview(flow.id, toJson(definition), ROWS, { signal: control.signal }).then(
        (preview) => setState({ preview, error: null, busy: false }),
        (error: unknown) => {
          if (!control.signal.aborted) setState((before) => ({ ...before, error, busy: false }));
        },
      );
    }, DELAY_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [api, flow.id, definition, ready, round, again]);
  const { preview, error, busy } = state;
  if (!mayUse)
    return (
      <Empty icon="lock" title="You may not see sample rows">
        A preview reads the source, which needs the permission to use connections.
      </Empty>
    );
  if (!ready) return <Empty icon="table" title="Map a field to see a preview" />;
  const accepted = preview?.rows.filter((row) => row.accepted).length ?? 0;
  const filtered = preview?.rows.filter((row) => row.filtered).length ?? 0;
  const rejected = (preview?.rows.length ?? 0) - accepted - filtered;
  return (
    <div className={`preview ${busy ? "busy" : ""}`} aria-busy={busy}>
      <div className="preview-head">
        {preview && (
          <span className="small soft num">
            {preview.rows.length} sample rows: <span className="good">{accepted} accepted</span>
            {rejected > 0 && (
              <>
                , <span className="poor">{rejected} rejected</span>
              </>
            )}
            {filtered > 0 && `, ${filtered} left out by the filter`}
          </span>
        )}
        <Button
          small
          tone="ghost"
          icon="refresh"
          busy={busy}
          aria-label="Preview again"
          onClick={() => setAgain(again + 1)}
        />
      </div>
      {error ? (
        <div className="pad">
          <ErrorNotice error={error} />
        </div>
      ) : null}
      {preview ? (
        preview.rows.length ? (
          <PreviewTable preview={preview} />
        ) : (
          <Empty icon="table" title="The source has no rows" />
        )
      ) : (
        !error && (
          <div className="pad">
            <Skeleton lines={6} />
          </div>
        )
      )}
    </div>
  );
}

function PreviewTable({ preview }: { preview: Preview }) {
  const { target_fields: fields } = preview;
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label="Preview rows">
      <table className="table grid-lines">
        <thead>
          <tr>
            <th scope="col">
              <span className="sr">State</span>
            </th>
            {fields.map((field) => (
              <th key={field.name} scope="col">
                {field.name}
                <span className="type">{field.type}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {preview.rows.map((row, at) => {
            const broken = new Map(
              row.errors.filter((error) => error.field).map((error) => [error.field!, error.message]),
            );
            return (
              <Fragment key={at}>
                <tr className={row.accepted ? undefined : row.filtered ? "filtered" : "rejected"}>
                  <td title={row.warnings.join(" ") || undefined}>
                    <span className={row.accepted ? "good" : row.filtered ? "muted" : "poor"}>
                      <Icon
                        name={
                          row.accepted ? (row.warnings.length ? "alert" : "check") : row.filtered ? "filter" : "close"
                        }
                        size={14}
                      />
                    </span>
                    <span className="sr">
                      {row.accepted ? "accepted" : row.filtered ? "left out by the filter" : "rejected"}
                    </span>
                  </td>
                  {fields.map((field) => (
                    <td
                      key={field.name}
                      className={
                        [isNumericType(field.type) && "end", broken.has(field.name) && "cell-broken"]
                          .filter(Boolean)
                          .join(" ") || undefined
                      }
                      title={broken.get(field.name)}
                    >
                      <Value value={row.target[field.name]} type={field.type} />
                    </td>
                  ))}
                </tr>
                {row.errors.length > 0 && (
                  <tr className="reasons">
                    <td />
                    <td colSpan={fields.length}>
                      {row.errors.map((error, index) => (
                        <div key={index}>
                          {error.field && <code>{error.field}</code>} {error.message}
                        </div>
                      ))}
                    </td>
                  </tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

import type { FlowVersion, JsonObject } from "@portal/api-client";
import { nameOf } from "@portal/api-client";
import { Button, Card, Empty, Pager, ResourceView, Time, useAction, useConfirm, useMfe, usePages } from "@portal/ui";
import { useFlowDocument } from "../editor/flowDocument";

/** Published versions. They never change; an old one can become the draft again. */
export function HistoryPanel({ onRestore }: { onRestore: (definition: JsonObject) => void }) {
  const { api, notify } = useMfe();
  const { flow, editable } = useFlowDocument();
  const confirm = useConfirm();
  const action = useAction({ toast: true });
  const versions = usePages(
    `versions ${flow.id} ${flow.latest_version?.number}`,
    (cursor, call) => api.flows.versions(flow.id, { cursor, limit: 25 }, call),
    { live: [`flow:${flow.id}`] },
  );
  const restore = async (version: FlowVersion) => {
    const answer = await confirm({
      title: `Make version ${version.number} the draft?`,
      text: "The draft is replaced; undo brings it back.",
      action: "Replace the draft",
    });
    if (answer === null) return;
    const full = await action.run(() => api.flows.version(flow.id, version.number));
    if (!full?.definition) return;
    onRestore(full.definition);
    notify({ tone: "ok", title: `The draft is version ${version.number} again.` });
  };
  return (
    <Card title="Versions" flush>
      <ResourceView resource={versions}>
        {(page) =>
          page.results.length ? (
            <>
              <ol className="versions">
                {page.results.map((version) => (
                  <li key={version.number}>
                    <span className="version-number num">v{version.number}</span>
                    <div className="grow">
                      <div className="strong">{version.note || "No note"}</div>
                      <div className="xs muted">
                        {nameOf(version.published_by)} <Time value={version.published_at} /> ·{" "}
                        <code title="Hash of the content">{version.content_hash.slice(0, 12)}</code>
                      </div>
                    </div>
                    {flow.deployments
                      .filter((one) => one.version === version.number)
                      .map((one) => (
                        <span key={one.environment} className="badge info">
                          {one.environment}
                        </span>
                      ))}
                    {editable && (
                      <Button small busy={action.busy} onClick={() => restore(version)}>
                        Make it the draft
                      </Button>
                    )}
                  </li>
                ))}
              </ol>
              <Pager
                hasPrevious={versions.hasPrevious}
                hasNext={versions.hasNext}
                onPrevious={versions.previous}
                onNext={versions.next}
              />
            </>
          ) : (
            <Empty icon="history" title="Nothing is published yet">
              Publishing freezes the draft as a version that can be deployed.
            </Empty>
          )
        }
      </ResourceView>
    </Card>
  );
}

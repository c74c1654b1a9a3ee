import { type JsonValue, nameOf, type Run, type Stage } from "@portal/api-client";
import {
  Button,
  Card,
  ErrorNotice,
  Facts,
  formatBytes,
  formatCount,
  formatDuration,
  JsonPayload,
  Link,
  Notice,
  Page,
  Progress,
  ResourceView,
  StatusBadge,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useResource,
} from "@portal/ui";
import { useEffect, useState } from "react";
import { LogCard } from "./LogCard";
import { ReconciliationCard } from "./ReconciliationCard";
import { RestartDialog } from "./RestartDialog";
import { StageList } from "./StageList";
import { describeKind, describeWaits, isActive, isRestartable, isStoppable } from "./status";

const EFFECTS_SHOWN = 200;

export function RunPage({ id }: { id: string }) {
  const { api } = useMfe();
  const run = useResource(`run ${id}`, (call) => api.runs.get(id, call), { live: [`run:${id}`] });
  const name = run.data?.flow.name ?? "Run";
  return (
    <Page
      title={name}
      back={{ to: "/runs", label: "Runs" }}
      lead={run.data && <RunLead run={run.data} />}
      actions={run.data && <RunActions run={run.data} onChanged={run.set} />}
    >
      <ResourceView resource={run}>{(data) => <RunBody run={data} onChanged={run.reload} />}</ResourceView>
    </Page>
  );
}

function RunLead({ run }: { run: Run }) {
  const version = run.version === null || run.version === "draft" ? "draft" : `version ${run.version}`;
  return (
    <span className="row wrap gap-2">
      <StatusBadge status={run.status} />
      {run.sla_missed_at && <StatusBadge status="late" />}
      <span>
        {version}, {run.environment}, {describeKind(run)}
      </span>
      <Link to={`/flows/${run.flow.id}`}>Open the flow</Link>
    </span>
  );
}

function RunActions({ run, onChanged }: { run: Run; onChanged: (run: Run) => void }) {
  const { api, navigate, notify } = useMfe();
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const mayControl = useCan("run:control");
  const act = async (
    verb: "cancel" | "resume" | "retry" | "compensate",
    title: string,
    text: string,
    label: string,
  ) => {
    if ((await confirm({ title, text, action: label, danger: verb === "cancel" })) === null) return;
    const answer = await action.run(() => api.runs[verb](run.id));
    if (!answer) return;
    if (answer.id !== run.id) {
      notify({ tone: "ok", title: "A new run was started." });
      navigate(`/runs/${answer.id}`);
    } else onChanged(answer);
  };
  if (!mayControl) return null;
  return (
    <>
      {isStoppable(run.status) && (
        <Button
          tone="danger"
          icon="stop"
          busy={action.busy}
          onClick={() =>
            act(
              "cancel",
              "Cancel this run?",
              run.kind === "process"
                ? "Steps in hand are finished, nothing new begins. What ended steps did stays done."
                : "Work in hand is finished or undone; the target stays as it was before the run.",
              "Cancel the run",
            )
          }
        >
          Cancel
        </Button>
      )}
      {(run.status === "failed" || run.status === "cancelled") && (
        <>
          {run.compensation?.status === "failed" && (
            <Button
              icon="undo"
              busy={action.busy}
              onClick={() =>
                act(
                  "compensate",
                  "Undo the rest?",
                  "What is undone already stays undone; the rest is tried again.",
                  "Undo",
                )
              }
            >
              Undo the rest
            </Button>
          )}
          {/* What was undone cannot go on. */}
          {!run.compensation && (
            <Button
              icon="run"
              busy={action.busy}
              onClick={() =>
                act(
                  "resume",
                  "Resume this run?",
                  "Finished parts are kept; the run goes on where it stopped.",
                  "Resume",
                )
              }
            >
              Resume
            </Button>
          )}
          <Button
            icon="refresh"
            busy={action.busy}
            onClick={() =>
              act("retry", "Run it again from the start?", "A new run with the same settings is started.", "Run again")
            }
          >
            Retry
          </Button>
        </>
      )}
    </>
  );
}

function RunBody({ run, onChanged }: { run: Run; onChanged: () => void }) {
  const { api } = useMfe();
  const effects = useResource(`effects ${run.id}`, (call) => api.runs.effects(run.id, { limit: EFFECTS_SHOWN }, call), {
    live: [`run:${run.id}`],
  });
  const mayStart = useCan("run:start");
  const [from, setFrom] = useState<Stage | null>(null);
  const restart = mayStart && isRestartable(run) ? setFrom : undefined;
  return (
    <>
      {run.error && (
        <Notice tone="bad" title={run.error.message}>
          {run.error.remedy} <span className="muted mono xs">{run.error.code}</span>
        </Notice>
      )}
      <Undoing run={run} />
      {run.status === "queued" && run.queue_reason && <Notice title="Waiting.">{run.queue_reason}</Notice>}
      {run.status === "waiting" && <Notice title="Waiting.">{describeWaits(run.stages ?? [])}</Notice>}
      {run.kind !== "process" && (
        <Card flush>
          <OverallProgress run={run} />
          <Meters run={run} />
        </Card>
      )}
      <div className="run-columns">
        <div className="stack">
          <Card title={run.kind === "process" ? "Steps" : "Stages"} flush>
            <StageList
              runId={run.id}
              stages={run.stages ?? []}
              data={run.kind === "process"}
              effects={effects.data?.results ?? []}
              onDecided={effects.reload}
              onRestart={restart}
            />
            {effects.data?.next && <p className="xs muted pad">Only the newest {EFFECTS_SHOWN} effects are shown.</p>}
            {effects.error ? <ErrorNotice error={effects.error} /> : null}
          </Card>
          {from && <RestartDialog run={run} stage={from} onClose={() => setFrom(null)} />}
          <LogCard runId={run.id} active={isActive(run.status)} />
        </div>
        <div className="stack">
          {run.kind !== "process" && <ReconciliationCard run={run} onSigned={onChanged} />}
          <WriteCard run={run} />
          {run.kind === "process" && (
            <Card title="Input and result">
              <div className="stack gap-3">
                <Captioned label="Input" value={run.parameters} />
                {run.status === "succeeded" && <Captioned label="Result" value={run.result} />}
              </div>
            </Card>
          )}
          <Card title="About this run">
            <Facts
              items={[
                ["Started by", nameOf(run.requested_by) || run.trigger],
                ["Trigger", run.trigger],
                [
                  "Restart of",
                  run.restarted_from && (
                    <span key="r" className="break">
                      <Link to={`/runs/${run.restarted_from}`}>another run</Link>, from{" "}
                      <code>{run.restarted_path}</code>
                    </span>
                  ),
                ],
                ["Asked for", <Time key="c" value={run.created_at} seconds />],
                ["Started", <Time key="s" value={run.started_at} seconds />],
                ["Ended", run.ended_at && <Time key="e" value={run.ended_at} seconds />],
                ["Took", run.kind === "process" ? formatDuration(run.duration_ms) : null],
                ["Finished by", run.sla_due_at && <Time key="d" value={run.sla_due_at} seconds />],
                ["Run id", <code key="i">{run.id}</code>],
              ]}
            />
          </Card>
        </div>
      </div>
    </>
  );
}

function Captioned({ label, value }: { label: string; value: JsonValue | undefined }) {
  return (
    <div>
      <div className="xs soft" aria-hidden="true">
        {label}
      </div>
      <JsonPayload label={label} value={value} />
    </div>
  );
}

/** How far the completed steps of a failed or cancelled process are undone. */
function Undoing({ run }: { run: Run }) {
  const undoing = run.compensation;
  if (!undoing) return null;
  const undone = `${undoing.steps.length - undoing.remaining.length} of ${undoing.steps.length}`;
  if (undoing.status === "done") return <Notice title={`Completed steps were undone: ${undone}.`} />;
  if (undoing.status === "running") return <Notice title={`Completed steps are being undone: ${undone}.`} />;
  return (
    <Notice tone="bad" title={undoing.problem?.message ?? "Not all completed steps could be undone."}>
      Undone: {undone}. Left: <span className="mono break">{undoing.remaining.join(", ")}</span>
    </Notice>
  );
}

/** Milliseconds since the start, counting while the run is active. */
function useElapsed(run: Run): number | null {
  const active = isActive(run.status);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!active) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [active]);
  if (!active) return run.duration_ms;
  return run.started_at ? Math.max(0, now - new Date(run.started_at).getTime()) : null;
}

function OverallProgress({ run }: { run: Run }) {
  const { locale } = useMfe();
  const elapsed = useElapsed(run);
  const { progress, status } = run;
  const left =
    status === "running" && progress.share && progress.share > 0.02 && elapsed
      ? (elapsed / progress.share) * (1 - progress.share)
      : null;
  const share = status === "succeeded" ? 1 : status === "queued" ? 0 : progress.share;
  const tone = status === "succeeded" ? "ok" : status === "failed" ? "bad" : undefined;
  return (
    <div className="overall">
      <div className="row between small">
        <span className="soft num">
          {formatCount(progress.rows_read, locale)}
          {progress.estimate_rows ? ` of about ${formatCount(progress.estimate_rows, locale)}` : ""} rows read
        </span>
        <span className="muted num">
          {elapsed !== null && formatDuration(elapsed)}
          {left !== null && `, about ${formatDuration(left)} left`}
        </span>
      </div>
      <Progress share={isActive(status) ? share : (share ?? 1)} tone={tone} label="Progress of the run" />
    </div>
  );
}

function Meters({ run }: { run: Run }) {
  const { locale } = useMfe();
  const { progress } = run;
  const count = (value: number | null) => formatCount(value, locale);
  return (
    <dl className="meters">
      <div>
        <dt>Read</dt>
        <dd>{count(progress.rows_read)}</dd>
      </div>
      <div>
        <dt>Accepted</dt>
        <dd className="ok">{count(progress.rows_accepted)}</dd>
      </div>
      <div>
        <dt>Quarantined</dt>
        <dd className={progress.rows_quarantined ? "warn" : undefined}>
          {progress.rows_quarantined ? (
            <Link to={`/quarantine?run=${run.id}`}>{count(progress.rows_quarantined)}</Link>
          ) : (
            count(progress.rows_quarantined)
          )}
        </dd>
      </div>
      <div>
        <dt>Written</dt>
        <dd>{count(progress.rows_written)}</dd>
      </div>
      <div>
        <dt>Rows a second</dt>
        <dd>{count(progress.rows_per_s === null ? null : Math.round(progress.rows_per_s))}</dd>
      </div>
      <div>
        <dt>Volume</dt>
        <dd>{formatBytes(progress.bytes, locale)}</dd>
      </div>
    </dl>
  );
}

function WriteCard({ run }: { run: Run }) {
  const { locale } = useMfe();
  if (!run.write) return null;
  const { inserted, updated, deleted, unchanged } = run.write;
  return (
    <Card title="What changed in the target">
      <Facts
        items={[
          [
            "Inserted",
            <span key="i" className="num">
              {formatCount(inserted, locale)}
            </span>,
          ],
          [
            "Updated",
            <span key="u" className="num">
              {formatCount(updated, locale)}
            </span>,
          ],
          [
            "Deleted",
            <span key="d" className="num">
              {formatCount(deleted, locale)}
            </span>,
          ],
          [
            "Unchanged",
            <span key="n" className="num">
              {formatCount(unchanged, locale)}
            </span>,
          ],
        ]}
      />
    </Card>
  );
}

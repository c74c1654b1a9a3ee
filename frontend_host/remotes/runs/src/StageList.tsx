import type { Effect, Stage, StepStatus } from "@portal/api-client";
import {
  Button,
  Empty,
  formatBytes,
  formatCount,
  formatDuration,
  Icon,
  type IconName,
  Spinner,
  StatusBadge,
  useMfe,
} from "@portal/ui";
import type { ReactNode } from "react";
import { EffectList } from "./EffectList";
import { StageTree } from "./StageTree";
import { StepData } from "./StepData";

const MARKS: Partial<Record<StepStatus, IconName>> = {
  succeeded: "check",
  failed: "close",
  cancelled: "stop",
  skipped: "right",
  parked: "clock",
};

/** Steps that undo a completed one stand below this path. */
const UNDO = "compensate/";

function detailOf(detail: Stage["detail"]): string | null {
  if (!detail) return null;
  if (typeof detail === "string") return detail;
  return Object.entries(detail)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
}

interface StageListProps {
  runId: string;
  stages: Stage[];
  data: boolean;
  effects: readonly Effect[];
  onDecided: () => void;
  onRestart?: (stage: Stage) => void;
}

const at = (iso: string | null) => (iso ? new Date(iso).getTime() : null);

/** The stages in order, those of a process as a tree; each bar shows when the stage ran within the whole run. */
export function StageList({ stages, data, ...rest }: StageListProps) {
  if (!stages.length)
    return (
      <Empty icon="clock" title="Waiting for a worker">
        Stages appear as soon as the run is planned.
      </Empty>
    );
  const starts = stages.map((stage) => at(stage.started_at)).filter((value): value is number => value !== null);
  const first = Math.min(...starts);
  const last = Math.max(...stages.map((stage) => at(stage.ended_at) ?? (stage.started_at ? Date.now() : first)));
  const span = { first, length: Math.max(1, last - first) };
  const row = (stage: Stage, toggle: ReactNode) => (
    <StageRow key={`${stage.path}#${stage.attempt}`} stage={stage} span={span} data={data} toggle={toggle} {...rest} />
  );
  if (data) return <StageTree stages={stages} row={row} />;
  return (
    <ol>
      {stages.map((stage) => (
        <li key={`${stage.path}#${stage.attempt}`} className="stage">
          {row(stage, null)}
        </li>
      ))}
    </ol>
  );
}

interface StageRowProps extends Omit<StageListProps, "stages"> {
  stage: Stage;
  span: { first: number; length: number };
  toggle: ReactNode;
}

function StageRow({ runId, stage, span, data, effects, onDecided, onRestart, toggle }: StageRowProps) {
  const { locale } = useMfe();
  const start = at(stage.started_at);
  const end = at(stage.ended_at) ?? Date.now();
  const detail = detailOf(stage.detail);
  const mark = MARKS[stage.status];
  return (
    <div className="stage-row">
      <span className={`mark ${stage.status}`}>
        {stage.status === "running" ? <Spinner /> : mark ? <Icon name={mark} size={12} /> : null}
      </span>
      <div className="body">
        <div className="row wrap between">
          <span className="strong small">
            {toggle}
            {stage.name}
            {stage.path.startsWith(UNDO) && <span className="badge plain">undoing</span>}
            {stage.inherited && <span className="badge plain">kept</span>}
            {stage.attempt > 1 && <span className="badge warn plain"> attempt {stage.attempt}</span>}
          </span>
          <span className="row gap-3 xs muted num">
            {stage.rows ? <span>{formatCount(stage.rows, locale)} rows</span> : null}
            {stage.rows_per_s ? <span>{formatCount(Math.round(stage.rows_per_s), locale)}/s</span> : null}
            {stage.bytes ? <span>{formatBytes(stage.bytes, locale)}</span> : null}
            {start !== null && <span>{formatDuration(end - start)}</span>}
            {(start === null || stage.status === "parked") && <StatusBadge status={stage.status} />}
          </span>
        </div>
        {start !== null && (
          <div className={`bar ${stage.status}`} aria-hidden="true">
            <i
              style={{
                left: `${((start - span.first) / span.length) * 100}%`,
                width: `${Math.max(0.5, ((end - start) / span.length) * 100)}%`,
              }}
            />
          </div>
        )}
        {detail && <span className="xs muted break">{detail}</span>}
        <EffectList
          runId={runId}
          effects={effects.filter((effect) => effect.path === stage.path)}
          waits={stage.status === "parked"}
          onDecided={onDecided}
        />
        {data && (
          <div className="row wrap gap-3 top">
            <StepData runId={runId} stepId={stage.id} name={stage.name} />
            {onRestart && !stage.path.startsWith(UNDO) && (
              <Button
                small
                tone="ghost"
                icon="refresh"
                aria-label={`Restart from ${stage.path}`}
                onClick={() => onRestart(stage)}
              >
                Restart from here…
              </Button>
            )}
          </div>
        )}
      </div>
    </div>
  );
}

import type { CheckResult } from "@portal/api-client";
import { Button, Card, formatDuration, Icon, Notice, Skeleton, Time } from "@portal/ui";

interface CheckPanelProps {
  result: CheckResult | null;
  busy: boolean;
  at?: string | null;
  onCheck?: () => void;
}

/** The test, step by step, with what to do about the step that failed. */
export function CheckPanel({ result, busy, at, onCheck }: CheckPanelProps) {
  return (
    <Card
      title="Test"
      actions={
        onCheck && (
          <Button small icon="refresh" busy={busy} onClick={onCheck}>
            {result ? "Test again" : "Test"}
          </Button>
        )
      }
    >
      <div className="stack gap-3" aria-live="polite">
        {busy && !result ? (
          <Skeleton lines={4} />
        ) : !result ? (
          <p className="small soft">
            The test opens the connection, signs in and reads the catalogue. Nothing is changed there.
          </p>
        ) : (
          <CheckSteps result={result} at={at} />
        )}
      </div>
    </Card>
  );
}

/** The outcome, and each step with what it found. */
export function CheckSteps({ result, at }: { result: CheckResult; at?: string | null }) {
  return (
    <>
      <Notice tone={result.ok ? "ok" : "bad"} title={result.ok ? "The connection works." : result.message}>
        {!result.ok && result.remedy}
        {at && (
          <span className="muted xs">
            {" "}
            <Time value={at} relative />
          </span>
        )}
      </Notice>
      <ol className="check-steps">
        {result.steps.map((step) => (
          <li key={step.name}>
            <span className={step.ok ? "ok" : "bad"}>
              <Icon name={step.ok ? "check" : "close"} />
            </span>
            <div>
              <span className="strong">
                {step.name.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase())}
              </span>
              <span className="sr">{step.ok ? " passed" : " failed"}</span>
              <p>{step.message}</p>
            </div>
            {step.duration_ms != null && <span className="muted xs num">{formatDuration(step.duration_ms)}</span>}
          </li>
        ))}
      </ol>
    </>
  );
}

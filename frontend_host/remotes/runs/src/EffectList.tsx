import type { Effect, EffectDecision } from "@portal/api-client";
import { Button, Link, Notice, StatusBadge, Time, useAction, useCan, useConfirm, useMfe } from "@portal/ui";
import { describeEffect } from "./status";

/** What a step has done to other systems, newest first; where nobody knows, a person says. */
export function EffectList({
  runId,
  effects,
  waits,
  onDecided,
}: {
  runId: string;
  effects: readonly Effect[];
  /** Whether the step waits: only then there is something to decide. */
  waits: boolean;
  onDecided: () => void;
}) {
  if (!effects.length) return null;
  return (
    <ul className="effects" aria-label="Effects">
      {effects.map((effect, at) => (
        <li key={effect.id}>
          <StatusBadge status={effect.outcome} />
          <span className="break">{describeEffect(effect)}</span>
          <span className="muted">
            {effect.sent_at ? (
              <>
                sent <Time value={effect.sent_at} seconds />
              </>
            ) : effect.repeats_run && effect.repeats_run !== runId ? (
              <>
                not sent again, as <Link to={`/runs/${effect.repeats_run}`}>an earlier run</Link> had sent it
              </>
            ) : (
              "not sent again"
            )}
            {effect.confirmed_at && (
              <>
                , confirmed <Time value={effect.confirmed_at} seconds />
              </>
            )}
            {effect.undone_at && (
              <>
                , undone <Time value={effect.undone_at} seconds />
              </>
            )}
          </span>
          {effect.external_reference && <code className="break">{effect.external_reference}</code>}
          {effect.decision && (
            <span className="muted break">
              {effect.decision.by} said: {SAID[effect.decision.decision]}
              {effect.decision.note && ` “${effect.decision.note}”`}
            </span>
          )}
          {waits && at === 0 && effect.outcome === "unknown" && !effect.decision && (
            <Question runId={runId} effect={effect} onDecided={onDecided} />
          )}
        </li>
      ))}
    </ul>
  );
}

const SAID: Record<EffectDecision, string> = {
  happened: "it happened.",
  send_again: "it did not happen, send it again.",
  fail: "let the step fail.",
};

function Question({ runId, effect, onDecided }: { runId: string; effect: Effect; onDecided: () => void }) {
  const { api, notify } = useMfe();
  const mayDecide = useCan("run:control");
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  const decide = async (decision: EffectDecision, title: string, text: string, label: string) => {
    const danger = decision !== "happened";
    const reason = { label: "Why (for the audit log)", required: false };
    const note = await confirm({ title, text, action: label, danger, reason });
    if (note === null) return;
    if (!(await action.run(() => api.runs.decide(runId, effect.id, decision, note)))) return;
    notify({ tone: "ok", title: "Your decision is recorded." });
    onDecided();
  };
  const what = describeEffect(effect);
  return (
    <div className="ask">
      <Notice tone="warn" title="Has it happened?">
        It was sent, and no answer came. This system would do it twice, so look there before you decide.
        {mayDecide && (
          <div className="row wrap gap-2">
            <Button
              small
              busy={action.busy}
              onClick={() =>
                decide("happened", "It happened?", `The run goes on as if ${what} had been confirmed.`, "It happened")
              }
            >
              It happened
            </Button>
            <Button
              small
              busy={action.busy}
              onClick={() =>
                decide("send_again", "Send it again?", `If ${what} has happened, it happens twice.`, "Send again")
              }
            >
              It did not, send again
            </Button>
            <Button
              small
              tone="danger"
              busy={action.busy}
              onClick={() => decide("fail", "Let the step fail?", "It stays unknown whether it happened.", "Fail")}
            >
              Fail
            </Button>
          </div>
        )}
      </Notice>
    </div>
  );
}

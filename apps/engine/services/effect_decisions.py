"""What people say of effects that nobody knows about."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.engine.choices import EffectDecision, EffectOutcome, RunStatus, StepStatus
from apps.engine.exceptions import EffectKnown, EffectNotFound, EffectUnknown
from apps.engine.models import Effect, StepResult
from apps.engine.services.advancing import advance_locked, lock_run
from apps.engine.services.effects import WAIT
from apps.engine.services.executing import next_attempt
from apps.engine.services.journal import error_to_json, hint_run, write_lines

DECIDED_WHILE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING)
NOTE_CHARS = 500


def decide_effect(run_id: UUID, effect_id: UUID, decision: str, *, note: str = "", actor: Actor) -> Effect:
    """Say whether an effect has happened; the step that waits for it goes on in the same transaction.

    Args:
        run_id, effect_id: an effect of a parked step whose outcome is unknown.
        decision: `happened` (the step has succeeded), `send_again` (it did not; the next attempt sends it under the
            same key) or `fail` (the step fails with `engine.effect.unknown`).
        note: why, for the audit log.
        actor: needs `run:control`.

    Raises:
        PermissionDenied, RunNotFound: as named.
        EffectNotFound: the run has no such effect.
        EffectKnown: nothing waits for a decision about it (any more).
    """
    check_permission(actor, "run:control")
    with transaction.atomic():
        run = lock_run(run_id)
        effect: Effect | None = Effect.objects.filter(run=run, pk=effect_id).first()
        if effect is None:
            raise EffectNotFound(value=str(effect_id))
        step = StepResult.objects.filter(pk=effect.step_id, latest=True, status=StepStatus.PARKED).first()
        waits = step is not None and (step.wait or {}).get("kind") == WAIT and step.signal is None
        if step is None or not waits or effect.outcome != EffectOutcome.UNKNOWN or run.status not in DECIDED_WHILE:
            raise EffectKnown(value=str(effect.outcome))
        effect.decision = {
            "decision": decision, "by": actor.name, "at": run.db_now.isoformat(), "note": note[:NOTE_CHARS]
        }  # fmt: skip
        if decision == EffectDecision.SEND_AGAIN:
            effect.outcome = EffectOutcome.REFUSED
            error = EffectUnknown(f"{actor.name} said that it did not happen; it is sent again.")
            step.status, step.error, step.detail = (
                StepStatus.FAILED,
                error_to_json(error, step=step.path),
                error.message,
            )
            step.wait, step.ended_at = None, run.db_now
            step.save()
            next_attempt(step)
        else:
            step.signal = {"decision": decision}
            step.save(update_fields=["signal", "updated_at"])
        effect.save(update_fields=["decision", "outcome", "updated_at"])
        said = EffectDecision(decision).label
        write_lines(run, [("info", f"{step.name}: {actor.name} said: {said}.", {"step": step.path})])
        run.save(update_fields=["log_seq", "updated_at"])
        record_audit(
            actor=actor,
            action="effect.decided",
            target_type="run",
            target_id=run.pk,
            summary=f"{effect.operation} {effect.target} of a run of {run.flow_name}: {said}."[:500],
            facts={"effect_id": str(effect.pk), "path": effect.path, "decision": decision, "note": note[:NOTE_CHARS]},
        )
        advance_locked(run)
        hint_run(run)
    effect.refresh_from_db()
    return effect

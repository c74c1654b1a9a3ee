"""The ledger of effects on other systems: asked before a step sends anything, written before and after it does.

An effect is `sent` in a transaction of its own before the call goes out, and `confirmed` in the transaction that
records its step. What it is found by afterwards is the run, the path and the attempt; across restarts the first run of
the chain, the path and the hash of what was sent. Its idempotency key stays the same for all of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.exceptions import TerminalError
from apps.engine.choices import EffectDecision, EffectOutcome, RunStatus
from apps.engine.contracts import EffectDraft, ParkedStep, RunFacts, StepContext, StepOutcome, Wait
from apps.engine.exceptions import EffectUnknown, LeaseLost, RunCancelled
from apps.engine.models import Effect
from apps.engine.services.processes.walking import UNDO
from apps.vault.services.scrubbing import hide_revealed

WAIT = "effect"
KEY_CHARS = 500
TARGET_CHARS = 400
REFERENCE_CHARS = 500
# The run before the step, as everywhere; the key's lock only, so that progress reports of siblings go on.
RUN_STATUS = "SELECT status FROM engine_run WHERE id = %s FOR KEY SHARE"


@dataclass(frozen=True)
class Prior:
    """What the ledger knows of an effect that is about to be sent.

    Attributes:
        key: idempotency key to send it under.
        effect: its newest entry: of this run, else of another run of the same chain of restarts.
    """

    key: UUID
    effect: Effect | None = None

    @property
    def confirmed(self) -> Effect | None:
        """The entry that says that it has happened already."""
        return self.effect if self.effect is not None and self.effect.outcome == EffectOutcome.CONFIRMED else None

    @property
    def open(self) -> Effect | None:
        """The entry that says that it may have happened."""
        may_have = (EffectOutcome.SENT, EffectOutcome.UNKNOWN)
        return self.effect if self.effect is not None and self.effect.outcome in may_have else None


def find_prior(run: RunFacts, path: str, draft: EffectDraft) -> Prior:
    """Ask the ledger before sending.

    The run's own entry counts whatever is sent now: a step has one effect in a run, and an expression such as `now()`
    must not make it another one. An entry of another run of the chain counts if the same would be sent, it was not
    undone, and nobody asked for it once more. What a compensation does belongs to its own run.
    """
    own = Effect.objects.filter(run_id=run.id, path=path).order_by("-attempt").first()
    if own is not None:
        return Prior(own.idempotency_key, own)
    if not path.startswith(UNDO) and path not in run.again:
        earlier = find_in_chain(run.first_id, path, draft.payload_hash)
        if earlier is not None:
            return Prior(earlier.idempotency_key, earlier)
    return Prior(uuid5(run.id, path))


def find_in_chain(origin: UUID, path: str, payload_hash: str) -> Effect | None:
    """The entry of a chain of restarts that stands for the same effect: one that has happened, else the newest."""
    found = Effect.objects.filter(origin=origin, path=path, payload_hash=payload_hash, undone_at=None)
    entries = list(found.exclude(outcome=EffectOutcome.REFUSED).order_by("-id"))
    confirmed = [entry for entry in entries if entry.outcome == EffectOutcome.CONFIRMED]
    return next(iter(confirmed or entries), None)


def announce_effect(context: StepContext, draft: EffectDraft, prior: Prior, *, repeatable: bool) -> Effect:
    """Write that the effect is sent, committed before it is; fenced by the step's lease.

    Raises:
        LeaseLost: another worker owns the step, so nothing may be sent.
        RunCancelled: somebody asked to cancel.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(RUN_STATUS, [context.run.id])
            row = cursor.fetchone()
        context.ensure_owner()
        if row is None:
            raise LeaseLost()
        if row[0] != RunStatus.RUNNING:
            raise RunCancelled()
        return _write(context, draft, prior, outcome=EffectOutcome.SENT, repeatable=repeatable, sent_at=Now())


@contextmanager
def sending(context: StepContext, effect: Effect) -> Iterator[None]:
    """The call itself. A fault that will not pass says that it was refused; after any other, nobody knows.

    Many rows that no marker joins may have been taken in part, unless the fault says how many were (`taken`). A worker
    that has lost its step says nothing: whoever has it now knows more.

    Raises:
        LeaseLost: in place of such a fault, another worker owns the step.
    """
    try:
        yield
    except TerminalError as error:
        in_part = not effect.repeatable and effect.summary.get("rows", 1) > 1 and "taken" not in error.facts
        taken = int(error.facts.get("taken", 0))
        outcome = EffectOutcome.UNKNOWN if taken or in_part else EffectOutcome.REFUSED
        summary = {**effect.summary, "taken": taken} if taken else effect.summary
        with transaction.atomic():
            context.ensure_owner()
            Effect.objects.filter(pk=effect.pk).update(outcome=outcome, summary=summary, updated_at=Now())
        raise


def confirm_effect(effect_id: UUID, result: Mapping[str, Any], reference: str = "") -> None:
    """Write that it happened, in the transaction that records the step."""
    Effect.objects.filter(pk=effect_id).update(
        outcome=EffectOutcome.CONFIRMED,
        result=dict(result),
        external_reference=hide_revealed(reference)[:REFERENCE_CHARS],
        confirmed_at=Now(),
        updated_at=Now(),
    )


def record_effect(
    context: StepContext, draft: EffectDraft, *, result: Mapping[str, Any] | None, reference: str, prior: Prior
) -> None:
    """An effect on our own database, in the transaction that has it; without a result it is not confirmed yet."""
    done = result is not None
    outcome = EffectOutcome.CONFIRMED if done else EffectOutcome.SENT
    confirmed_at = Now() if done else None
    effect = _write(context, draft, prior, outcome=outcome, repeatable=True, sent_at=Now(), confirmed_at=confirmed_at)
    Effect.objects.filter(pk=effect.pk).update(
        result=None if result is None else dict(result), external_reference=reference[:REFERENCE_CHARS]
    )


def settle_effect(step_id: UUID, result: Mapping[str, Any] | None, reference: str = "") -> None:
    """The end of an effect that a parked step waited for: what came of it, or None when it came to nothing."""
    for effect in Effect.objects.filter(step_id=step_id):
        if result is None:
            Effect.objects.filter(pk=effect.pk).update(outcome=EffectOutcome.REFUSED, updated_at=Now())
        else:
            confirm_effect(effect.pk, result, reference or effect.external_reference)


def repeat_outcome(context: StepContext, draft: EffectDraft, known: Effect) -> StepOutcome:
    """The outcome of a step whose effect has happened already: what it left then, and nothing is sent."""
    result = dict(known.result or {})

    def commit() -> None:
        if known.run_id == context.run.id and known.attempt == context.attempt:
            return
        prior = Prior(known.idempotency_key, known)
        effect = _write(context, draft, prior, outcome=EffectOutcome.CONFIRMED, repeatable=known.repeatable)
        Effect.objects.filter(pk=effect.pk).update(
            result=result, external_reference=known.external_reference, confirmed_at=known.confirmed_at
        )

    return StepOutcome(output=result, detail="It had happened before; not sent again.", commit=commit)


def ask_people(context: StepContext, draft: EffectDraft, prior: Prior) -> StepOutcome:
    """Park the step: it may have happened, and the system would do it twice. A person decides."""
    context.log(
        "warning",
        f"{context.name}: it is not known whether {draft.operation} {draft.target} has happened. Somebody must say.",
        code=EffectUnknown.code,
        step=context.path,
    )

    def commit() -> None:
        _write(context, draft, prior, outcome=EffectOutcome.UNKNOWN, repeatable=False)

    facts = {"code": EffectUnknown.code}
    return StepOutcome(detail="Waits for somebody who says whether it happened.", commit=commit, wait=Wait(WAIT, facts))


def wake_decided(step: ParkedStep, output: Callable[[Effect], Mapping[str, Any]]) -> StepOutcome | None:
    """The outcome of a step that waited for a decision about its effect; None while there is none.

    Args:
        step: parked by `ask_people`.
        output: what the step leaves if the effect has happened.

    Raises:
        EffectUnknown: somebody let the step fail.
    """
    decision = (step.signal or {}).get("decision")
    if decision is None:
        return None
    effect = Effect.objects.get(step_id=step.step_id)
    if decision == EffectDecision.FAIL:
        raise EffectUnknown(f"It stays unknown whether {effect.operation} {effect.target} has happened.")
    result = dict(output(effect))
    return StepOutcome(
        output=result, detail="Somebody said that it happened.", commit=lambda: confirm_effect(effect.pk, result)
    )


def mark_undone(run_id: UUID, paths: Sequence[str]) -> None:
    """Compensations took these steps back, so that their effects are not found done any more, in whichever run."""
    if not paths:
        return
    inside = Q()
    for path in paths:
        inside |= Q(path=path) | Q(path__startswith=f"{path}[") | Q(path__startswith=f"{path}:")
    keys = Effect.objects.filter(inside, run_id=run_id).values("idempotency_key")
    Effect.objects.filter(idempotency_key__in=keys, undone_at=None).update(undone_at=Now(), updated_at=Now())


def _write(
    context: StepContext, draft: EffectDraft, prior: Prior, *, outcome: EffectOutcome, repeatable: bool, **moments: Any
) -> Effect:
    """The entry of this attempt, new or once more."""
    known = prior.effect
    values: dict[str, Any] = {
        "idempotency_key": prior.key,
        "connection": draft.connection,
        "operation": draft.operation,
        "target": draft.target[:TARGET_CHARS],
        "business_key": hide_revealed(draft.business_key)[:KEY_CHARS],
        "payload_hash": draft.payload_hash,
        "summary": dict(draft.summary),
        "repeatable": repeatable,
        "outcome": outcome,
        **moments,
    }
    if known is not None and known.run_id == context.run.id and known.attempt == context.attempt:
        Effect.objects.filter(pk=known.pk).update(**values, step_id=context.step_id, updated_at=Now())
        known.refresh_from_db()
        return known
    created: Effect = Effect.objects.create(
        run_id=context.run.id,
        origin=context.run.first_id,
        step_id=context.step_id,
        path=context.path,
        attempt=context.attempt,
        repeats=known,
        **values,
    )
    return created

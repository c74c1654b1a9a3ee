"""One visit of a worker: claim a step, execute it, record its outcome and claim the next, until none is left."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.connectors.exceptions import CircuitOpen
from apps.core.exceptions import PortalError, TransientError
from apps.engine.choices import ENDED_STEP_STATUSES, StepStatus
from apps.engine.contracts import ResourceBag, StepOutcome
from apps.engine.exceptions import LeaseLost, RunCancelled
from apps.engine.models import Run, StepResult
from apps.engine.registries import programs, step_types
from apps.engine.services.admission import ring_runs_waiting_for
from apps.engine.services.advancing import ClaimedStep, advance, advance_locked, lock_run, to_facts
from apps.engine.services.circuits import park_until_called
from apps.engine.services.faults import to_portal_error
from apps.engine.services.journal import Line, error_to_json, write_lines
from apps.engine.services.steering import apply_outcome, outputs_of
from apps.engine.services.stepping import Heartbeat, RunningStep

log = structlog.get_logger(__name__)

DETAIL_CHARS = 300
SESSION_LOST = ("08", "57P", "25P03")
"""SQLSTATEs: connection exceptions, shutdowns, and a transaction that was silent for too long. A cut line has none."""
RECORD_AGAIN_S = (0.2, 1.0, 3.0, 6.0)


def owner_name() -> str:
    """This process, for people who read a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def work_on_run(run_id: UUID, *, prefer: UUID | None = None, quick_only: bool = False) -> int:
    """Execute what is ready in a run, one step after the other, in this process.

    Ready siblings are rung for other workers at the same time; whoever claims first has the step.

    Args:
        run_id: the run.
        prefer: the step that the doorbell named.
        quick_only: leave steps that may take long to the workers of loads.

    Returns:
        Number of steps executed here.
    """
    owner = owner_name()
    resources = ResourceBag()
    executed = 0
    try:
        claimed = advance(run_id, claim_as=owner, prefer=prefer, quick_only=quick_only)
        while claimed is not None:
            executed += 1
            step = claimed.step
            try:
                claimed = _execute(claimed, resources, owner, quick_only)
            except LeaseLost:
                # Whoever owns the step now records its outcome. Nothing of ours counts.
                log.warning("lease_lost", run=str(run_id), step=step.path, fence=step.lease_epoch)
                claimed = None
    finally:
        resources.close()
    return executed


def _execute(claimed: ClaimedStep, resources: ResourceBag, owner: str, quick_only: bool) -> ClaimedStep | None:
    context = RunningStep(claimed, resources)
    step_type = step_types.get(claimed.step.kind)
    try:
        with Heartbeat(context):
            outcome = step_type.execute(context)
        return _record_surely(claimed, context, owner, quick_only, outcome=outcome)
    except LeaseLost:
        raise
    except (SystemExit, KeyboardInterrupt):
        # A worker that is told to stop hands its step back at once, instead of letting the lease run out.
        _release(claimed)
        raise
    except BaseException as error:
        if _is_session_lost(error):
            # Not the step's fault, and nothing is known of what it did: it is delivered again when its lease is over.
            connection.close()
            raise LeaseLost() from error
        fault = to_portal_error(error, str(context.run.id), context.path, context.name)
        return _record_surely(claimed, context, owner, quick_only, error=fault)


def _is_session_lost(error: BaseException) -> bool:
    """Whether the portal's own database went away: restarted, failed over, or ended the session.

    The connection does not tell: Django has opened another one when a transaction's block is left.
    """
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith(SESSION_LOST)


def _record_surely(
    claimed: ClaimedStep,
    context: RunningStep,
    owner: str,
    quick_only: bool,
    *,
    outcome: StepOutcome | None = None,
    error: PortalError | None = None,
) -> ClaimedStep | None:
    """Record the outcome, in a new session if the old one is lost. What was committed unseen is found by its fence."""
    lines = context.take_lines()
    for pause_s in RECORD_AGAIN_S:
        try:
            return _record(claimed, context, owner, quick_only, lines, outcome=outcome, error=error)
        except (OperationalError, InterfaceError) as fault:
            if not _is_session_lost(fault):
                raise
            log.warning("outcome_not_recorded_yet", run=str(claimed.run.id), step=claimed.step.path, error=str(fault))
            connection.close()
            time.sleep(pause_s)
    return _record(claimed, context, owner, quick_only, lines, outcome=outcome, error=error)


def _record(
    claimed: ClaimedStep,
    context: RunningStep,
    owner: str,
    quick_only: bool,
    said: list[Line],
    *,
    outcome: StepOutcome | None = None,
    error: PortalError | None = None,
) -> ClaimedStep | None:
    """Write the step's one outcome and schedule what follows, in one transaction; claims the next step, if any."""
    with transaction.atomic():
        run = lock_run(claimed.run.id)
        step = StepResult.objects.filter(
            pk=claimed.step.pk, lease_epoch=claimed.step.lease_epoch, status=StepStatus.RUNNING
        ).first()
        if step is None:
            raise LeaseLost()
        lines = list(said)
        step.stats = context.stats.to_json()
        now = run.db_now
        if outcome is not None:
            if outcome.commit is not None:
                outcome.commit()
            apply_outcome(step, outcome, now)
        else:
            assert error is not None
            step.lease_expires_at, step.ended_at = None, now
            lines += _record_error(run, step, error)
        if lines:
            write_lines(run, lines)
        step.save()
        ring_runs_waiting_for(step.connections, but=run.pk)
        return advance_locked(run, claim_as=owner, quick_only=quick_only, careful=claimed.careful)


def _record_error(run: Run, step: StepResult, error: PortalError) -> list[tuple[str, str, dict[str, object]]]:
    step.detail = error.message[:DETAIL_CHARS]
    if isinstance(error, CircuitOpen):
        return park_until_called(step, error)
    step.error = error_to_json(error, step=step.path)
    if isinstance(error, RunCancelled):
        step.status = StepStatus.CANCELLED
        return []
    step.status, step.wait = StepStatus.FAILED, None
    decision = None
    program = programs.get(run.kind)
    if isinstance(error, TransientError):
        outputs = outputs_of(
            [known for known in StepResult.objects.filter(run=run, latest=True) if program.steers or not known.error]
        )
        facts = to_facts(run)
        planned = program.steer(facts, outputs).specs if program.steers else program.plan(facts, outputs)
        specs = {spec.path: spec for spec in planned}
        spec = specs.get(step.path)
        decision = spec.retry.decide(error, step.attempt) if spec is not None else None
    if decision is None:
        return [("error", f"{step.name}: {error.message}", {"code": error.code, "remedy": error.remedy})]
    restarted = program.restarts(step.path, error.code)
    if restarted:
        _restart_steps(run, step, restarted)
    if step.path.startswith(restarted):
        step.latest = False  # the plan makes it anew, with whatever the restarted steps decide
    else:
        next_attempt(step, due_in_s=decision.delay_s, status=StepStatus.WAITING if restarted else StepStatus.READY)
    return [
        (
            "warning",
            f"{step.name}: {error.message} Attempt {step.attempt + 1} follows in {decision.delay_s:.1f} s.",
            {"code": error.code},
        )
    ]


def _restart_steps(run: Run, failed: StepResult, beginnings: tuple[str, ...]) -> None:
    """Take steps out of the plan, so that it makes them anew; who executes one of them now is fenced off."""
    for step in StepResult.objects.filter(run=run, latest=True).exclude(pk=failed.pk):
        if not step.path.startswith(beginnings):
            continue
        step.latest = False
        if step.status not in ENDED_STEP_STATUSES:
            step.status, step.lease_epoch = StepStatus.CANCELLED, step.lease_epoch + 1
        step.save(update_fields=["latest", "status", "lease_epoch", "updated_at"])


def next_attempt(step: StepResult, *, due_in_s: float = 0.0, status: StepStatus = StepStatus.READY) -> StepResult:
    """Close an attempt and open the next one; the caller holds the run's lock and saves the old row's other fields."""
    step.latest = False
    step.save(update_fields=["latest", "updated_at"])
    now = step.ended_at or step.created_at
    created: StepResult = StepResult.objects.create(
        run_id=step.run_id,
        path=step.path,
        attempt=step.attempt + 1,
        position=step.position,
        kind=step.kind,
        name=step.name,
        definition_hash=step.definition_hash,
        config=step.config,
        connections=step.connections,
        timeout_s=step.timeout_s,
        status=status,
        due_at=now + timedelta(seconds=due_in_s),
    )
    return created


def _release(claimed: ClaimedStep) -> None:
    """Hand a claimed step back, uncounted, so that another worker takes it at once."""
    with transaction.atomic():
        run = lock_run(claimed.run.id)
        step = StepResult.objects.filter(
            pk=claimed.step.pk, lease_epoch=claimed.step.lease_epoch, status=StepStatus.RUNNING
        ).first()
        if step is None:
            return
        step.status, step.rung_at, step.lease_expires_at = StepStatus.READY, None, None
        step.lease_epoch += 1
        step.deliveries = max(0, step.deliveries - 1)
        step.save()
        advance_locked(run)

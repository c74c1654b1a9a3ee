"""Cancelling, resuming, retrying and undoing runs: what a person or another app can ask of a run that was started."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.engine.choices import ACTIVE_RUN_STATUSES, RunKind, RunStatus, RunTrigger, StepStatus
from apps.engine.exceptions import RunNotControllable
from apps.engine.models import Run, StepResult
from apps.engine.selectors import get_run
from apps.engine.services.advancing import advance_locked, lock_run
from apps.engine.services.executing import next_attempt
from apps.engine.services.journal import hint_run, write_lines
from apps.engine.services.processes.walking import UNDO
from apps.engine.services.restart_plans import ensure_chain_idle
from apps.engine.services.runs import audit_run, ensure_not_paused, explain_conflict, launch_run
from apps.engine.services.undoing import reopen_undoing
from apps.integrations.selectors import get_flow

RESUMABLE = (RunStatus.FAILED, RunStatus.CANCELLED)


def cancel_run(run_id: UUID, *, actor: Actor) -> Run:
    """Ask a run to stop; running steps notice between two batches. A second call changes nothing.

    Raises:
        PermissionDenied, RunNotFound: as named.
        RunNotControllable: the run has ended.
    """
    check_permission(actor, "run:control")
    with transaction.atomic():
        run = lock_run(run_id)
        if run.status == RunStatus.CANCELLING:
            return get_run(run_id)
        if run.status not in ACTIVE_RUN_STATUSES:
            raise RunNotControllable(f"The run has already {run.status}.", value=run.status)
        run.status = RunStatus.CANCELLING
        write_lines(run, [("warning", f"{actor.name} asked to cancel.", {})])
        run.save(update_fields=["status", "log_seq", "updated_at"])
        audit_run(run, "run.cancelled", f"Cancelled a run of {run.flow_name}.", actor)
        advance_locked(run)
        hint_run(run)
    return get_run(run_id)


def resume_run(run_id: UUID, *, actor: Actor) -> Run:
    """Continue a failed or cancelled run where it stopped: finished partitions are kept, the rest is tried anew.

    Raises:
        PermissionDenied, RunNotFound: as named.
        RunNotControllable: the run is active or has succeeded.
        RunAlreadyActive: another run of the flow is active in the environment, or a restart of this one.
    """
    check_permission(actor, "run:control")
    run = Run()
    try:
        with transaction.atomic():
            run = lock_run(run_id)
            if run.kind == RunKind.REPLAY:
                raise RunNotControllable(
                    "A replay is not resumed.", remedy="Replay its rows again; they wait in the quarantine."
                )
            if run.compensation is not None:
                raise RunNotControllable(
                    "The run's completed steps were undone, so it cannot go on.",
                    value=run.compensation["status"],
                    remedy="Start it anew, or retry its compensation if that failed.",
                )
            if run.status not in RESUMABLE:
                raise RunNotControllable(f"Only a failed or cancelled run can be resumed; this one is {run.status}.")
            ensure_chain_idle(run)
            released = run.cleaned_at is not None
            again = set((run.error or {}).get("failed", ()))
            for step in StepResult.objects.filter(run=run, latest=True):
                handled = run.kind == RunKind.PROCESS and step.status == StepStatus.FAILED and step.path not in again
                kept = handled or (step.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED) and not released)
                if kept or step.status == StepStatus.WAITING:
                    continue
                if step.status == StepStatus.READY:
                    step.status = StepStatus.WAITING
                    step.save(update_fields=["status", "updated_at"])
                    continue
                step.ended_at = step.ended_at or run.db_now
                next_attempt(step, status=StepStatus.WAITING)
            run.status, run.error, run.ended_at, run.cleaned_at = RunStatus.QUEUED, None, None, None
            run.resumed += 1
            write_lines(run, [("info", f"{actor.name} resumed the run.", {"released": released})])
            run.save(update_fields=["status", "error", "ended_at", "cleaned_at", "resumed", "log_seq", "updated_at"])
            audit_run(run, "run.resumed", f"Resumed a run of {run.flow_name}.", actor)
            advance_locked(run)
            hint_run(run)
    except IntegrityError as error:
        raise explain_conflict(error, run) from error
    return get_run(run_id)


def retry_compensation(run_id: UUID, *, actor: Actor) -> Run:
    """Go on undoing a run whose compensation failed or was cancelled; what is undone already stays undone.

    Raises:
        PermissionDenied, RunNotFound: as named.
        NothingToUndo: no compensation of the run has failed.
    """
    check_permission(actor, "run:control")
    with transaction.atomic():
        run = lock_run(run_id)
        failed = reopen_undoing(run, actor=actor)
        stopped = StepResult.objects.filter(
            run=run, latest=True, path__startswith=UNDO, status__in=(StepStatus.FAILED, StepStatus.CANCELLED)
        )
        for step in stopped:
            if step.status == StepStatus.CANCELLED or step.path in failed:
                step.ended_at = step.ended_at or run.db_now
                next_attempt(step, status=StepStatus.WAITING)
        write_lines(run, [("info", f"{actor.name} asked to undo the rest.", {})])
        run.save(update_fields=["status", "error", "ended_at", "compensation", "log_seq", "updated_at"])
        advance_locked(run)
        hint_run(run)
    return get_run(run_id)


def retry_run(run_id: UUID, *, actor: Actor) -> Run:
    """Start the same version again from the beginning, as a new run that names the old one.

    Raises:
        PermissionDenied, RunNotFound: as named.
        FlowPaused: nothing starts a run of the flow at present.
        RunNotControllable: the run is still active, or it is a replay (its rows wait in the quarantine again).
        RunAlreadyActive: another run of the flow is active in the environment.
    """
    check_permission(actor, "run:start")
    old = get_run(run_id)
    ensure_not_paused(get_flow(old.flow_id))
    if old.status in ACTIVE_RUN_STATUSES:
        raise RunNotControllable("The run is still active.", value=old.status, remedy="Cancel it first.")
    if old.kind == RunKind.REPLAY:
        raise RunNotControllable(
            "A replay is not retried.", remedy="Choose its rows in the quarantine and replay them."
        )
    run = Run(
        flow_id=old.flow_id,
        flow_version_id=old.flow_version_id,
        environment_id=old.environment_id,
        flow_name=old.flow_name,
        version_number=old.version_number,
        kind=old.kind,
        mode=old.mode,
        trigger=RunTrigger.RETRY,
        definition=old.definition,
        parameters=old.parameters,
        since=old.since,
        concurrency=old.concurrency,
        exclusive=old.exclusive,
        retry_of_id=old.pk,
    )
    return launch_run(run, actor=actor, summary=f"Retried a run of {old.flow_name}.")

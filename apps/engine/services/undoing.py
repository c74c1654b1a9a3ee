"""Compensation: a run that fails or is cancelled undoes its completed steps, the last one first.

`Run.compensation` holds {status, cause, error, steps, remaining}: `steps` are fixed when the undoing begins, `cause` is
the status that the run ends with afterwards. The undoing itself consists of ordinary steps below `compensate/`, so it
has their leases, retries and recorded outcomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.access.contracts import Actor
from apps.audit.services.entries import record_audit
from apps.engine import events
from apps.engine.choices import CompensationStatus, RunStatus, StepStatus
from apps.engine.contracts import Steering
from apps.engine.exceptions import CompensationFailed, NothingToUndo, RunCancelled
from apps.engine.models import Run
from apps.engine.registries import programs
from apps.engine.services.journal import error_to_json

if TYPE_CHECKING:
    from apps.engine.services.advancing import Visit


def begin_undoing(visit: Visit, cause: RunStatus, error: dict[str, Any]) -> bool:
    """Turn a run around that is about to end badly; False when there is nothing to undo.

    Args:
        visit: of the run, none of whose steps is at work any more.
        cause: the status that the run ends with once all is undone.
        error: why.
    """
    run = visit.run
    program = programs.get(run.kind)
    if run.compensation is not None or not program.steers:
        return False
    # What a restart kept belongs to the run that did it, and is undone there or not at all.
    done = [step for step in visit.steps if step.status == StepStatus.SUCCEEDED and not step.inherited]
    done.sort(key=lambda step: (step.ended_at or visit.now, step.position), reverse=True)
    steps = program.find_undoing(visit.facts, [step.path for step in done])
    if not steps:
        return False
    run.compensation = {
        "status": CompensationStatus.RUNNING,
        "cause": cause,
        "error": error,
        "steps": steps,
        "remaining": steps,
    }
    run.status = RunStatus.RUNNING
    run.started_at = run.started_at or visit.now
    visit.see_run()
    message = error.get("message", "The run failed.")
    visit.lines.append(("warning", f"{message} {len(steps)} completed steps are undone.", {"steps": steps[:20]}))
    return True


def end_undoing(visit: Visit, decision: Steering) -> None:
    """End a run as what it was about to end as, and say whether all was undone."""
    run = visit.run
    assert run.compensation is not None
    cause = run.compensation["cause"]
    error = dict(run.compensation["error"])
    state: dict[str, Any] = {"status": CompensationStatus.DONE, "remaining": []}
    if decision.ended:
        visit.lines.append(("info", "All completed steps were undone.", {}))
    else:
        state = _failed(decision)
        error["compensation"] = state["problem"]["message"]
        facts = {"remaining": state["remaining"], "code": state["problem"]["code"]}
        visit.lines.append(("error", state["problem"]["message"], facts))
    run.compensation = {**run.compensation, **state}
    if cause == RunStatus.CANCELLED:
        run.error = error if not decision.ended else None
        visit.end(RunStatus.CANCELLED, events.RUN_CANCELLED)
        return
    visit.fail(error)


def stop_undoing(visit: Visit) -> None:
    """An operator cancelled the undoing: what is not undone stays listed."""
    assert visit.run.compensation is not None
    error = error_to_json(RunCancelled("The undoing was cancelled."))
    decision = Steering(ended=False, error=error, remaining=tuple(visit.run.compensation["remaining"]))
    end_undoing(visit, decision)


def _failed(decision: Steering) -> dict[str, Any]:
    why = decision.error or {}
    remaining = list(decision.remaining)
    problem = CompensationFailed(
        f"{remaining[0] if remaining else 'A step'} could not be undone: {why.get('message', 'unknown')}"
    )
    return {
        "status": CompensationStatus.FAILED,
        "remaining": remaining,
        "failed": list(decision.failed),
        "problem": {**error_to_json(problem), "cause": why.get("code")},
    }


def reopen_undoing(run: Run, *, actor: Actor) -> set[str]:
    """Let a failed compensation go on where it stopped; the caller holds the run's lock and advances it.

    Returns:
        Paths of the failed steps behind it, which are tried again.

    Raises:
        NothingToUndo: no compensation of the run has failed.
    """
    from_before = run.compensation
    if from_before is None or from_before["status"] != CompensationStatus.FAILED:
        raise NothingToUndo(value=run.status)
    run.compensation = {name: from_before[name] for name in ("cause", "error", "steps", "remaining")} | {
        "status": CompensationStatus.RUNNING
    }
    run.status, run.error, run.ended_at = RunStatus.QUEUED, None, None
    record_audit(
        actor=actor,
        action="run.compensation_retried",
        target_type="run",
        target_id=run.pk,
        summary=f"Tried again to undo a run of {run.flow_name}.",
        facts={"flow_id": str(run.flow_id), "remaining": from_before["remaining"][:100]},
    )
    return set(from_before["failed"])

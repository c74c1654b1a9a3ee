"""Visits of runs whose program steers: quick steps executed in the visit itself, parked steps, ends by decision.

A steering program (a process) sees failed steps, too, and decides what becomes of them. Everything here happens under
the run's lock, in the visit's transaction: either all of it counts, or a killed worker leaves nothing behind.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, transaction

from apps.core.exceptions import PortalError
from apps.engine import events
from apps.engine.choices import DONE_STEP_STATUSES, ENDED_STEP_STATUSES, RunStatus, StepStatus
from apps.engine.contracts import (
    ERROR_KEY,
    Outputs,
    ParkedStep,
    ResourceBag,
    RetryPolicy,
    Steering,
    StepContext,
    StepOutcome,
    StepStats,
)
from apps.engine.models import Run, StepResult
from apps.engine.registries import programs, step_types
from apps.engine.services.circuits import is_waiting_for_circuit
from apps.engine.services.effects import mark_undone
from apps.engine.services.faults import to_portal_error
from apps.engine.services.journal import error_to_json
from apps.engine.services.undoing import begin_undoing, end_undoing
from apps.tenancy.services.context import require_tenant

if TYPE_CHECKING:
    from apps.engine.services.advancing import Visit

DETAIL_CHARS = 300
SILENT_VISITS = 3
SHORT_DELAY = timedelta(seconds=5)
EVENT_RECHECK = timedelta(seconds=2)
CHILD_POLL = timedelta(seconds=30)
LONG_POLL = timedelta(hours=1)


def outputs_of(steps: list[StepResult]) -> Outputs:
    """Outputs of done steps and errors of failed ones, by path."""
    found = Outputs()
    for step in steps:
        if step.status in DONE_STEP_STATUSES:
            found[step.path] = step.output or {}
        elif step.status == StepStatus.FAILED:
            found[step.path] = {ERROR_KEY: step.error or {}}
    return found


class InlineStep(StepContext):
    """Context of a step that is executed inside the visit: the visit's lock is its fence."""

    def __init__(self, visit: Visit, step: StepResult, outputs: Outputs, resources: ResourceBag) -> None:
        self.run = visit.facts
        self.step_id = step.pk
        self.path = step.path
        self.name = step.name
        self.attempt = step.attempt
        self.fence = step.lease_epoch
        self.config = step.config
        self.outputs = outputs
        self.stats = StepStats()
        self.resources = resources
        self.tenant_id = require_tenant().id
        self._lines = visit.lines

    def tick(self, *, force: bool = False) -> None:
        """Nothing to report before the visit's transaction ends."""

    def check(self) -> None:
        """The run is locked: nobody can cancel it meanwhile."""

    def log(self, level: str, message: str, **facts: Any) -> None:
        """See `StepContext.log`."""
        self._lines.append((level, message, facts))

    def ensure_owner(self) -> None:
        """The run's lock is held."""


class Steerer:
    """One visit of a steered run. `owner` None only schedules; with one, quick steps are executed at once."""

    def __init__(self, visit: Visit, owner: str | None) -> None:
        self.visit = visit
        self.run: Run = visit.run
        self.owner = owner
        self.program = programs.get(visit.run.kind)
        self.outputs = outputs_of(visit.steps)
        self.live = {step.path: step for step in visit.steps if step.status not in ENDED_STEP_STATUSES}
        self.policies: dict[str, RetryPolicy] = {}
        self.started = time.monotonic()

    def settle(self) -> None:
        """Wake, admit, execute what is quick, and schedule or end."""
        woken = self._wake_parked()
        if self.run.status == RunStatus.WAITING:
            if not woken and self.live and all(self._idle(step) for step in self.live.values()):
                return
            self.run.status = RunStatus.QUEUED
        if self.run.status == RunStatus.QUEUED and not self.visit.admit():
            return
        resources = ResourceBag()
        try:
            self._work(resources)
        finally:
            resources.close()

    def _work(self, resources: ResourceBag) -> None:
        executed = 0
        # What no worker has survived so far leaves no trace, because the visit was rolled back. So after some time
        # without progress each step is claimed on its own: its deliveries are counted, and the guilty one found.
        patience = SILENT_VISITS * timedelta(seconds=self.visit.limits.doorbell_grace_s)
        self.visit.careful = self.visit.careful or any(
            step.deliveries > 0
            or (step.rung_at is not None and max(step.rung_at, step.due_at) + patience < self.visit.now)
            for step in self.live.values()
            if step.status == StepStatus.READY and step.due_at <= self.visit.now
        )
        while True:
            decision = self.program.steer(self.visit.facts, self.outputs)
            self.policies = {spec.path: spec.retry for spec in decision.specs}
            self._cancel_unplanned(decision)
            if self.run.compensation is not None:
                remaining = list(decision.remaining)
                mark_undone(self.run.pk, sorted(set(self.run.compensation["remaining"]) - set(remaining)))
                self.run.compensation = {**self.run.compensation, "remaining": remaining}
            if decision.ended is not None:
                if self._end(decision):
                    return
                continue
            for step in self.visit.add_specs(decision.specs):
                self.live[step.path] = step
            for step in self.live.values():
                if step.status == StepStatus.WAITING:
                    step.status, step.due_at, step.rung_at = StepStatus.READY, self.visit.now, None
                    self.visit.changed[step.pk] = step
            if self.owner is None or self.visit.careful or executed >= self.visit.limits.inline_steps:
                break
            if self._seconds() > self.visit.limits.inline_s:
                break
            quick = [step for step in self.live.values() if self._is_quick(step)]
            if not quick:
                break
            for step in quick:
                self._execute(step, resources)
                executed += 1
        if self.live and all(self._idle(step) for step in self.live.values()):
            self.run.status = RunStatus.WAITING

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _is_quick(self, step: StepResult) -> bool:
        return step.status == StepStatus.READY and step.due_at <= self.visit.now and step_types.get(step.kind).inline

    def _idle(self, step: StepResult) -> bool:
        if step.status == StepStatus.PARKED:
            return True
        return step.status == StepStatus.READY and step.due_at > self.visit.now + SHORT_DELAY

    # -- one step ------------------------------------------------------------------------------------------------

    def _execute(self, step: StepResult, resources: ResourceBag) -> None:
        step.lease_epoch += 1
        step.lease_owner, step.deliveries = self.owner or "", 1
        step.started_at = self.visit.now + timedelta(seconds=self._seconds())
        context = InlineStep(self.visit, step, self.outputs, resources)
        committing = False
        try:
            outcome = step_types.get(step.kind).execute(context)
            if outcome.commit is not None:
                committing = True
                with transaction.atomic():
                    outcome.commit()
        except Exception as error:
            if isinstance(error, DatabaseError) and not committing:
                raise  # the transaction itself is broken; the next visit tries again
            self._apply_error(step, to_portal_error(error, str(self.run.pk), step.path, step.name))
        else:
            self._apply(step, outcome)

    def _apply(self, step: StepResult, outcome: StepOutcome) -> None:
        apply_outcome(step, outcome, self.visit.now + timedelta(seconds=self._seconds()))
        self.visit.changed[step.pk] = step
        if step.status in DONE_STEP_STATUSES:
            self.outputs[step.path] = step.output or {}
            self.live.pop(step.path, None)

    def _apply_error(self, step: StepResult, error: PortalError) -> None:
        step.status, step.ended_at = StepStatus.FAILED, self.visit.now + timedelta(seconds=self._seconds())
        step.error, step.detail = error_to_json(error, step=step.path), error.message[:DETAIL_CHARS]
        step.wait, step.signal = None, None
        self.visit.changed[step.pk] = step
        self.live.pop(step.path, None)
        policy = self.policies.get(step.path)
        decision = policy.decide(error, step.attempt) if policy is not None else None
        if decision is None:
            self.outputs[step.path] = {ERROR_KEY: step.error}
            self.visit.lines.append(
                ("warning", f"{step.name}: {error.message}", {"code": error.code, "step": step.path})
            )
            return
        step.latest = False
        again = repeat_step(step, self.visit.now + timedelta(seconds=decision.delay_s))
        self.visit.add_step(again)
        self.live[again.path] = again
        text = f"{step.name}: {error.message} Attempt {again.attempt} follows in {decision.delay_s:.1f} s."
        self.visit.lines.append(("warning", text, {"code": error.code}))

    # -- parked steps --------------------------------------------------------------------------------------------

    def _wake_parked(self) -> bool:
        """Outcomes of what has stopped waiting; whether there were any."""
        parked = [
            step for step in self.live.values() if step.status == StepStatus.PARKED and not is_waiting_for_circuit(step)
        ]
        if not parked:
            return False
        woken = False
        self.policies = {spec.path: spec.retry for spec in self.program.steer(self.visit.facts, self.outputs).specs}
        for step in parked:
            try:
                outcome = step_types.get(step.kind).wake(self._parked(step))
            except PortalError as error:
                self._apply_error(step, error)
                woken = True
                continue
            if outcome is not None:
                woken = True
                if outcome.commit is not None:
                    outcome.commit()
                self._apply(step, outcome)
        return woken

    def _parked(self, step: StepResult) -> ParkedStep:
        return parked_step(self.visit.facts, step, self.outputs, self.visit.now)

    # -- ends ----------------------------------------------------------------------------------------------------

    def _cancel_unplanned(self, decision: Steering) -> None:
        planned = {spec.path for spec in decision.specs}
        for path in [path for path in self.live if path not in planned]:
            cancel_step(self.visit, self.live.pop(path), self.outputs)

    def _end(self, decision: Steering) -> bool:
        """End the run; False when there is something to undo first."""
        if self.run.compensation is not None:
            end_undoing(self.visit, decision)
            return True
        if decision.ended:
            self.run.result = dict(decision.result or {})
            self.visit.end(RunStatus.SUCCEEDED, events.RUN_COMPLETED)
            self.visit.lines.append(("info", "Run succeeded.", {}))
            return True
        error = {**(decision.error or {}), "failed": list(decision.failed)}
        if begin_undoing(self.visit, RunStatus.FAILED, error):
            return False
        self.visit.fail(error)
        return True


def cancel_step(visit: Visit, step: StepResult, outputs: Outputs) -> None:
    """Take a step that has not ended out of the run; a worker that executes it is fenced off."""
    if step.status == StepStatus.PARKED and not is_waiting_for_circuit(step):
        step_types.get(step.kind).drop(parked_step(visit.facts, step, outputs, visit.now))
    step.status, step.ended_at = StepStatus.CANCELLED, visit.now
    step.lease_epoch += 1
    step.lease_expires_at, step.wait = None, None
    visit.changed[step.pk] = step


def parked_step(facts: Any, step: StepResult, outputs: Outputs, now: Any) -> ParkedStep:
    """A parked step as its type sees it."""
    wait = step.wait or {}
    return ParkedStep(
        run=facts,
        step_id=step.pk,
        path=step.path,
        config=step.config,
        wait=wait.get("facts", {}),
        signal=step.signal,
        due=bool(wait.get("timed")) and step.due_at <= now,
        parked_at=step.started_at,
        outputs=outputs,
    )


def apply_outcome(step: StepResult, outcome: StepOutcome, at: Any) -> None:
    """Write an outcome into a step: done, or parked."""
    step.lease_expires_at = None
    step.detail = outcome.detail[:DETAIL_CHARS]
    step.signal = None
    if outcome.wait is not None:
        step.status = StepStatus.PARKED
        timed = outcome.wait.until is not None
        step.wait = {"kind": outcome.wait.kind, "facts": dict(outcome.wait.facts), "timed": timed}
        if outcome.wait.until is not None:
            step.due_at = outcome.wait.until
        step.rung_at = None
        return
    step.wait = None
    step.status = StepStatus.SKIPPED if outcome.skipped else StepStatus.SUCCEEDED
    step.output = dict(outcome.output)
    step.ended_at = at


def repeat_step(step: StepResult, due_at: Any) -> StepResult:
    """The next attempt at a step, not saved."""
    return StepResult(
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
        status=StepStatus.READY,
        due_at=due_at,
    )

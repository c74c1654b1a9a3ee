"""`advance`: reads a run's truth under its row lock and, in the same transaction, schedules what follows.

Nothing else moves a run or creates a step. It may be called by anyone, any number of times, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.engine import events
from apps.engine.choices import DONE_STEP_STATUSES, ENDED_RUN_STATUSES, RunKind, RunStatus, StepStatus
from apps.engine.contracts import RunFacts, StepSpec, StepStats, canonical_hash
from apps.engine.exceptions import DefinitionMismatch, RunCancelled, RunNotFound, StepPoisoned
from apps.engine.models import MOVING_FIELDS, STEP_FIELDS, Run, StepResult
from apps.engine.registries import programs, step_types
from apps.engine.services.admission import (
    Demand,
    find_busy_connections,
    find_reason_to_wait,
    lock_demand,
    ring_waiting_runs,
)
from apps.engine.services.circuits import ready_after_circuit
from apps.engine.services.doorbell import ring_run, ring_step
from apps.engine.services.journal import error_to_json, hint_run, note_missed_sla, publish_run, write_lines
from apps.engine.services.limits import engine_limits
from apps.engine.services.steering import CHILD_POLL, EVENT_RECHECK, LONG_POLL, Steerer, cancel_step, outputs_of
from apps.engine.services.undoing import begin_undoing, stop_undoing
from apps.tenancy.services.rows import Statements, select_rows

LOCK_RUN = "WHERE id = %s FOR UPDATE"
ALL_STEPS = "WHERE run_id = %s ORDER BY position, path, attempt"
DATABASE_TIME = ("db_now", "statement_timestamp()")


@dataclass(frozen=True)
class ClaimedStep:
    """A step that the caller now owns until its lease ends.

    Attributes:
        step: the row as claimed.
        run: facts of its run.
        outputs: outputs by path of succeeded steps.
        lease_until: end of the lease, by the database's clock.
        careful: a worker may have died of a step of this run; each is claimed on its own for the rest of the visit.
    """

    step: StepResult
    run: RunFacts
    outputs: Mapping[str, Mapping[str, Any]]
    lease_until: datetime
    careful: bool = False


def lock_run(run_id: UUID) -> Run:
    """The run under its row lock; `db_now` on it is the database's time. The lock is lost by who falls silent with it.

    Raises:
        RunNotFound: there is none in this tenant.
    """
    # A worker that falls silent inside its transaction would keep the lock; the database ends its session then.
    idle_ms = int(engine_limits().lock_idle_s * 1000)
    idle_limit = ("idle_limit", f"set_config('idle_in_transaction_session_timeout', '{idle_ms}ms', true)")
    found = select_rows(Run, LOCK_RUN, [run_id], extra=(DATABASE_TIME, idle_limit))
    if not found:
        raise RunNotFound(value=str(run_id))
    return found[0]


def to_facts(run: Run, environment: str = "") -> RunFacts:
    """The run as programs and steps see it."""
    return RunFacts(
        id=run.pk,
        flow_id=run.flow_id,
        flow_name=run.flow_name,
        flow_version_id=run.flow_version_id,
        environment=environment,
        environment_id=run.environment_id,
        kind=run.kind,
        mode=run.mode,
        definition=run.definition,
        parameters=run.parameters,
        since=run.since or None,
        resumed=run.resumed,
        definition_hash=run.definition_hash,
        now=getattr(run, "db_now", None),
        compensation=run.compensation,
        origin=run.origin,
        again=tuple(run.again),
    )


def advance(
    run_id: UUID, *, claim_as: str | None = None, prefer: UUID | None = None, quick_only: bool = False
) -> ClaimedStep | None:
    """Bring a run forward.

    Args:
        run_id: the run.
        claim_as: name of a worker that takes one ready step at once; None only schedules.
        prefer: the step that the doorbell named; another ready one is taken when it is gone.
        quick_only: claim only what is quick; the rest is rung for.

    Returns:
        The claimed step, if there was one to claim.
    """
    with transaction.atomic():
        run = lock_run(run_id)
        return advance_locked(run, claim_as=claim_as, prefer=prefer, quick_only=quick_only)


def begin(run: Run, demand: Demand, into: Statements, inherited: Sequence[StepResult] = ()) -> None:
    """Admit and plan a new run under the admission lock, and write its row with all that belongs to it."""
    run.db_now = demand.now
    for step in inherited:
        step.due_at = demand.now
    visit = Visit(run, run.db_now, demand=demand, into=into, inherited=inherited)
    visit.settle()
    visit.schedule()
    visit.save()


def advance_locked(
    run: Run,
    *,
    claim_as: str | None = None,
    prefer: UUID | None = None,
    quick_only: bool = False,
    careful: bool = False,
) -> ClaimedStep | None:
    """As `advance`, for a caller that holds the run's lock in its own transaction."""
    if run.status in ENDED_RUN_STATUSES:
        return None
    visit = Visit(run, run.db_now, claim_as, careful=careful)
    try:
        visit.settle()
    except DefinitionMismatch as error:
        visit.fail(error_to_json(error))
    claimed = visit.claim(claim_as, prefer, quick_only=quick_only) if claim_as else None
    visit.schedule()
    visit.save()
    return claimed


class Visit:
    """One look at one run, under its lock."""

    def __init__(
        self,
        run: Run,
        now: datetime,
        owner: str | None = None,
        *,
        careful: bool = False,
        demand: Demand | None = None,
        into: Statements | None = None,
        inherited: Sequence[StepResult] = (),
    ) -> None:
        self.run = run
        self.now = now
        self.owner = owner
        self.careful = careful
        self.facts = to_facts(run)
        self.limits = engine_limits()
        self.before = run.status
        self.writes = Statements() if into is None else into
        self.demand = demand
        self.is_new = demand is not None
        attempts = list(inherited) if self.is_new else select_rows(StepResult, ALL_STEPS, [run.pk])
        self.steps = [step for step in attempts if step.latest]
        self.attempts = {step.path: step.attempt for step in attempts}
        self.by_path = {step.path: step for step in self.steps}
        self.changed: dict[UUID, StepResult] = {}
        self.fresh: list[StepResult] = list(inherited)
        self.busy: set[UUID] | None = None
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    # -- state ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Apply every transition that the present truth allows."""
        self._expire_leases()
        for step in ready_after_circuit(self.steps, self.now):
            self.changed[step.pk] = step
        if self.run.status == RunStatus.CANCELLING:
            self._settle_cancelling()
            return
        if not self.is_new and canonical_hash(self.run.definition) != self.run.definition_hash:
            raise DefinitionMismatch(f"The stored definition of run {self.run.pk} was changed after it started.")
        if programs.get(self.run.kind).steers:
            Steerer(self, self.owner).settle()
            return
        if self.run.status == RunStatus.WAITING:
            if self._all_parked():
                return
            self.run.status = RunStatus.QUEUED
        if self.run.status == RunStatus.QUEUED and not self.admit():
            return
        failed = [step for step in self.steps if step.status == StepStatus.FAILED]
        if failed:
            # Running siblings finish: their work is kept for a resume. Nothing new starts.
            if not self._running():
                self.fail(failed[0].error or {})
            return
        self._grow_plan()
        self._ready_steps()
        if all(step.status in DONE_STEP_STATUSES for step in self.steps):
            self.end(RunStatus.SUCCEEDED, events.RUN_COMPLETED)
            self.lines.append(("info", f"Run succeeded: {self.run.rows_written:,} rows written.", {}))
        elif self._all_parked():
            self.run.status = RunStatus.WAITING  # it holds no slot of the tenant's meanwhile

    def _all_parked(self) -> bool:
        """Whether nothing works or could work, and something is parked."""
        live = {step.status for step in self.steps} & {StepStatus.PARKED, StepStatus.READY, StepStatus.RUNNING}
        return live == {StepStatus.PARKED}

    def see_run(self) -> None:
        """The run's facts have changed."""
        self.facts = to_facts(self.run)

    def fail(self, error: dict[str, Any]) -> None:
        """End the run as failed."""
        self.run.error = error
        self.end(RunStatus.FAILED, events.RUN_FAILED)
        facts = {name: error[name] for name in ("code", "remedy", "step") if error.get(name)}
        self.lines.append(("error", error.get("message", "The run failed."), facts))

    def end(self, status: RunStatus, event: str) -> None:
        self.run.status = status
        self.run.ended_at = self.now
        if self.run.started_at is None:
            self.run.started_at = self.now
        self._sum_progress()
        seconds = (self.run.ended_at - self.run.started_at).total_seconds()
        self.run.rows_per_s = round(self.run.rows_read / seconds, 1) if seconds > 0 else 0.0
        note_missed_sla(self.run, self.now)
        programs.get(self.run.kind).ended(to_facts(self.run), succeeded=status == RunStatus.SUCCEEDED)
        publish_run(self.run, event, into=self.writes)
        ring_waiting_runs(self.run)
        if self.run.parent_id is not None:
            ring_run(self.run.parent_id)

    def _sum_progress(self) -> None:
        stats = [StepStats.from_json(step.stats) for step in self.steps]
        for name in ("rows_read", "rows_accepted", "rows_quarantined", "rows_filtered", "rows_written", "bytes"):
            setattr(self.run, name, sum(getattr(item, name) for item in stats))
        estimates = [item.estimate_rows for item in stats if item.estimate_rows is not None]
        if estimates:
            self.run.estimate_rows = sum(estimates)
        for step in self.steps:
            if step.output and step.output.get("write_result"):
                self.run.write_result = step.output["write_result"]

    def admit(self) -> bool:
        reason = find_reason_to_wait(self.run, self.demand or lock_demand(self.run))
        if reason:
            self.run.queue_reason = reason
            return False
        self.run.queue_reason = ""
        self.run.status = RunStatus.RUNNING
        self.run.started_at = self.run.started_at or self.now
        self.lines.append(("info", "Run started.", {"mode": self.run.mode, "version": self.run.version_number}))
        publish_run(self.run, events.RUN_STARTED, into=self.writes)
        return True

    def _settle_cancelling(self) -> None:
        for step in self.steps:
            if step.status == StepStatus.PARKED:
                cancel_step(self, step, outputs_of(self.steps))
            elif step.status in (StepStatus.WAITING, StepStatus.READY):
                step.status = StepStatus.CANCELLED
                step.ended_at = self.now
                self.changed[step.pk] = step
        if not self._running():
            if self.run.compensation is not None:
                stop_undoing(self)
                return
            if begin_undoing(self, RunStatus.CANCELLED, error_to_json(RunCancelled())):
                Steerer(self, self.owner).settle()
                return
            self.end(RunStatus.CANCELLED, events.RUN_CANCELLED)
            if self.run.kind == RunKind.PROCESS:
                self.lines.append(("warning", "Run cancelled.", {}))
                return
            self.lines.append(("warning", "Run cancelled. The target was left as it was before the run.", {}))
            if any(step.kind == "load.finish" and step.status in DONE_STEP_STATUSES for step in self.steps):
                self.lines[-1] = ("warning", "Run cancelled after its rows had reached the target.", {})

    def _expire_leases(self) -> None:
        for step in self._running():
            if step.lease_expires_at is not None and step.lease_expires_at > self.now:
                continue
            # Cancelling: nobody will report, so the silence is the answer.
            if self.run.status == RunStatus.CANCELLING:
                step.status = StepStatus.CANCELLED
                step.ended_at = self.now
            elif step.deliveries >= self.limits.max_deliveries:
                error = StepPoisoned(
                    f"Step {step.path} was given to {step.deliveries} workers and none of them survived it."
                )
                step.status, step.error, step.ended_at = (
                    StepStatus.FAILED,
                    error_to_json(error, step=step.path),
                    self.now,
                )
            else:
                step.status, step.rung_at, step.due_at = StepStatus.READY, None, self.now
                self.lines.append(
                    ("warning", f"{step.name}: worker {step.lease_owner} went silent; the step starts anew.", {})
                )
            # Raising the number here already fences off the silent worker, before anybody else claims.
            step.lease_epoch += 1
            step.lease_expires_at = None
            self.changed[step.pk] = step

    def _running(self) -> list[StepResult]:
        return [step for step in self.steps if step.status == StepStatus.RUNNING]

    # -- plan ----------------------------------------------------------------------------------------------------

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Outputs of succeeded steps, by path."""
        return {step.path: step.output or {} for step in self.steps if step.status in DONE_STEP_STATUSES}

    def plan(self) -> list[StepSpec]:
        """The program's present plan."""
        return list(programs.get(self.run.kind).plan(to_facts(self.run), self.outputs()))

    def _grow_plan(self) -> None:
        specs = self.plan()
        self.specs = {spec.path: spec for spec in specs}
        fresh = []
        for place, spec in enumerate(specs):
            position = place if spec.position is None else spec.position
            known = self.by_path.get(spec.path)
            if known is None:
                fresh.append(_new_step(self.run, spec, position, self.attempts.get(spec.path, 0) + 1))
            elif (known.kind, known.name, known.definition_hash) != (spec.kind, spec.name, spec.definition_hash):
                raise DefinitionMismatch(
                    f"Step {spec.path} was stored as {known.name!r} with another definition than the flow has now.",
                    stored=known.definition_hash,
                    planned=spec.definition_hash,
                )
            elif known.position != position:
                known.position = position
                self.changed[known.pk] = known
        if fresh:
            self.fresh += fresh
            self.steps = sorted([*self.steps, *fresh], key=lambda step: (step.position, step.path))
            self.by_path = {step.path: step for step in self.steps}

    def add_specs(self, specs: Sequence[StepSpec]) -> list[StepResult]:
        """Rows for planned steps that have none yet, in the order in which they become known; known ones must match."""
        added = []
        for spec in specs:
            known = self.by_path.get(spec.path)
            if known is None:
                step = _new_step(self.run, spec, len(self.attempts), self.attempts.get(spec.path, 0) + 1)
                self.add_step(step)
                added.append(step)
            elif (known.kind, known.definition_hash) != (spec.kind, spec.definition_hash):
                raise DefinitionMismatch(
                    f"Step {spec.path} was stored as {known.name!r} with another definition than the flow has now.",
                    stored=known.definition_hash,
                    planned=spec.definition_hash,
                )
        return added

    def add_step(self, step: StepResult) -> None:
        """Take an unsaved step into the run, in place of an earlier attempt if there is one."""
        self.fresh.append(step)
        earlier = self.by_path.get(step.path)
        if earlier is not None:
            self.steps.remove(earlier)
        self.steps.append(step)
        self.by_path[step.path] = step
        self.attempts[step.path] = step.attempt

    def _ready_steps(self) -> None:
        done = {step.path for step in self.steps if step.status in DONE_STEP_STATUSES}
        for step in self.steps:
            spec = self.specs.get(step.path)
            if step.status == StepStatus.WAITING and spec is not None and set(spec.depends_on) <= done:
                step.status, step.due_at, step.rung_at = StepStatus.READY, self.now, None
                self.changed[step.pk] = step

    # -- work ----------------------------------------------------------------------------------------------------

    def _claimable(self) -> list[StepResult]:
        if self.run.status != RunStatus.RUNNING:
            return []
        ready = [step for step in self.steps if step.status == StepStatus.READY and step.due_at <= self.now]
        if self.busy is None:
            self.busy = find_busy_connections({id_ for step in ready for id_ in step.connections})
        busy = self.busy
        return [step for step in ready if not busy & set(step.connections)]

    def claim(self, owner: str, prefer: UUID | None, *, quick_only: bool = False) -> ClaimedStep | None:
        """Give one ready step to `owner` under a new fencing number."""
        candidates = sorted(self._claimable(), key=lambda step: step.pk != prefer)
        if quick_only:
            candidates = [step for step in candidates if step_types.get(step.kind).inline]
        if not candidates:
            return None
        step = candidates[0]
        step.status = StepStatus.RUNNING
        step.lease_epoch += 1
        step.lease_owner = owner
        step.lease_expires_at = self.now + timedelta(seconds=self.limits.lease_s)
        step.deliveries += 1
        step.started_at = step.started_at or self.now
        step.stats = {}
        self.changed[step.pk] = step
        self.busy = None  # the claim itself may have filled a connection
        self._write_steps()
        if step.connections:
            self.writes.send()  # so that it is counted when the next one asks
        steered = programs.get(self.run.kind).steers
        outputs = outputs_of(self.steps) if steered else self.outputs()
        return ClaimedStep(
            step=step,
            run=self.facts,
            outputs=outputs,
            lease_until=step.lease_expires_at,
            careful=self.careful,
        )

    def schedule(self) -> None:
        """Ring for ready steps, and set when the sweeper should look again."""
        if self.run.status in ENDED_RUN_STATUSES:
            self.run.wake_at = None
            return
        moments = [step.lease_expires_at for step in self._running() if step.lease_expires_at]
        grace = timedelta(seconds=self.limits.doorbell_grace_s)
        busy_retry = timedelta(seconds=self.limits.busy_retry_s)
        if self.run.status == RunStatus.QUEUED:
            moments.append(self.now + busy_retry)
        claimable = {step.pk for step in self._claimable()}
        if self.run.status == RunStatus.WAITING:
            moments.append(self.now + LONG_POLL)
        for step in self.steps:
            if step.status == StepStatus.PARKED:
                moments += self._look_after_parked(step)
            if step.status != StepStatus.READY:
                continue
            if step.due_at > self.now:
                moments.append(step.due_at)
                if step.rung_at is None:
                    ring_run(self.run.pk, delay_s=(step.due_at - self.now).total_seconds())
                    self._mark_rung(step)
            elif step.pk not in claimable:
                moments.append(self.now + busy_retry)
            elif step.rung_at is None or step.rung_at + grace <= self.now or step.rung_at < step.due_at:
                if step_types.get(step.kind).inline:
                    ring_run(self.run.pk)
                else:
                    ring_step(self.run.pk, step.pk)
                self._mark_rung(step)
                moments.append(self.now + grace)
            else:
                moments.append(step.rung_at + grace)
        self.run.wake_at = min(moments, default=self.now + grace)

    def _look_after_parked(self, step: StepResult) -> list[datetime]:
        wait = step.wait or {}
        if wait.get("kind") == "event" and step.rung_at is None:
            # An event may have been delivered while this wait was being committed: look at the log once more.
            ring_run(self.run.pk, delay_s=EVENT_RECHECK.total_seconds())
            self._mark_rung(step)
            return [self.now + EVENT_RECHECK]
        if not wait.get("timed"):
            return [self.now + CHILD_POLL] if wait.get("kind") == "run" else []
        if step.rung_at is None:
            ring_run(self.run.pk, delay_s=max(0.0, (step.due_at - self.now).total_seconds()))
            self._mark_rung(step)
        return [step.due_at]

    def _mark_rung(self, step: StepResult) -> None:
        step.rung_at = self.now
        self.changed[step.pk] = step

    def _write_steps(self) -> None:
        """Changed steps in one statement, new ones in another; a new step is written with its changes."""
        fresh = {step.pk for step in self.fresh}
        # Changed ones first, so that an attempt is closed before the next one is there.
        self.writes.update([step for step in self.changed.values() if step.pk not in fresh], STEP_FIELDS)
        self.writes.insert(self.fresh)
        self.fresh, self.changed = [], {}

    def save(self) -> None:
        """Write the run and its log lines; hint browsers when something shown has changed."""
        self._write_steps()
        if self.lines:
            write_lines(self.run, self.lines, into=self.writes)
        if self.is_new:
            self.writes.insert([self.run])
        else:
            self.writes.update([self.run], MOVING_FIELDS)
        self.writes.send()
        if self.lines or self.run.status != self.before:
            hint_run(self.run, urgent=self.run.status != self.before)


def _new_step(run: Run, spec: StepSpec, position: int, attempt: int) -> StepResult:
    return StepResult(
        run=run,
        path=spec.path,
        attempt=attempt,
        position=position,
        kind=spec.kind,
        name=spec.name,
        definition_hash=spec.definition_hash,
        config=dict(spec.config),
        connections=list(spec.connections),
        timeout_s=spec.timeout_s,
        due_at=run.db_now,
    )

"""What a restart from a step keeps of a run, and whether it is possible at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from apps.core.ids import uuid7
from apps.engine.choices import ACTIVE_RUN_STATUSES, DONE_STEP_STATUSES, CompensationStatus, RunKind, StepStatus
from apps.engine.contracts import Outputs, RunFacts
from apps.engine.exceptions import RestartNotPossible, RunAlreadyActive, RunNotControllable
from apps.engine.models import Effect, Run, StepResult
from apps.engine.registries import programs
from apps.engine.services.advancing import to_facts
from apps.engine.services.definitions import parse_process
from apps.engine.services.processes.keeping import is_kept
from apps.engine.services.processes.scopes import check_input, ensure_small
from apps.engine.services.processes.walking import END, UNDO, step_id_of
from apps.engine.services.steering import outputs_of
from apps.integrations.process_contracts import ProcessDefinition

ANCESTORS_MOST = 100


@dataclass(frozen=True)
class RestartRequest:
    """Where a run is to be done again from, and what is different this time.

    Attributes:
        run_id: the run; it has ended.
        path: of the step that is done again first.
        parameters: input in place of the old run's; None keeps it.
        outputs: {path: output} in place of what kept steps left.
        again: paths whose effects are wanted once more although nothing has changed.
    """

    run_id: UUID
    path: str
    parameters: Mapping[str, Any] | None = None
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    again: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestartPlan:
    """The new run as it would begin.

    Attributes:
        facts: of the new run.
        definition: the pinned process.
        steps: rows of the old run that are kept, not saved, with their edited outputs.
        outputs: what they left, by path.
        redone: how many steps of the old run are not kept.
    """

    facts: RunFacts
    definition: ProcessDefinition
    steps: Sequence[StepResult]
    outputs: Outputs
    redone: int


def plan_restart(old: Run, request: RestartRequest) -> RestartPlan:
    """What would be kept and what done again.

    Raises:
        RunNotControllable: the run is active, or no process.
        RestartNotPossible: there is no such step, what it builds on was undone, or an approval would be reused.
        ProcessInputInvalid, OutputTooLarge: the edited input or output.
    """
    if old.kind != RunKind.PROCESS:
        raise RunNotControllable(
            "Only a process is restarted from a step.", value=old.kind, remedy="Resume the load, or retry it."
        )
    if old.status in ACTIVE_RUN_STATUSES:
        raise RunNotControllable("The run is still active.", value=old.status, remedy="Cancel it first.")
    if old.compensation is not None and old.compensation["status"] != CompensationStatus.DONE:
        raise RestartNotPossible("The run is not wholly undone.", remedy="Retry its compensation first.")
    facts = to_facts(old)
    definition = parse_process(facts)
    rows = list(StepResult.objects.filter(run=old, latest=True).order_by("position", "path"))
    if request.path.startswith(UNDO) or request.path not in {row.path for row in rows}:
        raise RestartNotPossible(f"The run has no step {request.path!r}.", field="path", value=request.path)
    failed = set((old.error or {}).get("failed", ()))
    kept = [
        row
        for row in rows
        if (row.status in DONE_STEP_STATUSES or (row.status == StepStatus.FAILED and row.path not in failed))
        and is_kept(definition, request.path, row.path)
    ]
    _ensure_standing(old, kept)
    parameters = dict(old.parameters)
    if request.parameters is not None:
        parameters = check_input(definition, request.parameters)
    _edit_outputs(kept, request.outputs, definition)
    if parameters != old.parameters or request.outputs:
        _ensure_nothing_approved(kept)
    facts = replace(
        facts,
        id=uuid7(),
        parameters=parameters,
        resumed=0,
        compensation=None,
        origin=old.origin or old.pk,
        again=request.again,
    )
    outputs = outputs_of(kept)
    decision = programs.get(old.kind).steer(facts, Outputs(outputs))
    if request.path not in {spec.path for spec in decision.specs}:
        raise RestartNotPossible(
            f"A run that keeps what comes before {request.path!r} would not come to it.",
            field="path",
            value=request.path,
            remedy="Choose an earlier step.",
        )
    return RestartPlan(facts, definition, kept, outputs, len(rows) - len(kept))


def ensure_chain_idle(run: Run) -> None:
    """Let one run of a chain of restarts be active at a time, until the caller's transaction ends.

    Two that work side by side could both find that an effect has not happened yet.

    Raises:
        RunAlreadyActive: another one is.
    """
    origin = run.origin or run.pk
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"engine.restart:{origin}"])
    chain = Run.objects.filter(Q(pk=origin) | Q(origin=origin), status__in=ACTIVE_RUN_STATUSES).exclude(pk=run.pk)
    active = chain.values_list("pk", flat=True).first()
    if active is not None:
        raise RunAlreadyActive("Another restart of this run is active.", run_id=str(active))


def inherit(plan: RestartPlan) -> list[StepResult]:
    """The kept steps as rows of the new run: recorded, and not executed."""
    return [
        StepResult(
            run_id=plan.facts.id,
            path=row.path,
            position=position,
            kind=row.kind,
            name=row.name,
            definition_hash=row.definition_hash,
            config=row.config,
            connections=row.connections,
            timeout_s=row.timeout_s,
            status=row.status,
            output=row.output,
            error=row.error,
            detail=row.detail,
            inherited=True,
        )
        for position, row in enumerate(plan.steps)
    ]


def _ensure_standing(old: Run, kept: Sequence[StepResult]) -> None:
    """What is kept must still be true in the other systems: nothing of it was taken back, by this run or a restart."""
    undone = [] if old.compensation is None else list(old.compensation["steps"])
    paths = {row.path for row in kept}
    for row in kept:
        whole = row.path.removesuffix(END)
        if whole in undone or any(row.path.startswith((f"{path}[", f"{path}:")) for path in undone):
            raise _undone(whole)
    line = _line_of(old)
    nearest: dict[str, Effect] = {}
    for effect in Effect.objects.filter(run_id__in=line, path__in=paths).order_by("attempt"):
        known = nearest.get(effect.path)
        if known is None or line.index(effect.run_id) <= line.index(known.run_id):
            nearest[effect.path] = effect
    for row in kept:
        if row.path in nearest and nearest[row.path].undone_at is not None:
            raise _undone(row.path)


def _line_of(run: Run) -> list[UUID]:
    """The run and those it was restarted from, the nearest first."""
    line, current = [run.pk], run.restarted_from_id
    while current is not None and len(line) < ANCESTORS_MOST:
        line.append(current)
        current = Run.objects.filter(pk=current).values_list("restarted_from_id", flat=True).first()
    return line


def _undone(path: str) -> RestartNotPossible:
    return RestartNotPossible(
        f"{path} was undone, so nothing can build on it.",
        field="path",
        value=path,
        remedy=f"Restart from {path}, or from a step before it.",
    )


def _edit_outputs(
    kept: Sequence[StepResult], outputs: Mapping[str, Mapping[str, Any]], definition: ProcessDefinition
) -> None:
    by_path = {row.path: row for row in kept}
    for path, output in outputs.items():
        row, step = by_path.get(path), definition.by_id.get(step_id_of(path))
        if row is None or step is None or step.bodies or row.status == StepStatus.FAILED:
            raise RestartNotPossible(
                f"The output of {path!r} cannot be edited.",
                field=f"outputs.{path}",
                value=path,
                remedy="Edit outputs of steps that are kept, have succeeded and have no steps inside.",
            )
        ensure_small(output, len(str(output)))
        row.output = dict(output)


def _ensure_nothing_approved(kept: Sequence[StepResult]) -> None:
    asked = next((row for row in kept if row.kind == "process.task" and row.status == StepStatus.SUCCEEDED), None)
    if asked is not None:
        raise RestartNotPossible(
            f"People answered {asked.name} for the old input, so it does not count for another one.",
            field="path",
            value=asked.path,
            remedy=f"Restart from {asked.path}, or from a step before it, or leave the input as it is.",
        )

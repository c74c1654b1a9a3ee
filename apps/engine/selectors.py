"""Reads of runs, their stages and logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from apps.access.selectors import list_members
from apps.engine.choices import RunStatus, StepStatus, TaskStatus
from apps.engine.contracts import RunSummary
from apps.engine.exceptions import RunNotFound, TaskNotFound, TriggerNotFound
from apps.engine.models import Effect, Firing, HumanTask, LoadState, Run, RunLog, Sla, StepResult, TaskAnswer, Trigger
from apps.integrations.selectors import list_environments

HEAVY_FIELDS = ("definition", "parameters")


def list_runs() -> QuerySet[Run]:
    """Runs with what a list shows; heavy columns are left in the table."""
    return Run.objects.select_related("environment").defer(*HEAVY_FIELDS)


def get_run(run_id: UUID) -> Run:
    """One run.

    Raises:
        RunNotFound: there is none in this tenant.
    """
    run = list_runs().filter(pk=run_id).first()
    if run is None:
        raise RunNotFound(value=str(run_id))
    return run


def share_of(run: Run) -> float | None:
    """How far a run is, 0 to 1; None when nobody knows how many rows there are. Only a finished run is at 1."""
    if run.status == RunStatus.SUCCEEDED:
        return 1.0
    return min(0.99, round(run.rows_read / run.estimate_rows, 4)) if run.estimate_rows else None


def list_stages(run_id: UUID) -> list[StepResult]:
    """The latest attempt of every step, in order of display."""
    steps = StepResult.objects.filter(run_id=run_id, latest=True).order_by("position", "path")
    return list(steps.defer("config", "output"))


def list_attempts(run_id: UUID) -> QuerySet[StepResult]:
    """Every attempt of every step."""
    return StepResult.objects.filter(run_id=run_id).order_by("position", "path", "attempt")


def get_attempt(run_id: UUID, step_id: UUID) -> StepResult:
    """One attempt at one step of a run.

    Raises:
        RunNotFound: there is no such run or attempt in this tenant.
    """
    step = StepResult.objects.filter(run_id=run_id, pk=step_id).first()
    if step is None:
        raise RunNotFound("There is no such step.", value=str(step_id))
    return step


def list_effects(run_id: UUID) -> QuerySet[Effect]:
    """What the steps of a run have done to other systems."""
    return Effect.objects.filter(run_id=run_id)


def list_log(run_id: UUID, *, after: int = 0, limit: int = 200) -> list[RunLog]:
    """Log lines with `seq` above `after`, in order."""
    return list(RunLog.objects.filter(run_id=run_id, seq__gt=after).order_by("seq")[:limit])


def find_load_state(flow_id: UUID, environment_id: UUID, entity: str) -> LoadState | None:
    """How far an entity was loaded, or None before the first load."""
    return LoadState.objects.filter(flow_id=flow_id, environment_id=environment_id, entity=entity).first()


def last_runs(flow_ids: Sequence[UUID]) -> dict[UUID, RunSummary]:
    """The newest run of each flow, in one query."""
    newest = Run.objects.filter(flow_id__in=flow_ids).order_by("flow_id", "-id").distinct("flow_id")
    rows = newest.values_list("flow_id", "id", "status", "environment__slug", "created_at", "ended_at")
    return {row[0]: RunSummary(*row[1:]) for row in rows}


def running_without_rows(run_id: UUID, kind: str) -> bool:
    """Whether a running step of that kind has not reported a row yet (it may still be joining a snapshot)."""
    steps = StepResult.objects.filter(run_id=run_id, kind=kind, latest=True, status=StepStatus.RUNNING)
    return any(not stats for stats in steps.values_list("stats", flat=True))


def get_environment_slug(environment_id: UUID) -> str:
    """Short name of an environment; it exists, because a run refers to it."""
    return next(place.slug for place in list_environments() if place.id == environment_id)


def list_tasks() -> QuerySet[HumanTask]:
    """Tasks for people with their flow, claimant and number of answers."""
    tasks: QuerySet[HumanTask] = HumanTask.objects.select_related("run", "claimed_by").defer(
        *(f"run__{name}" for name in HEAVY_FIELDS)
    )
    return tasks.annotate(answered=Count("answers"))


def get_task(task_id: UUID) -> HumanTask:
    """One task, as in `list_tasks`.

    Raises:
        TaskNotFound: there is none in this tenant.
    """
    task = list_tasks().filter(pk=task_id).first()
    if task is None:
        raise TaskNotFound(value=str(task_id))
    return task


def list_answerers() -> QuerySet[Any]:
    """Members who may answer tasks."""
    return list_members().filter(
        pk__in=list_members().filter(is_active=True, roles__permissions__contains=["task:answer"]).values("pk")
    )


def is_candidate(task: HumanTask, person_id: UUID) -> bool:
    """Whether the task is among a person's: named or by a role held now, not delegated, not barred."""
    if person_id in task.away or person_id in task.barred:
        return False
    if person_id in task.people:
        return True
    return bool(task.role) and list_members().filter(pk=person_id, roles__slug=task.role).exists()


def tasks_of(tasks: QuerySet[HumanTask], person_id: UUID) -> QuerySet[HumanTask]:
    """Those of the tasks that wait for a person: theirs, not answered by them, not taken by somebody else."""
    roles = list(list_members().filter(pk=person_id, roles__isnull=False).values_list("roles__slug", flat=True))
    theirs = tasks.filter(Q(people__contains=[person_id]) | Q(role__in=roles))
    theirs = theirs.filter(Q(claimed_by__isnull=True) | Q(claimed_by_id=person_id), status=TaskStatus.OPEN)
    answered = TaskAnswer.objects.filter(task=OuterRef("pk"), person_id=person_id)
    return theirs.exclude(away__contains=[person_id]).exclude(barred__contains=[person_id]).exclude(Exists(answered))


def list_slas(flow_id: UUID) -> QuerySet[Sla]:
    """When runs of a flow must be finished, by environment."""
    return Sla.objects.filter(flow_id=flow_id).select_related("environment")


def list_triggers() -> QuerySet[Trigger]:
    """Triggers with what a list shows."""
    return Trigger.objects.select_related("flow", "environment", "poll_state").defer("flow__draft")


def get_trigger(trigger_id: UUID) -> Trigger:
    """One trigger.

    Raises:
        TriggerNotFound: there is none in this tenant.
    """
    trigger = list_triggers().filter(pk=trigger_id).first()
    if trigger is None:
        raise TriggerNotFound(value=str(trigger_id))
    return trigger


def list_firings(trigger_id: UUID) -> QuerySet[Firing]:
    """Firings of a trigger."""
    return Firing.objects.filter(trigger_id=trigger_id)

"""Reads of runs, their stages and logs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import QuerySet

from apps.engine.choices import RunStatus, StepStatus
from apps.engine.contracts import RunSummary
from apps.engine.exceptions import RunNotFound
from apps.engine.models import LoadState, Run, RunLog, StepResult
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

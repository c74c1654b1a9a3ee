"""Limits per tenant, flow and connection. Counts are taken under one advisory lock per tenant, never skip-locked."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from apps.engine.choices import RunKind, RunStatus, StepStatus
from apps.engine.models import Run, StepResult
from apps.engine.services.doorbell import ring_run
from apps.engine.services.limits import engine_limits

RUNG_AT_ONCE = 3
HOLDING_SLOTS = (RunStatus.RUNNING, RunStatus.CANCELLING)


def lock_admission() -> None:
    """Serialise admission in this tenant until the transaction ends (two visitors may not spend the same slot)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('engine.admission:' || current_schema(), 0))")


def find_reason_to_wait(run: Run) -> str:
    """Why a queued run may not start now, as a sentence; empty when it may."""
    limits = engine_limits()
    lock_admission()
    holding = Run.objects.filter(status__in=HOLDING_SLOTS).exclude(pk=run.pk)
    most, most_of_flow = limits.tenant_runs, limits.flow_runs
    if run.kind == RunKind.PROCESS:
        holding = holding.filter(kind=RunKind.PROCESS)
        most, most_of_flow = limits.tenant_processes, run.concurrency or limits.flow_processes
    else:
        holding = holding.exclude(kind=RunKind.PROCESS)
    counts = list(holding.values_list("flow_id", "environment_id"))
    if len(counts) >= most:
        return f"{len(counts)} runs of this organisation are active; at most {most} may be."
    same = sum(1 for flow_id, env_id in counts if (flow_id, env_id) == (run.flow_id, run.environment_id))
    if same >= most_of_flow:
        return f"{same} other run(s) of this flow are active in this environment; at most {most_of_flow} may be."
    return ""


def find_busy_connections(ids: set[UUID]) -> set[UUID]:
    """Those of the connections on which no further step may start."""
    if not ids:
        return set()
    lock_admission()
    limit = engine_limits().connection_steps
    counts = dict.fromkeys(ids, 0)
    running = StepResult.objects.filter(
        status=StepStatus.RUNNING, lease_expires_at__gt=Now(), connections__overlap=list(ids)
    )
    for used in running.values_list("connections", flat=True):
        for id_ in set(used) & ids:
            counts[id_] += 1
    return {id_ for id_, count in counts.items() if count >= limit}


def ring_waiting_runs(ended: Run) -> None:
    """A slot became free: ring the runs that wait longest, so that they need not wait for the sweeper."""
    waiting = Run.objects.filter(status=RunStatus.QUEUED).exclude(pk=ended.pk).order_by("id")
    for run_id in waiting.values_list("pk", flat=True)[:RUNG_AT_ONCE]:
        ring_run(run_id)


def ring_runs_waiting_for(connections: list[UUID], *, but: UUID) -> None:
    """A step let go of connections: ring other runs whose ready steps were held back by the limit."""
    if not connections:
        return
    waiting = (
        StepResult.objects.filter(
            status=StepStatus.READY,
            rung_at__isnull=True,
            connections__overlap=connections,
            run__status=RunStatus.RUNNING,
        )
        .exclude(run_id=but)
        .values_list("run_id", flat=True)
        .distinct()
    )
    for run_id in waiting[:RUNG_AT_ONCE]:
        ring_run(run_id)

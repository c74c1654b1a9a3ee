"""Limits per tenant, flow and connection. Counts are taken under one advisory lock per tenant, never skip-locked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from apps.engine.choices import RunKind, RunStatus, StepStatus
from apps.engine.models import Run, StepResult
from apps.engine.services.doorbell import ring_run
from apps.engine.services.limits import engine_limits
from apps.tenancy.models import check_tenant_entered

RUNG_AT_ONCE = 3
HOLDING_SLOTS = (RunStatus.RUNNING, RunStatus.CANCELLING)
_LONGEST_WAITING = "SELECT id FROM engine_run WHERE status = %s AND id <> %s ORDER BY id LIMIT %s"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('engine.admission:' || current_schema(), 0))"


def lock_admission() -> None:
    """Serialise admission in this tenant until the transaction ends (two visitors may not spend the same slot)."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)


@dataclass(frozen=True)
class Demand:
    """What there is of a tenant's runs of one sort, counted under the admission lock.

    Attributes:
        holding: runs that hold a slot.
        same: of them, those of the same flow and environment.
        queued: runs of any sort that wait for a slot.
        now: the database's time.
    """

    holding: int
    same: int
    queued: int
    now: datetime


# The counts are a statement of their own: its snapshot must be taken when the lock is held.
_COUNT = """
    SELECT count(*) FILTER (WHERE holds), count(*) FILTER (WHERE holds AND flow_id = %s AND environment_id = %s),
           count(*) FILTER (WHERE status = %s), statement_timestamp()
    FROM (
        SELECT flow_id, environment_id, status, status = ANY(%s) AND (kind = %s) = %s AND id <> %s AS holds
        FROM engine_run WHERE status = ANY(%s)
    ) AS active
"""


def lock_demand(run: Run) -> Demand:
    """Lock admission until the transaction ends, and count, without the run itself."""
    check_tenant_entered(Run)
    holding = [str(status) for status in HOLDING_SLOTS]
    process = str(RunKind.PROCESS)
    queued = RunStatus.QUEUED.value
    parameters: list[Any] = [run.flow_id, run.environment_id, queued, holding, process, run.kind == process, run.pk]
    with connection.cursor() as cursor:
        cursor.execute(f"{_LOCK};\n{_COUNT}", [*parameters, [*holding, queued]])
        cursor.nextset()
        row = cursor.fetchone()
    return Demand(*row)


def find_reason_to_wait(run: Run, demand: Demand) -> str:
    """Why a queued run may not start now, as a sentence; empty when it may."""
    limits = engine_limits()
    most, most_of_flow = limits.tenant_runs, limits.flow_runs
    if run.kind == RunKind.PROCESS:
        most, most_of_flow = limits.tenant_processes, run.concurrency or limits.flow_processes
    if demand.holding >= most:
        return f"{demand.holding} runs of this organisation are active; at most {most} may be."
    if demand.same >= most_of_flow:
        return f"{demand.same} other run(s) of this flow are active in this environment; at most {most_of_flow} may be."
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
    with connection.cursor() as cursor:
        cursor.execute(_LONGEST_WAITING, [RunStatus.QUEUED.value, ended.pk, RUNG_AT_ONCE])
        waiting = cursor.fetchall()
    for (run_id,) in waiting:
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

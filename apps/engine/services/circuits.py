"""Steps whose system is left alone: parked until its circuit breaker lets a probe through, or closes.

They hold no worker, and what they did not call costs no attempt. Loads and processes share this; it is below both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from apps.connectors.exceptions import CircuitOpen
from apps.engine.choices import ACTIVE_RUN_STATUSES, StepStatus
from apps.engine.models import StepResult
from apps.engine.services.journal import Line

CIRCUIT = "circuit"


def park_until_called(step: StepResult, error: CircuitOpen) -> list[Line]:
    """Park a claimed step until the moment that the breaker named; the same attempt goes on then.

    Returns:
        The line for the run's log; none while the step goes on waiting.
    """
    waited = is_waiting_for_circuit(step)
    step.status, step.due_at, step.ended_at = StepStatus.PARKED, error.until, None
    step.wait = {"kind": CIRCUIT, "facts": {"connection": str(error.connection_id)}, "timed": True}
    step.rung_at = None
    step.deliveries = max(0, step.deliveries - 1)
    return [] if waited else [("warning", f"{step.name}: {error.message}", {"code": error.code})]


def is_waiting_for_circuit(step: StepResult) -> bool:
    """Whether a step was parked for its system and has had no outcome since."""
    return (step.wait or {}).get("kind") == CIRCUIT


def ready_after_circuit(steps: Iterable[StepResult], now: datetime) -> list[StepResult]:
    """Make those steps ready whose moment has come; the caller holds the run's lock and saves them."""
    found = []
    for step in steps:
        if step.status == StepStatus.PARKED and is_waiting_for_circuit(step) and step.due_at <= now:
            step.status, step.rung_at = StepStatus.READY, None
            found.append(step)
    return found


def list_runs_waiting_for(connection_id: UUID) -> list[UUID]:
    """Active runs with a step that waits for this connection."""
    steps = StepResult.objects.filter(
        run__status__in=ACTIVE_RUN_STATUSES,
        status=StepStatus.PARKED,
        wait__kind=CIRCUIT,
        wait__facts__connection=str(connection_id),
    )
    return list(steps.order_by("run_id").values_list("run_id", flat=True).distinct())

"""Ringing workers. A message carries ids, never truth: lost, doubled or late rings change nothing (see README)."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import current_app
from django.db import transaction

from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

ADVANCE = "engine.advance"
EXECUTE = "engine.execute_step"
POLL = "engine.poll"
LONGEST_COUNTDOWN_S = 60.0  # beyond it, brokers redeliver in loops; the sweeper takes over


def ring_run(run_id: UUID, *, delay_s: float = 0.0) -> None:
    """After commit, ask some worker to look at a run."""
    _ring(ADVANCE, [str(run_id)], delay_s)


def ring_step(run_id: UUID, step_id: UUID) -> None:
    """After commit, ask a load worker to claim a step."""
    _ring(EXECUTE, [str(run_id), str(step_id)], 0.0)


def ring_poll(trigger_id: UUID) -> None:
    """After commit, ask a worker to look for what is new."""
    _ring(POLL, [str(trigger_id)], 0.0)


def _ring(task_name: str, args: list[str], delay_s: float) -> None:
    if delay_s > LONGEST_COUNTDOWN_S:
        return
    tenant = require_tenant()

    def send() -> None:
        try:
            current_app.tasks[task_name].apply_for(tenant, args=args, countdown=delay_s or None)
        except Exception as error:  # noqa: BLE001 - the sweeper rings again; the caller's commit stands
            log.warning("doorbell_failed", task=task_name, args=args, error=str(error))

    transaction.on_commit(send)

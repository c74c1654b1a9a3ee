"""Celery side of the engine: doorbells and the sweeper. Every task is safe to run twice, late, or never."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from apps.engine.services.executing import work_on_run
from apps.engine.services.sweeping import collect_garbage_everywhere, sweep_everywhere
from apps.engine.services.triggers.polling import poll_trigger
from apps.tenancy.celery import TenantTask


@shared_task(base=TenantTask, name="engine.advance")
def advance_run(run_id: str) -> None:
    """Look at a run, execute its quick steps, and schedule what follows."""
    work_on_run(UUID(run_id), quick_only=True)


@shared_task(base=TenantTask, name="engine.execute_step")
def execute_step(run_id: str, step_id: str) -> None:
    """Claim the step if it is still to be had, execute it, and go on with what becomes ready."""
    work_on_run(UUID(run_id), prefer=UUID(step_id))


@shared_task(base=TenantTask, name="engine.poll")
def poll(trigger_id: str) -> None:
    """Look for new rows if the poll is still due and nobody else looks."""
    poll_trigger(UUID(trigger_id))


@shared_task(name="engine.sweep")
def sweep() -> None:
    """Ring for runs that nobody has looked at in time, in every tenant."""
    sweep_everywhere()


@shared_task(name="engine.collect_garbage")
def collect_garbage() -> None:
    """Release what ended runs still hold (staging areas, replayed rows), in every tenant."""
    collect_garbage_everywhere()

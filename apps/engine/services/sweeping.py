"""The sweeper: rings runs whose moment has come by the database's clock, whatever became of earlier messages."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.engine.choices import ACTIVE_RUN_STATUSES, DONE_STEP_STATUSES, ENDED_RUN_STATUSES, RunStatus
from apps.engine.models import Run, StepResult
from apps.engine.registries import programs
from apps.engine.services.advancing import lock_run, to_facts
from apps.engine.services.doorbell import ring_run
from apps.engine.services.limits import engine_limits
from apps.engine.services.slas import watch_slas
from apps.engine.services.triggers.firing import fire_due, forget_firings
from apps.engine.services.triggers.polling import ring_due_polls
from apps.tenancy.services.context import each_tenant, require_tenant

log = structlog.get_logger(__name__)

SWEPT_AT_ONCE = 500
KEPT_FOR_RESUME = timedelta(hours=24)


def sweep_everywhere() -> int:
    """Fire what is due, sweep runs and mark late ones in every served tenant; one fault does not keep others waiting.

    Returns:
        Runs started, rung or marked.
    """
    rung = 0
    for tenant in each_tenant():
        for part in (fire_due, ring_due_polls, sweep_tenant, watch_slas):
            try:
                rung += part()
            except Exception as error:
                log.exception("sweep_failed", tenant=tenant.slug, part=part.__name__, error=str(error))
    return rung


def sweep_tenant() -> int:
    """Ring runs of the entered tenant whose `wake_at` has passed.

    Several sweepers may run at once (three beats, say): an advisory lock lets one through, and a ring too many does no
    harm. `wake_at` is moved on, so a run that cannot be helped is not rung in a tight loop.

    Returns:
        Runs rung.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('engine.sweep:' || current_schema(), 0))")
            row = cursor.fetchone()
            if row is None or not row[0]:
                return 0
        due = Run.objects.filter(status__in=ACTIVE_RUN_STATUSES).filter(Q(wake_at__lte=Now()) | Q(wake_at__isnull=True))
        ids = list(
            due.select_for_update(skip_locked=True).order_by("wake_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE]
        )
        if not ids:
            return 0
        grace = timedelta(seconds=engine_limits().doorbell_grace_s)
        Run.objects.filter(pk__in=ids).update(wake_at=Now() + grace)
        for run_id in ids:
            ring_run(run_id)
    log.info("runs_rung", tenant=require_tenant().slug, count=len(ids))
    return len(ids)


def collect_garbage_everywhere() -> int:
    """`collect_garbage_of_tenant` for every served tenant.

    Returns:
        Runs released.
    """
    released = 0
    for tenant in each_tenant():
        try:
            released += collect_garbage_of_tenant()
            forget_firings()
        except Exception as error:
            log.exception("garbage_not_collected", tenant=tenant.slug, error=str(error))
    return released


def collect_garbage_of_tenant() -> int:
    """Release what unsuccessful runs of the entered tenant hold outside, a day after they ended.

    Until then a resume continues from the finished partitions; afterwards it starts from the beginning.

    Returns:
        Runs released.
    """
    released = 0
    ended = Run.objects.filter(
        status__in=[RunStatus.FAILED, RunStatus.CANCELLED],
        cleaned_at__isnull=True,
        ended_at__lte=Now() - KEPT_FOR_RESUME,
    )
    for run_id in ended.order_by("ended_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE]:
        try:
            released += release_run(run_id)
        except Exception as error:  # noqa: BLE001 - tried again at the next round
            log.warning("run_not_released", run=str(run_id), error=str(error))
    return released


def release_run(run_id: object) -> bool:
    """Let go of what one ended run holds outside; False when it is active again or was released before."""
    with transaction.atomic():
        run = lock_run(run_id)  # type: ignore[arg-type]
        if run.status not in ENDED_RUN_STATUSES or run.cleaned_at is not None:
            return False
        outputs = {
            step.path: step.output or {}
            for step in StepResult.objects.filter(run=run, latest=True, status__in=DONE_STEP_STATUSES)
        }
        programs.get(run.kind).abandon(to_facts(run), outputs)
        run.cleaned_at = run.db_now
        run.save(update_fields=["cleaned_at", "updated_at"])
    return True

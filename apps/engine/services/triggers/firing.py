"""Firing: moments that are due and events that match become rows, and rows become runs, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.core.exceptions import PortalError, TransientError
from apps.core.services.hints import send_hint
from apps.engine.choices import CatchUp, FiringStatus, RunTrigger, TriggerKind, TriggerStatus
from apps.engine.exceptions import FilterFailed, FiringGivenUp, FiringMissed, RunAlreadyActive, TenantBusy
from apps.engine.models import Firing, Trigger
from apps.engine.selectors import get_environment_slug
from apps.engine.services.runs import StartRequest, start_run
from apps.engine.services.triggers.editing import matcher_of, schedule_of
from apps.engine.services.triggers.inputs import input_of_event, input_of_moment
from apps.events.contracts import TYPE_PREFIX, EventRecord
from apps.events.services.matching import list_matches
from apps.integrations.exceptions import FlowArchived, FlowPaused
from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

ON_TIME = timedelta(minutes=5)
ON_TIME_MOST = 6
GIVE_UP = timedelta(days=1)
KEPT = timedelta(days=90)
AT_ONCE = 200
STARTS = {
    TriggerKind.SCHEDULE: RunTrigger.SCHEDULE,
    TriggerKind.EVENT: RunTrigger.EVENT,
    TriggerKind.POLL: RunTrigger.POLL,
}


def fire_due() -> int:
    """Fire the schedules of the entered tenant that are due, and try again what waits.

    Safe to run in several beats at once: a trigger's row is locked while it fires, a firing's unique key is its moment,
    and the next moment is written in the same transaction.

    Returns:
        Runs started.
    """
    due = Trigger.objects.filter(status=TriggerStatus.ACTIVE, kind=TriggerKind.SCHEDULE, next_due_at__lte=Now())
    waiting = Firing.objects.filter(status=FiringStatus.PENDING, next_attempt_at__lte=Now())
    started = 0
    for ids, fire in (
        (list(due.order_by("next_due_at").values_list("pk", flat=True)[:AT_ONCE]), _fire_schedule),
        (list(waiting.order_by("id").values_list("pk", flat=True)[:AT_ONCE]), _fire_again),
    ):
        started += sum(_guarded(fire, row_id) for row_id in ids)
    return started


def fire_events(events: Sequence[EventRecord]) -> int:
    """Fire the event triggers of the entered tenant that want these events; the caller's transaction holds it all.

    Returns:
        Runs started.
    """
    started = 0
    rows = Trigger.objects.filter(status=TriggerStatus.ACTIVE, kind=TriggerKind.EVENT).order_by("id")
    for trigger in list(rows):
        fresh = [e for e in events if (e.position or 0) > trigger.start_position and not _is_own(trigger, e)]
        for match in list_matches(matcher_of(trigger), fresh):
            event = match.event
            firing, new = Firing.objects.get_or_create(
                trigger=trigger, event_id=event.id, defaults={"due_at": event.time}
            )
            if not new:
                continue
            if match.fault:
                settle(trigger, firing, FiringStatus.FAILED, FilterFailed(match.fault))
            else:
                started += prepare_and_start(trigger, firing, partial(input_of_event, trigger, event))
    return started


def forget_firings() -> int:
    """Remove the record of firings that ended ninety days ago.

    Returns:
        Rows removed.
    """
    old = Firing.objects.filter(created_at__lte=Now() - KEPT).exclude(status=FiringStatus.PENDING)
    return int(old.delete()[0])


def _guarded(fire: Callable[[UUID], int], row_id: UUID) -> int:
    try:
        with transaction.atomic():
            return fire(row_id)
    except Exception as error:  # one trigger's fault does not keep the others waiting
        log.exception("trigger_failed", id=str(row_id), error=str(error))
        return 0


def _fire_schedule(trigger_id: UUID) -> int:
    rows = Trigger.objects.select_for_update(skip_locked=True).annotate(db_now=Now())
    trigger = rows.filter(pk=trigger_id, status=TriggerStatus.ACTIVE, next_due_at__lte=Now()).first()
    if trigger is None:
        return 0
    at: datetime = trigger.db_now
    first = trigger.next_due_at
    assert first is not None
    try:
        schedule = schedule_of(trigger)
        newest = schedule.newest_between(first, at, max(trigger.catch_up_limit, ON_TIME_MOST))
        count = schedule.count_between(first, at)
        following = schedule.next_after(at)
    except PortalError as error:
        _stop(trigger, error)
        return 0
    chosen = _choose(trigger, newest, at)
    left = [moment for moment in newest if moment not in chosen]
    if count > len(chosen):
        missed = count - len(chosen)
        moments = "One moment" if missed == 1 else f"{missed} moments"
        reason = FiringMissed(f"{moments} passed while nothing could fire.")
        firing, _ = Firing.objects.get_or_create(
            trigger=trigger, due_at=left[-1] if left else first, event_id=None, defaults={"missed": missed}
        )
        settle(trigger, firing, FiringStatus.SKIPPED, reason)
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=following, updated_at=Now())
    started = 0
    for moment in chosen:
        firing, new = Firing.objects.get_or_create(trigger=trigger, due_at=moment, event_id=None)
        if new:
            started += prepare_and_start(trigger, firing, partial(input_of_moment, trigger, moment))
    return started


def _choose(trigger: Trigger, newest: list[datetime], at: datetime) -> list[datetime]:
    """The moments that get a run, of the newest that are due."""
    punctual = [moment for moment in newest if moment > at - ON_TIME]
    if trigger.catch_up == CatchUp.ALL:
        return newest[-max(trigger.catch_up_limit, len(punctual)) :]
    if trigger.catch_up == CatchUp.ONCE:
        return punctual or newest[-1:]
    return punctual


def _fire_again(firing_id: UUID) -> int:
    pending = Firing.objects.select_for_update(skip_locked=True, of=("self",)).select_related("trigger")
    firing = pending.filter(pk=firing_id, status=FiringStatus.PENDING, next_attempt_at__lte=Now()).first()
    return 0 if firing is None else _start(firing.trigger, firing)


def prepare_and_start(trigger: Trigger, firing: Firing, build: Callable[[], dict[str, Any]]) -> int:
    """Start the run of a firing with the input that `build` makes; 1 when it was started."""
    try:
        firing.parameters = build()
    except PortalError as error:
        settle(trigger, firing, FiringStatus.FAILED, error)
        return 0
    return _start(trigger, firing)


def _start(trigger: Trigger, firing: Firing) -> int:
    """Start the run of a firing; 1 when it was started. The attempt is a savepoint of the caller's transaction."""
    source = firing.dedupe_key or (str(firing.event_id) if firing.event_id else firing.due_at.isoformat())
    request = StartRequest(
        flow_id=trigger.flow_id,
        environment=get_environment_slug(trigger.environment_id),
        parameters=firing.parameters,
        idempotency_key=f"trigger:{trigger.pk}:{source}",
        trigger=STARTS[TriggerKind(trigger.kind)],
        due_at=firing.due_at,
    )
    firing.attempts += 1
    try:
        with transaction.atomic():
            run = start_run(request, actor=Actor.system(f"trigger {trigger.name}"))
    except FlowPaused as error:
        settle(trigger, firing, FiringStatus.SKIPPED, error)
    except FlowArchived as error:
        settle(trigger, firing, FiringStatus.FAILED, error)
        _stop(trigger, error)
    except RunAlreadyActive as error:
        if trigger.kind != TriggerKind.SCHEDULE or trigger.catch_up == CatchUp.ALL:
            _wait(trigger, firing, error)
        else:
            settle(trigger, firing, FiringStatus.SKIPPED, error)
    except (TenantBusy, TransientError) as error:
        _wait(trigger, firing, error)
    except PortalError as error:
        settle(trigger, firing, FiringStatus.FAILED, error)
    else:
        firing.run = run
        if firing.dedupe_key:
            firing.parameters = {}  # the rows are with the run
        settle(trigger, firing, FiringStatus.STARTED, None)
        return 1
    return 0


def _wait(trigger: Trigger, firing: Firing, error: PortalError) -> None:
    """Try again later: 5, 10, 20 … 300 seconds on, for a day."""
    fresh = Firing.objects.filter(pk=firing.pk, created_at__gt=Now() - GIVE_UP).exists()
    if not fresh:
        settle(trigger, firing, FiringStatus.FAILED, FiringGivenUp(f"Given up after a day: {error.message}"))
        return
    delay = timedelta(seconds=min(300, 5 * 2 ** min(firing.attempts - 1, 10)))
    Firing.objects.filter(pk=firing.pk).update(
        parameters=firing.parameters,
        attempts=firing.attempts,
        error=error_of(error),
        next_attempt_at=Now() + delay,
        updated_at=Now(),
    )
    Trigger.objects.filter(pk=trigger.pk).update(last_error=error_of(error), updated_at=Now())


def settle(trigger: Trigger, firing: Firing, status: str, error: PortalError | None) -> None:
    """Record what came of a firing, with the firing and with its trigger."""
    firing.status, firing.error, firing.next_attempt_at = status, error and error_of(error), None
    firing.save()
    if status in (FiringStatus.STARTED, FiringStatus.PUBLISHED):
        Trigger.objects.filter(pk=trigger.pk).update(
            last_fired_at=Now(), last_run=firing.run, last_error=None, updated_at=Now()
        )
    else:
        Trigger.objects.filter(pk=trigger.pk).update(last_error=firing.error, updated_at=Now())
    send_hint(require_tenant().id, "trigger", trigger.pk, change="fired", status=status)


def _stop(trigger: Trigger, error: PortalError) -> None:
    """Pause a trigger that cannot fire until somebody changes something."""
    trigger.status = TriggerStatus.PAUSED
    Trigger.objects.filter(pk=trigger.pk).update(
        status=TriggerStatus.PAUSED,
        status_reason=error.message[:200],
        next_due_at=None,
        last_error=error_of(error),
        updated_at=Now(),
    )
    log.warning("trigger_paused", trigger=str(trigger.pk), code=error.code)


def _is_own(trigger: Trigger, event: EventRecord) -> bool:
    """Whether the portal says something of the trigger's own flow: it would start itself for ever."""
    return event.type.startswith(TYPE_PREFIX) and event.data.get("flow_id") == str(trigger.flow_id)


def error_of(error: PortalError) -> dict[str, Any]:
    """An error as triggers and firings keep it."""
    return {"code": error.code, "message": error.message, "remedy": error.remedy}

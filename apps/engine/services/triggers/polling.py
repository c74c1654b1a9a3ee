"""Polls: the sweeper rings for them, a worker looks at the system, and what is new becomes firings with the position.

A look holds a lease with a fencing number. The position, the firings and what they start are one transaction that is
refused when the number is outdated: rows are handed out once, however many workers look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.core.exceptions import PortalError
from apps.core.services.hints import send_hint
from apps.engine.choices import FiringStatus, TriggerKind, TriggerStatus
from apps.engine.exceptions import PollHeldBack
from apps.engine.models import Firing, PollState, Trigger
from apps.engine.services.doorbell import ring_poll
from apps.engine.services.faults import to_portal_error
from apps.engine.services.processes.scopes import to_json
from apps.engine.services.triggers.firing import error_of, prepare_and_start, settle
from apps.engine.services.triggers.inputs import input_of_rows
from apps.engine.services.triggers.looking import POLL_S, look
from apps.engine.services.triggers.polls import PollSettings, next_poll
from apps.engine.services.triggers.positions import Position, Row
from apps.events.services.event_contracts import publish_custom_event
from apps.integrations.selectors import resolve_binding
from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=2 * POLL_S)
RING_AGAIN = timedelta(seconds=30)
RUNG_AT_ONCE = 100
BATCH_BYTES = 512 * 1024
BACK_OFF_S = (10, 20, 40, 80, 160, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class _Claim:
    trigger: Trigger
    position: Position | None
    epoch: int


def ring_due_polls() -> int:
    """Ask workers to look for the polls of the entered tenant that are due and that nobody looks for.

    Returns:
        Polls rung for.
    """
    idle = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=Now())
    silent = Q(rung_at__isnull=True) | Q(rung_at__lte=Now() - RING_AGAIN)
    due = PollState.objects.filter(idle & silent, trigger__status=TriggerStatus.ACTIVE, trigger__next_due_at__lte=Now())
    with transaction.atomic():
        locked = due.select_for_update(skip_locked=True, of=("self",)).order_by("trigger__next_due_at")
        ids = list(locked.values_list("trigger_id", flat=True)[:RUNG_AT_ONCE])
        PollState.objects.filter(trigger_id__in=ids).update(rung_at=Now())
        for trigger_id in ids:
            ring_poll(trigger_id)
    return len(ids)


def poll_trigger(trigger_id: UUID) -> int:
    """Look once for what is new, if the poll is due and nobody else looks; safe to call twice or late.

    Returns:
        Runs started.
    """
    claim = _claim(trigger_id)
    if claim is None:
        return 0
    settings = PollSettings.from_json(claim.trigger.poll)
    try:
        connection_id = resolve_binding(claim.trigger.environment_id, settings.connection)
        rows, position = look(connection_id, settings, claim.position)
        return _hand_out(claim, settings, rows, position)
    except Exception as error:  # noqa: BLE001 - whatever it is, people must see it, and the next look must come
        _back_off(claim, to_portal_error(error, str(trigger_id), "poll", claim.trigger.name))
        return 0


def _claim(trigger_id: UUID) -> _Claim | None:
    with transaction.atomic():
        active = Trigger.objects.select_for_update(of=("self",)).filter(
            pk=trigger_id, kind=TriggerKind.POLL, status=TriggerStatus.ACTIVE, next_due_at__lte=Now()
        )
        trigger = active.select_related("flow").annotate(db_now=Now()).first()
        if trigger is None:
            return None
        if trigger.flow.paused_at is not None:  # what is new then is found when it goes on
            Trigger.objects.filter(pk=trigger.pk).update(next_due_at=next_poll(trigger, trigger.db_now))
            return None
        idle = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lte=Now())
        state = PollState.objects.select_for_update().filter(idle, trigger=trigger).first()
        if state is None:
            return None
        epoch = state.lease_epoch + 1
        PollState.objects.filter(pk=state.pk).update(
            lease_epoch=epoch, lease_expires_at=Now() + LEASE, rung_at=None, updated_at=Now()
        )
        return _Claim(trigger, Position.from_json(state.position, trigger.poll["cursor"]), epoch)


def _lock(claim: _Claim) -> tuple[Trigger, PollState, datetime] | None:
    """Trigger and state under their locks, and the time; None when the look is outdated (late, paused or changed)."""
    rows = Trigger.objects.select_for_update().annotate(db_now=Now())
    trigger = rows.filter(pk=claim.trigger.pk, status=TriggerStatus.ACTIVE).first()
    state = PollState.objects.select_for_update().filter(trigger_id=claim.trigger.pk, lease_epoch=claim.epoch).first()
    if trigger is None or state is None:
        log.warning("poll_outdated", trigger=str(claim.trigger.pk), epoch=claim.epoch)
        return None
    return trigger, state, trigger.db_now


@transaction.atomic
def _hand_out(claim: _Claim, settings: PollSettings, rows: Sequence[Row], position: Position) -> int:
    found = _lock(claim)
    if found is None:
        return 0
    trigger, state, at = found
    started = 0
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=next_poll(trigger, at), updated_at=Now())
    if state.failures:
        Trigger.objects.filter(pk=trigger.pk).update(last_error=None)
    for index, batch in enumerate(_batches(rows, settings.batch_rows)):
        key = f"{claim.epoch}:{index}"
        firing = Firing.objects.create(trigger=trigger, due_at=at, dedupe_key=key, rows=len(batch))
        if settings.event_type:
            _publish(trigger, settings, key, batch)
            settle(trigger, firing, FiringStatus.PUBLISHED, None)
        else:
            started += prepare_and_start(trigger, firing, partial(input_of_rows, trigger, batch, at))
            if firing.status in (FiringStatus.FAILED, FiringStatus.SKIPPED):
                error = firing.error or {}
                message = f"{len(rows)} new rows wait, because nothing can be started: {error.get('message')}"
                raise PollHeldBack(message, remedy=error.get("remedy"))
    PollState.objects.filter(pk=state.pk).update(
        position=position.to_json(), failures=0, lease_expires_at=None, polled_at=Now(), updated_at=Now()
    )
    if rows or state.failures:
        send_hint(require_tenant().id, "trigger", trigger.pk, change="polled", rows=len(rows))
    return started


def _publish(trigger: Trigger, settings: PollSettings, key: str, batch: Sequence[dict[str, Any]]) -> None:
    for number, row in enumerate(batch):
        publish_custom_event(
            settings.event_type,
            subject=f"{settings.entity or trigger.name}/{row[settings.cursor]}",
            data=row,
            client_id=f"poll:{trigger.pk}:{key}:{number}",
            actor=Actor.system(f"trigger {trigger.name}"),
        )


def _batches(rows: Sequence[Row], most: int) -> Iterator[list[dict[str, Any]]]:
    """Rows as JSON in batches that are bounded by number and by size; a larger row is a batch of its own."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        document = {name: to_json(value) for name, value in row.items()}
        weight = len(json.dumps(document).encode())
        if batch and (len(batch) == most or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += weight
    if batch:
        yield batch


@transaction.atomic
def _back_off(claim: _Claim, error: PortalError) -> None:
    """Look again later, 10 seconds to an hour, and let people see why nothing was found."""
    found = _lock(claim)
    if found is None:
        return
    trigger, state, at = found
    delay = timedelta(seconds=BACK_OFF_S[min(state.failures, len(BACK_OFF_S) - 1)])
    regular = next_poll(trigger, at)
    later = max(at + delay, regular) if trigger.every_s and regular else at + delay
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=later, last_error=error_of(error), updated_at=Now())
    PollState.objects.filter(pk=state.pk).update(
        failures=F("failures") + 1, lease_expires_at=None, polled_at=Now(), updated_at=Now()
    )
    send_hint(require_tenant().id, "trigger", trigger.pk, change="failed")
    log.warning("poll_failed", trigger=str(trigger.pk), code=error.code, attempt=state.failures + 1)

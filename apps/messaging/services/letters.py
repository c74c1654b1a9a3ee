"""Dead letters: try again, or give up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import DataError, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors.contracts import IncomingMessage
from apps.core.services.hints import send_hint
from apps.events.services.outbox import append_events
from apps.messaging.choices import ConsumerStatus, LetterStatus
from apps.messaging.exceptions import LetterIncomplete, LetterNotFound, LetterSettled, MessageRefused
from apps.messaging.models import Consumer, DeadLetter
from apps.messaging.selectors import get_consumer
from apps.messaging.services.shaping import plan_of, shape_messages
from apps.tenancy.services.context import require_tenant

REPLAY = "event:replay"
MAX_AT_ONCE = 200


@transaction.atomic
def redeliver_letter(letter_id: UUID, *, actor: Actor) -> DeadLetter:
    """Make an event of it with the consumer's settings of now; one that the filter leaves out is discarded.

    Raises:
        PermissionDenied, LetterNotFound, LetterSettled, LetterIncomplete.
        MessageRefused: it still cannot become an event, and why.
    """
    check_permission(actor, REPLAY)
    row = _lock(letter_id)
    fault = _redeliver(row, actor)
    if fault is not None:
        raise MessageRefused(fault[1], remedy="Change the consumer or the event contract, or discard the letter.")
    _record(row.consumer, "letter_redelivered", f"Redelivered a dead letter of {row.consumer.name}", actor, [row.id])
    return row


@transaction.atomic
def redeliver_all(consumer_id: UUID, *, actor: Actor) -> dict[str, int]:
    """The oldest dead letters again, at most 200 with one call.

    Returns:
        How many were `redelivered`, and how many are still `dead` for the same or another reason, of those tried.

    Raises:
        PermissionDenied, ConsumerNotFound.
    """
    check_permission(actor, REPLAY)
    consumer = get_consumer(consumer_id)
    rows = (
        DeadLetter.objects.select_for_update(of=("self",))
        .select_related("consumer")
        .filter(consumer=consumer, status=LetterStatus.DEAD)
        .order_by("id")[:MAX_AT_ONCE]
    )
    done = [row for row in rows if row.is_complete and _redeliver(row, actor) is None]
    if done:
        summary = f"Redelivered {len(done)} dead letters of {consumer.name}"
        _record(consumer, "letters_redelivered", summary, actor, [row.id for row in done])
    return {"redelivered": len(done), "dead": len(rows) - len(done)}


@transaction.atomic
def discard_letter(letter_id: UUID, *, actor: Actor) -> DeadLetter:
    """Give a dead letter up; it stays in the list of discarded ones.

    Raises:
        PermissionDenied, LetterNotFound, LetterSettled.
    """
    check_permission(actor, REPLAY)
    row = _lock(letter_id)
    _settle(row, LetterStatus.DISCARDED, actor)
    _record(row.consumer, "letter_discarded", f"Discarded a dead letter of {row.consumer.name}", actor, [row.id])
    return row


def _redeliver(row: DeadLetter, actor: Actor) -> tuple[str, str] | None:
    """Why it still cannot become an event; None when it did."""
    if not row.is_complete:
        raise LetterIncomplete(value=row.id)
    message = IncomingMessage(
        body=bytes(row.body),
        source=row.source,
        message_id=row.message_id,
        position=row.position,
        key=row.key,
        headers=row.headers,
        content_type=row.content_type,
        sent_at=row.sent_at,
    )
    [shaped] = shape_messages(plan_of(row.consumer), [message])
    fault = shaped.fault
    if fault is None and shaped.event is not None:
        try:
            with transaction.atomic():
                append_events([shaped.event])
        except DataError as error:
            fault = ("messaging.unstorable", f"The database cannot hold it: {str(error).splitlines()[0][:300]}")
    if fault is not None:
        return fault
    if shaped.event is None:
        _settle(row, LetterStatus.DISCARDED, actor)
        return None
    row.event_id = shaped.event.id
    _settle(row, LetterStatus.REDELIVERED, actor)
    Consumer.objects.filter(id=row.consumer_id).update(published=F("published") + 1)
    return None


def _settle(row: DeadLetter, status: LetterStatus, actor: Actor) -> None:
    row.status, row.settled_at, row.settled_by = status, Now(), actor.name[:300]
    row.save(update_fields=["status", "settled_at", "settled_by", "event_id", "updated_at"])
    row.refresh_from_db(fields=["settled_at"])


def _lock(letter_id: UUID) -> DeadLetter:
    rows = DeadLetter.objects.select_for_update(of=("self",)).select_related("consumer")
    row: DeadLetter | None = rows.exclude(consumer__status=ConsumerStatus.DELETED).filter(id=letter_id).first()
    if row is None:
        raise LetterNotFound(value=letter_id)
    if row.status != LetterStatus.DEAD:
        raise LetterSettled(f"The letter was {row.status} before.", value=row.status)
    return row


def _record(consumer: Consumer, verb: str, summary: str, actor: Actor, letters: Sequence[Any]) -> None:
    record_audit(
        actor=actor,
        action=f"consumer.{verb}",
        target_type="consumer",
        target_id=consumer.id,
        summary=f"{summary}.",
        facts={"letters": [str(one) for one in letters]},
    )
    send_hint(require_tenant().id, "consumer", consumer.id)

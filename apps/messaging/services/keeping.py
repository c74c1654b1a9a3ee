"""One transaction for a batch: events, dead letters, what was seen, and the consumer's position; then it may be
acknowledged. A batch that comes again (the acknowledgement was lost) is found seen and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import DataError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.connectors.contracts import IncomingMessage
from apps.core.services.hints import send_hint
from apps.events.services.outbox import append_events, publish_event
from apps.events.services.payloads import to_json
from apps.messaging.choices import ConsumerStatus, LetterStatus
from apps.messaging.events import CONSUMER_STOPPED, ConsumerStopped
from apps.messaging.exceptions import LeaseLost
from apps.messaging.models import Consumer, DeadLetter
from apps.messaging.services.shaping import Shaped, plan_of, shape_messages
from apps.tenancy.services.context import require_tenant

LEASE_S = 30
MAX_DEAD = 1_000
MAX_LETTER_BYTES = 1024 * 1024

_SEE = """
    INSERT INTO messaging_seenmessage (consumer_id, message_key)
    SELECT %s, one.key FROM unnest(%s::text[]) WITH ORDINALITY AS one(key, place) ORDER BY place
    ON CONFLICT (consumer_id, message_key) DO NOTHING RETURNING message_key
"""


@dataclass(frozen=True)
class Kept:
    """How a batch was kept."""

    published: int = 0
    duplicates: int = 0
    filtered: int = 0
    dead: int = 0


def keep_messages(consumer_id: UUID, fence: int, messages: Sequence[IncomingMessage]) -> Kept:
    """Commit a batch; only afterwards may it be acknowledged.

    Raises:
        LeaseLost: the consumer is no longer this holder's; nothing was kept.
        EventInvalid: the consumer's type is no longer defined; nothing was kept.
    """
    row = Consumer.objects.filter(id=consumer_id, fence=fence, status=ConsumerStatus.ACTIVE).first()
    if row is None:
        raise LeaseLost()
    shaped = shape_messages(plan_of(row), messages)
    try:
        return _keep(row, fence, shaped)
    except DataError as error:
        if len(shaped) == 1:
            reason = f"The database cannot hold it: {str(error).splitlines()[0][:300]}"
            return _keep(row, fence, [_at_fault(shaped[0], reason)])
    # JSON that PostgreSQL cannot hold (a number beyond its range) must not stop the others.
    parts = [keep_messages(consumer_id, fence, [one.message]) for one in shaped]
    return Kept(
        sum(one.published for one in parts),
        sum(one.duplicates for one in parts),
        sum(one.filtered for one in parts),
        sum(one.dead for one in parts),
    )


def lock_lease(consumer_id: UUID, fence: int) -> Consumer:
    """The consumer's row, locked, if it is still this holder's.

    Raises:
        LeaseLost: it is not.
    """
    row: Consumer | None = (
        Consumer.objects.select_for_update().filter(id=consumer_id, fence=fence, status=ConsumerStatus.ACTIVE).first()
    )
    if row is None:
        raise LeaseLost()
    return row


@transaction.atomic
def _keep(row: Consumer, fence: int, shaped: Sequence[Shaped]) -> Kept:
    lock_lease(row.id, fence)
    fresh = _see(row.id, shaped)
    events = [one.event for one in fresh if one.event is not None]
    faulty = [one for one in fresh if one.fault is not None]
    append_events(events)
    DeadLetter.objects.bulk_create([_to_letter(row, one) for one in faulty])
    kept = Kept(len(events), len(shaped) - len(fresh), len(fresh) - len(events) - len(faulty), len(faulty))
    last = next((one.message.position for one in reversed(shaped) if one.message.position), row.position)
    Consumer.objects.filter(id=row.id).update(
        received=F("received") + len(shaped),
        published=F("published") + kept.published,
        duplicates=F("duplicates") + kept.duplicates,
        filtered=F("filtered") + kept.filtered,
        position=last[:300],
        last_message_at=Now(),
        lease_until=Now() + timedelta(seconds=LEASE_S),
        failures=0,
        last_error=None,
    )
    if faulty:
        _stop_when_too_many(row)
    send_hint(require_tenant().id, "consumer", row.id)
    return kept


def _see(consumer_id: UUID, shaped: Sequence[Shaped]) -> list[Shaped]:
    """Those that were not seen before, in their order; one without a key is always new."""
    keys = [one.key for one in shaped if one.key]
    new: set[str] = set()
    if keys:
        with connection.cursor() as cursor:
            cursor.execute(_SEE, [consumer_id, keys])
            new = {name for (name,) in cursor.fetchall()}
    found = []
    for one in shaped:
        if not one.key:
            found.append(one)
        elif one.key in new:
            new.discard(one.key)  # the second of one batch is a duplicate of the first
            found.append(one)
    return found


def _stop_when_too_many(row: Consumer) -> None:
    """A stream of what cannot be used stays with the broker, instead of becoming a heap here."""
    if DeadLetter.objects.filter(consumer=row, status=LetterStatus.DEAD).count() < MAX_DEAD:
        return
    reason = f"{MAX_DEAD:,} dead letters wait; mend the cause, redeliver or discard them, then resume."
    Consumer.objects.filter(id=row.id).update(
        status=ConsumerStatus.PAUSED, status_reason=reason, fence=F("fence") + 1, lease_until=None, connected_at=None
    )
    publish_event(CONSUMER_STOPPED.type, subject=f"consumer/{row.id}", data=ConsumerStopped(row.id, row.name, reason))


def _to_letter(row: Consumer, one: Shaped) -> DeadLetter:
    message = one.message
    assert one.fault is not None
    return DeadLetter(
        consumer=row,
        code=one.fault[0],
        reason=to_json(one.fault[1])[:500],
        source=to_json(message.source)[:300],
        message_id=to_json(message.message_id)[:200],
        position=message.position[:300],
        key=to_json(message.key)[:200],
        content_type=to_json(message.content_type)[:200],
        headers=to_json(dict(message.headers)),
        sent_at=message.sent_at,
        body=message.body[:MAX_LETTER_BYTES],
        size_bytes=len(message.body),
    )


def _at_fault(one: Shaped, reason: str) -> Shaped:
    return Shaped(one.message, one.key, fault=("messaging.unstorable", reason))

"""Number committed events: the tenant's log gets one order without gaps.

Publishers draw no number, because a number drawn before the commit becomes visible in another order than it was drawn
(a poll by `number > last` then skips the late one). Here only events whose transaction has committed are seen, and the
stream's head row is locked while they are numbered, so that neither two relays nor a late commit can break the order:
a late event simply gets a later number. Publishers wait for nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection, transaction

BATCH_EVENTS = 1000

_LOCK_HEAD = "SELECT position FROM events_streamhead WHERE id = 1 FOR UPDATE SKIP LOCKED"
_NUMBER = """
    UPDATE events_event AS event
    SET position = %s + fresh.place
    FROM (
        SELECT id, row_number() OVER (ORDER BY arrival) AS place
        FROM (
            SELECT id, arrival FROM events_event WHERE position IS NULL ORDER BY arrival LIMIT %s
        ) AS waiting
    ) AS fresh
    WHERE event.id = fresh.id
    RETURNING event.type
"""
_MOVE_HEAD = "UPDATE events_streamhead SET position = position + %s WHERE id = 1"


@dataclass(frozen=True)
class NumberedBatch:
    """What one call numbered.

    Attributes:
        count: events that got a number.
        types: their types, for waking only subscribers that want them.
        more: the batch was full, so there may be more.
        busy: somebody else was numbering.
    """

    count: int = 0
    types: frozenset[str] = frozenset()
    more: bool = False
    busy: bool = False


def number_events(*, limit: int = BATCH_EVENTS) -> NumberedBatch:
    """Number the current tenant's committed, unnumbered events, oldest arrival first; at most `limit`.

    Safe to call from anywhere at any time: a second caller finds the head locked and leaves.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_HEAD)
        head = cursor.fetchone()
        if head is None:
            return NumberedBatch(busy=True)
        # A new statement sees everything that was committed before the lock was taken.
        cursor.execute(_NUMBER, [head[0], limit])
        types = [row[0] for row in cursor.fetchall()]
        if types:
            cursor.execute(_MOVE_HEAD, [len(types)])
    return NumberedBatch(len(types), frozenset(types), more=len(types) == limit)

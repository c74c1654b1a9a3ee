"""Follow a tenant's log from a cursor, live: what the event stream over HTTP and the socket's stream share.

Numbers are given in the order in which they become visible, so "everything after n" never misses a late event. The
streams of one tenant share one look at the head, four times a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async

from apps.events.contracts import EventRecord
from apps.events.models import StreamHead
from apps.events.selectors import list_range, to_record
from apps.events.services.live_access import executor
from apps.events.services.matching import Matcher
from apps.tenancy.contracts import TenantRef
from apps.tenancy.services.context import tenant_context

LOOK_S = 0.25
QUIET_S = 15.0
BATCH = 200


class HeadWatch:
    """Head of each followed log, at most `LOOK_S` old; concurrent followers share one query."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._heads: dict[UUID, tuple[float, int]] = {}
        self._looks: dict[tuple[UUID, int], asyncio.Future[tuple[int, int]]] = {}

    async def head(self, tenant: TenantRef) -> int:
        """Number of the last event."""
        known = self._heads.get(tenant.id)
        if known is not None and time.monotonic() - known[0] < LOOK_S:
            return known[1]
        place = (tenant.id, id(asyncio.get_running_loop()))
        look = self._looks.get(place)
        if look is None:
            look = self._looks[place] = asyncio.ensure_future(in_thread(_read_head, tenant))
            look.add_done_callback(lambda _: self._looks.pop(place, None))
        head = (await asyncio.shield(look))[0]
        self._heads[tenant.id] = (time.monotonic(), head)
        return int(head)


async def follow_events(
    tenant: TenantRef, *, after: int, types: Sequence[str] = ("*",)
) -> AsyncIterator[tuple[int, list[EventRecord]]]:
    """Batches of events after a position, in order and without end.

    Yields:
        (cursor, events): everything up to the cursor has been given. After `QUIET_S` without an event an empty batch
        comes, for a sign of life.
    """
    matcher = Matcher(tuple(types))
    quiet_since = time.monotonic()
    while True:
        head = await watch.head(tenant)
        if head <= after:
            if time.monotonic() - quiet_since >= QUIET_S:
                quiet_since = time.monotonic()
                yield after, []
            await asyncio.sleep(LOOK_S)
            continue
        events: list[EventRecord] = await in_thread(_read_range, tenant, after, head)
        after = events[-1].position or head if events else head
        wanted = [event for event in events if matcher.wants_type(event.type)]
        if wanted or time.monotonic() - quiet_since >= QUIET_S:
            quiet_since = time.monotonic()
            yield after, wanted


async def find_start(tenant: TenantRef, after: int | None) -> tuple[int, int]:
    """Where to begin.

    Returns:
        (position, missing): the head when `after` is None; `missing` counts events that retention removed since.
    """
    head, purged_to = await in_thread(_read_head, tenant)
    if after is None:
        return head, 0
    begin = min(max(after, 0), head)
    return max(begin, purged_to), max(0, purged_to - begin)


async def in_thread(function: Any, *arguments: Any) -> Any:
    """Ask the database from a coroutine, in the threads that serve sockets and streams."""
    return await database_sync_to_async(function, thread_sensitive=False, executor=executor)(*arguments)


def _read_head(tenant: TenantRef) -> tuple[int, int]:
    with tenant_context(tenant):  # type: ignore[arg-type]
        return StreamHead.objects.values_list("position", "purged_to").get()


def _read_range(tenant: TenantRef, after: int, head: int) -> list[EventRecord]:
    with tenant_context(tenant):  # type: ignore[arg-type]
        return [to_record(event) for event in list_range(after, limit=BATCH, up_to=head)]


watch = HeadWatch()

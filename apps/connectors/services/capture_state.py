"""What the process that captures writes: leases, progress, faults. Every write carries the fencing number."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from apps.connectors import events
from apps.connectors.choices import CaptureStatus
from apps.connectors.exceptions import CaptureBroken
from apps.connectors.models import ChangeCapture
from apps.core.clock import now
from apps.core.exceptions import PortalError
from apps.core.services.hints import send_hint
from apps.events.services.outbox import NewEvent, append_events, publish_event
from apps.tenancy.services.context import require_tenant

FLUSH_ROWS = 500
RETRY_MOST_S = 300.0
IDLE_LIMIT = "120s"
"""A frozen process must not keep its transaction, and the row's lock, for ever."""


class LeaseLost(Exception):
    """Somebody else has the capture now, or it was paused, restarted or deleted."""


class CaptureWriter:
    """Appends events and moves the position in one transaction; only as long as the lease is ours."""

    def __init__(self, capture_id: UUID, fence: int) -> None:
        """Write for this capture under this fencing number."""
        self._capture_id = capture_id
        self._fence = fence
        self._atomic: transaction.Atomic | None = None
        self._events: list[NewEvent] = []
        self.count = 0

    @property
    def is_dirty(self) -> bool:
        """Whether there are events that are not committed."""
        return self.count > 0

    def add(self, event: NewEvent) -> None:
        """Append an event; it exists once `commit` has been called."""
        self._events.append(event)
        self.count += 1
        if len(self._events) >= FLUSH_ROWS:
            self._flush()

    def commit(self, **state: Any) -> None:
        """Write the state with the events and commit.

        Raises:
            LeaseLost: nothing was written.
        """
        self._open()
        try:
            self._flush()
            if self.count:
                state["last_event_at"] = Now()
            write_fenced(self._capture_id, self._fence, **state)
        except BaseException:
            self.abandon()
            raise
        atomic, self._atomic, self.count = self._atomic, None, 0
        assert atomic is not None
        atomic.__exit__(None, None, None)

    def abandon(self) -> None:
        """Undo what is not committed."""
        atomic, self._atomic, self._events, self.count = self._atomic, None, [], 0
        if atomic is not None:
            atomic.__exit__(LeaseLost, LeaseLost(), None)

    def _open(self) -> None:
        if self._atomic is None:
            self._atomic = transaction.atomic()
            self._atomic.__enter__()
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [IDLE_LIMIT])

    def _flush(self) -> None:
        if self._events:
            self._open()
            append_events(self._events)
            self._events = []


def write_fenced(capture_id: UUID, fence: int, **state: Any) -> None:
    """Change the row if the lease is still ours.

    Raises:
        LeaseLost: it is not.
    """
    changed = ChangeCapture.objects.filter(id=capture_id, fence=fence, status=CaptureStatus.RUNNING).update(**state)
    if not changed:
        raise LeaseLost


def claim_captures(owner: str, *, lease_s: float, most: int) -> list[tuple[UUID, int]]:
    """Take captures of the entered tenant that nobody works on.

    Returns:
        Id and fencing number of each.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE connectors_changecapture SET fence = fence + 1, lease_owner = %s, "
            "lease_until = clock_timestamp() + make_interval(secs => %s) WHERE id IN ("
            "SELECT id FROM connectors_changecapture "
            "WHERE status = 'running' AND (lease_until IS NULL OR lease_until < clock_timestamp()) "
            "AND (retry_at IS NULL OR retry_at <= clock_timestamp()) "
            "ORDER BY lease_until NULLS FIRST, id LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING id, fence",
            [owner, lease_s, most],
        )
        return [(row[0], row[1]) for row in cursor.fetchall()]


def renew_lease(capture_id: UUID, fence: int, *, lease_s: float) -> bool:
    """Whether the lease is still ours; it then lasts `lease_s` more."""
    until = Now() + timedelta(seconds=lease_s)
    found = ChangeCapture.objects.filter(id=capture_id, fence=fence, status=CaptureStatus.RUNNING)
    return bool(found.update(lease_until=until))


def release_lease(capture_id: UUID, fence: int) -> None:
    """Let another process take the capture at once."""
    ChangeCapture.objects.filter(id=capture_id, fence=fence).update(lease_until=None, lease_owner="")


def note_retry(capture_id: UUID, fence: int, error: PortalError) -> None:
    """A passing fault: say it, and try again later (1, 2, 4 … 300 s, give or take a fifth)."""
    row = ChangeCapture.objects.filter(id=capture_id, fence=fence, status=CaptureStatus.RUNNING).first()
    if row is None:
        return
    delay_s = min(RETRY_MOST_S, 2.0 ** min(row.failures, 20)) * (0.8 + 0.4 * random.random())
    ChangeCapture.objects.filter(id=capture_id, fence=fence, status=CaptureStatus.RUNNING).update(
        failures=F("failures") + 1,
        retry_at=Now() + timedelta(seconds=delay_s),
        problem=problem_of(error),
        lease_until=None,
        lease_owner="",
    )
    hint(capture_id)


@transaction.atomic
def fail_capture(capture_id: UUID, error: PortalError, *, fence: int | None = None) -> bool:
    """Stop a capture until a person does something, and say so loudly.

    Args:
        capture_id: the capture.
        error: why; its remedy says what to do.
        fence: of the caller's lease; None for the disk guard, which overrules every lease.

    Returns:
        Whether it was running or paused, so that it has been stopped now.
    """
    row: ChangeCapture | None = ChangeCapture.objects.select_for_update().filter(id=capture_id).first()
    if row is None or row.status not in (CaptureStatus.RUNNING, CaptureStatus.PAUSED):
        return False
    if fence is not None and (row.fence != fence or row.status != CaptureStatus.RUNNING):
        return False
    row.status = CaptureStatus.FAILED
    row.fence += 1
    row.lease_until, row.lease_owner, row.retry_at = None, "", None
    row.problem = problem_of(error)
    row.save()
    publish_event(
        events.CAPTURE_FAILED,
        subject=f"capture/{row.id}",
        data=events.CaptureFailed(row.id, row.name, error.code, error.message, error.remedy or ""),
    )
    hint(capture_id)
    return True


def problem_of(error: PortalError) -> dict[str, Any]:
    """An error as the row keeps it."""
    return {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy or "",
        "needs_restart": isinstance(error, CaptureBroken),
        "at": now().isoformat().replace("+00:00", "Z"),
    }


def hint(capture_id: UUID) -> None:
    """Let the browsers read the capture again."""
    send_hint(require_tenant().id, "capture", capture_id)

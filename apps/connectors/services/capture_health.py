"""How captures are for their sources: retained log, lag, alarms, and the guard of the source's disk."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.connectors import events
from apps.connectors.capture.source import SlotState
from apps.connectors.choices import AlarmLevel, CapturePhase, CaptureStatus
from apps.connectors.exceptions import CaptureSlotDropped, CaptureSlotLost
from apps.connectors.models import ChangeCapture
from apps.connectors.selectors import get_capture_row
from apps.connectors.services.capture_state import fail_capture, hint, problem_of
from apps.connectors.services.captures import VIEW, delete_capture
from apps.connectors.services.sessions import open_connection
from apps.core.clock import now
from apps.core.exceptions import PortalError
from apps.events.services.outbox import publish_event

log = structlog.get_logger(__name__)

CRITICAL_SHARE = 0.8
CLEANER = Actor.system("change capture")


def claim_measurements(*, every_s: float) -> list[UUID]:
    """Captures of the entered tenant that are to be measured now; each is given to one caller."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE connectors_changecapture SET measure_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE id IN (SELECT id FROM connectors_changecapture "
            "WHERE measure_at IS NULL OR measure_at <= clock_timestamp() FOR UPDATE SKIP LOCKED) RETURNING id",
            [every_s],
        )
        return [row[0] for row in cursor.fetchall()]


def measure_capture(capture_id: UUID, *, actor: Actor) -> ChangeCapture:
    """Ask the source how the slot is, remember it, alarm, and guard its disk.

    Args:
        capture_id: the capture.
        actor: needs `capture:view`.

    Raises:
        PermissionDenied, CaptureNotFound.
    """
    check_permission(actor, VIEW)
    row = get_capture_row(capture_id)
    state: SlotState | None = None
    error = ""
    try:
        state = _look(row)
    except PortalError as fault:
        error = fault.message
    row = _remember(capture_id, state, error)
    if not error:
        _guard(row, state)
    return get_capture_row(capture_id)


def tend_capture(capture_id: UUID) -> None:
    """What the process does in turn: measure, or finish a deletion that was interrupted."""
    row = get_capture_row(capture_id)
    if row.status == CaptureStatus.DELETING:
        delete_capture(capture_id, actor=CLEANER)
    else:
        measure_capture(capture_id, actor=CLEANER)


def _look(row: ChangeCapture) -> SlotState | None:
    with open_connection(row.connection_id, "capture", time_limit_s=30) as connector:
        source = connector.change_source()
        try:
            return source.slot_state(row.slot)
        finally:
            source.close()


@transaction.atomic
def _remember(capture_id: UUID, state: SlotState | None, error: str) -> ChangeCapture:
    row: ChangeCapture = ChangeCapture.objects.select_for_update().get(id=capture_id)
    before = row.alarm
    if error:
        row.health = {**row.health, "error": error, "failed_at": _text(now())}
    elif state is None:
        row.health = {"measured_at": _text(now()), "error": "", "wal_status": "missing"}
    else:
        row.health = {
            "measured_at": _text(now()),
            "error": "",
            "wal_status": state.wal_status,
            "active": state.active_pid is not None,
            "retained_bytes": state.retained_bytes,
            "lag_bytes": state.lag_bytes,
            "safe_bytes": state.safe_bytes,
            **_lag(row, state),
        }
    level, reasons = _judge(row)
    row.alarm, row.health["reasons"] = level, reasons
    # Not the whole row: the capturing process writes its own fields meanwhile.
    row.save(update_fields=["health", "alarm", "updated_at"])
    if level != before:
        publish_event(
            events.CAPTURE_ALARM,
            subject=f"capture/{row.id}",
            data=events.CaptureAlarm(
                row.id,
                row.name,
                str(level),
                reasons,
                int(row.health.get("retained_bytes", 0)),
                int(row.health.get("lag_bytes", 0)),
                int(row.health.get("lag_s", 0)),
            ),
        )
    hint(capture_id)
    return row


def _lag(row: ChangeCapture, state: SlotState) -> dict[str, Any]:
    """Seconds since a place of the log was seen that is still not captured; 0 when the last one seen is."""
    target, seen_at = int(row.health.get("target", 0)), row.health.get("target_at")
    current = state.confirmed_lsn + state.lag_bytes
    if seen_at is None or state.confirmed_lsn >= target:
        return {"target": current, "target_at": _text(now()), "lag_s": 0}
    behind = now() - datetime.fromisoformat(seen_at)
    return {"target": target, "target_at": seen_at, "lag_s": int(behind.total_seconds())}


def _judge(row: ChangeCapture) -> tuple[AlarmLevel, list[str]]:
    health = row.health
    critical, warnings = [], []
    retained, lag_s = int(health.get("retained_bytes", 0)), int(health.get("lag_s", 0))
    if health.get("wal_status") == "missing" and row.phase != CapturePhase.NEW:
        critical.append("The replication slot is gone.")
    if health.get("wal_status") in ("unreserved", "lost"):
        critical.append("The server no longer promises to keep the log that the capture needs.")
    if retained >= row.max_wal_bytes * CRITICAL_SHARE:
        critical.append(f"The source keeps {_size(retained)} of log for it, of at most {_size(row.max_wal_bytes)}.")
    elif retained >= row.warn_wal_bytes:
        warnings.append(f"The source keeps {_size(retained)} of log for it.")
    if lag_s >= row.warn_lag_s:
        warnings.append(f"It is at least {lag_s} s behind.")
    if health.get("error"):
        warnings.append(f"Its source cannot be asked: {health['error']}")
    level = AlarmLevel.CRITICAL if critical else AlarmLevel.WARNING if warnings else AlarmLevel.OK
    return level, critical + warnings


def _guard(row: ChangeCapture, state: SlotState | None) -> None:
    """Say that a slot is lost, and drop the one that would fill the source's disk."""
    was_dropped = (row.problem or {}).get("code") == CaptureSlotDropped.code
    if state is None:
        if row.phase != CapturePhase.NEW and not was_dropped:
            fail_capture(row.id, CaptureSlotLost(value=row.slot), fence=None)
        return
    if state.wal_status == "lost":
        fail_capture(row.id, CaptureSlotLost(value=row.slot), fence=None)
    elif was_dropped and row.status == CaptureStatus.FAILED:
        _drop_slot(row)
    elif row.drop_at_limit and state.retained_bytes >= row.max_wal_bytes:
        kept = f"{_size(state.retained_bytes)} of log were kept, the limit is {_size(row.max_wal_bytes)}"
        problem = CaptureSlotDropped(f"The replication slot was dropped to keep the source's disk free: {kept}.")
        stopped = fail_capture(row.id, problem, fence=None)
        if not stopped:
            ChangeCapture.objects.filter(id=row.id, status=CaptureStatus.FAILED).update(problem=problem_of(problem))
        _drop_slot(row)


def _drop_slot(row: ChangeCapture) -> None:
    with open_connection(row.connection_id, "capture", time_limit_s=30) as connector:
        source = connector.change_source()
        try:
            source.drop_slot(row.slot)
        finally:
            source.close()
    log.warning("capture_slot_dropped", capture_id=str(row.id), slot=row.slot)


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1_000_000_000 else f"{number / 1e6:.0f} MB"


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

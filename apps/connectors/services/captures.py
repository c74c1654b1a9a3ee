"""Writes of change captures: create, pause, resume, restart, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.connectors.choices import AlarmLevel, CapturePhase, CaptureStatus
from apps.connectors.exceptions import (
    CaptureBusy,
    CaptureLimit,
    CaptureNotFound,
    ConfigInvalid,
    NameTaken,
    NotSupported,
)
from apps.connectors.models import ChangeCapture
from apps.connectors.selectors import get_connection_row
from apps.connectors.services.capture_state import hint
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError
from apps.core.ids import uuid7
from apps.tenancy.services.context import require_tenant

VIEW, EDIT = "capture:view", "capture:edit"
MAX_CAPTURES = 20
MAX_TABLES = 200
MAX_NAME_CHARS = 120
WARN_WAL_BYTES = 1_000_000_000
MAX_WAL_BYTES = 8_000_000_000
LEAST_WAL_BYTES = 16_000_000
WARN_LAG_S = 300


def create_capture(
    name: str,
    connection_id: UUID,
    tables: Sequence[str],
    *,
    publication: str = "",
    with_snapshot: bool = True,
    warn_wal_bytes: int = WARN_WAL_BYTES,
    max_wal_bytes: int = MAX_WAL_BYTES,
    drop_at_limit: bool = True,
    warn_lag_s: int = WARN_LAG_S,
    actor: Actor,
) -> ChangeCapture:
    """Begin to turn the changes of tables into events of type `row.changed.v1`.

    The database is looked at first, so that what is missing is said here, with the statements that help. The process
    `run_capture` makes the slot and does the rest.

    Args:
        name: shown name, unique.
        connection_id: a connection in use whose connector captures changes.
        tables: `schema.table`.
        publication: one that an administrator has made; the portal makes its own when empty.
        with_snapshot: publish the rows that are there first (`read`).
        warn_wal_bytes: log kept for the capture from which a warning is given.
        max_wal_bytes: log kept for the capture at which the disk guard acts.
        drop_at_limit: the disk guard drops the slot and stops the capture; else it only warns.
        warn_lag_s: seconds behind from which a warning is given.
        actor: needs `capture:edit`.

    Raises:
        PermissionDenied, ConnectionNotFound, NotSupported, ConfigInvalid, NameTaken, CaptureLimit.
        CaptureRefused: the database is not ready.
    """
    check_permission(actor, EDIT)
    row = ChangeCapture(
        id=uuid7(),
        name=_clean_name(name),
        connection=get_connection_row(connection_id),
        own_publication=not publication.strip(),
        with_snapshot=with_snapshot,
        warn_wal_bytes=warn_wal_bytes,
        max_wal_bytes=max_wal_bytes,
        drop_at_limit=drop_at_limit,
        warn_lag_s=warn_lag_s,
        created_by=actor.id,
    )
    _check_limits(row)
    names = _clean_tables(tables)
    # Unique on the server, which may be a source of several portals and tenants.
    row.slot = f"portal_{require_tenant().id.hex[:12]}_{row.id.hex}"
    row.publication = publication.strip() or row.slot
    with open_connection(connection_id, "capture") as connector:
        if not connector.capabilities.change_capture:
            raise NotSupported(
                f"Changes of {connector.manifest.name} cannot be captured.",
                field="connection",
                remedy="Choose a PostgreSQL connection, or load the tables incrementally by a cursor.",
            )
        source = connector.change_source()
        try:
            found = source.describe(names, publication=row.publication, is_own=row.own_publication)
        finally:
            source.close()
    row.tables = [table.to_json() for table in found]
    with transaction.atomic():
        _save_new(row)
        _tell(row, "created", actor, {"connection": row.connection.slug, "tables": names})
    return row


@transaction.atomic
def pause_capture(capture_id: UUID, *, actor: Actor) -> ChangeCapture:
    """Stop for a while. The source keeps its log for the time after; the disk guard goes on watching.

    Raises:
        PermissionDenied, CaptureNotFound, CaptureBusy.
    """
    return _move(capture_id, "paused", {CaptureStatus.RUNNING}, CaptureStatus.PAUSED, actor)


@transaction.atomic
def resume_capture(capture_id: UUID, *, actor: Actor) -> ChangeCapture:
    """Go on where it stopped.

    Raises:
        PermissionDenied, CaptureNotFound, CaptureBusy.
    """
    return _move(capture_id, "resumed", {CaptureStatus.PAUSED, CaptureStatus.FAILED}, CaptureStatus.RUNNING, actor)


@transaction.atomic
def restart_capture(capture_id: UUID, *, actor: Actor) -> ChangeCapture:
    """Begin again with a new slot, the tables as they are now, and every row read again.

    Raises:
        PermissionDenied, CaptureNotFound, CaptureBusy.
    """
    allowed = {CaptureStatus.RUNNING, CaptureStatus.PAUSED, CaptureStatus.FAILED}
    return _move(
        capture_id,
        "restarted",
        allowed,
        CaptureStatus.RUNNING,
        actor,
        phase=CapturePhase.NEW,
        position=0,
        system_id="",
        progress={},
        rows_read=0,
        health={},
        alarm=AlarmLevel.OK,
    )


def delete_capture(capture_id: UUID, *, force: bool = False, actor: Actor) -> None:
    """Drop slot and publication at the source, then the capture; the events stay in the log.

    When the source cannot be reached, the capture stays in state `deleting` and the process `run_capture` tries again.

    Args:
        capture_id: the capture.
        force: forget it although the slot could not be dropped; the source then keeps its log for the slot until an
            administrator drops it.
        actor: needs `capture:edit`.

    Raises:
        PermissionDenied, CaptureNotFound, and what reaching the source raises (unless `force`).
    """
    check_permission(actor, EDIT)
    with transaction.atomic():
        row = _lock(capture_id)
        if row.status != CaptureStatus.DELETING:
            row.status = CaptureStatus.DELETING
            row.fence += 1
            row.lease_until, row.lease_owner = None, ""
            row.save()
            _tell(row, "deleting", actor, {"slot": row.slot})
    left = ""
    try:
        clean_source(row)
    except PortalError as error:
        if not force:
            raise
        left = error.message
    with transaction.atomic():
        row = _lock(capture_id)
        _tell(row, "deleted", actor, {"slot": row.slot, "slot_left_because": left} if left else {"slot": row.slot})
        row.delete()


def clean_source(row: ChangeCapture) -> None:
    """Drop what the capture made at its source; what is gone is fine."""
    with open_connection(row.connection_id, "capture") as connector:
        source = connector.change_source()
        try:
            source.drop_slot(row.slot)
            if row.own_publication:
                source.drop_publication(row.publication)
        finally:
            source.close()


def _move(
    capture_id: UUID, verb: str, allowed: set[CaptureStatus], status: CaptureStatus, actor: Actor, **state: Any
) -> ChangeCapture:
    check_permission(actor, EDIT)
    row = _lock(capture_id)
    if row.status not in allowed:
        raise CaptureBusy(f"The change capture {row.name!r} is {row.status}.", field="status", value=row.status)
    row.status = status
    row.fence += 1
    row.lease_until, row.lease_owner, row.retry_at, row.failures, row.problem = None, "", None, 0, None
    for name, value in state.items():
        setattr(row, name, value)
    row.save()
    _tell(row, verb, actor, {})
    return row


def _lock(capture_id: UUID) -> ChangeCapture:
    row: ChangeCapture | None = (
        ChangeCapture.objects.select_for_update(of=("self",)).select_related("connection").filter(id=capture_id).first()
    )
    if row is None:
        raise CaptureNotFound(value=capture_id)
    return row


def _save_new(row: ChangeCapture) -> None:
    if ChangeCapture.objects.count() >= MAX_CAPTURES:
        raise CaptureLimit(f"A tenant has at most {MAX_CAPTURES} change captures.", value=MAX_CAPTURES)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise NameTaken("Another change capture has this name.", field="name", value=row.name) from None


def _check_limits(row: ChangeCapture) -> None:
    if row.warn_wal_bytes < LEAST_WAL_BYTES:
        raise ConfigInvalid(
            "A warning is given from 16 MB of log on.", field="warn_wal_bytes", value=row.warn_wal_bytes
        )
    if row.max_wal_bytes <= row.warn_wal_bytes:
        raise ConfigInvalid(
            "The limit must be larger than the warning.", field="max_wal_bytes", value=row.max_wal_bytes
        )


def _clean_tables(tables: Sequence[str]) -> list[str]:
    names = []
    for place, table in enumerate(tables):
        name = table.strip()
        if not name:
            raise ConfigInvalid("A table has a name.", field=f"tables[{place}]", value=table)
        name = name if "." in name else f"public.{name}"
        if name not in names:
            names.append(name)
    if not 0 < len(names) <= MAX_TABLES:
        raise ConfigInvalid(f"A change capture has 1 to {MAX_TABLES} tables.", field="tables", value=len(names))
    return names


def _clean_name(name: str) -> str:
    cleaned = " ".join(name.split())
    if not cleaned or len(cleaned) > MAX_NAME_CHARS:
        raise ConfigInvalid(f"A name has 1 to {MAX_NAME_CHARS} characters.", field="name", value=name)
    return cleaned


def _tell(row: ChangeCapture, verb: str, actor: Actor, facts: dict[str, Any]) -> None:
    record_audit(
        actor=actor,
        action=f"capture.{verb}",
        target_type="capture",
        target_id=row.id,
        summary=f"Change capture {row.name} was {verb}",
        facts=facts,
    )
    hint(row.id)

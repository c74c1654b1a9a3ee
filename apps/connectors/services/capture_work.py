"""One capture at work: the slot, the first snapshot, then the stream, until it is told to stop."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from apps.connectors import events
from apps.connectors.capture import pgoutput
from apps.connectors.capture.rows import CapturedTable, Place, RowEvent, RowPublisher
from apps.connectors.capture.schemas import follow_relation
from apps.connectors.capture.snapshots import Segment, Segments
from apps.connectors.capture.source import ChangeSource, TableReader
from apps.connectors.capture.stream import Data, Keepalive, ReplicationStream
from apps.connectors.choices import CapturePhase
from apps.connectors.exceptions import (
    CaptureGap,
    CaptureOtherServer,
    CaptureSlotLost,
    CaptureTruncated,
    SystemUnavailable,
)
from apps.connectors.models import ChangeCapture
from apps.connectors.selectors import get_capture_row
from apps.connectors.services.capture_state import (
    CaptureWriter,
    LeaseLost,
    fail_capture,
    hint,
    note_retry,
    release_lease,
    write_fenced,
)
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError, TransientError
from apps.events.contracts import to_full_type
from apps.events.services.outbox import NewEvent
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

log = structlog.get_logger(__name__)

ROW_CHANGED = to_full_type(events.ROW_CHANGED)
CAPTURE_SCHEMA_CHANGED = to_full_type(events.CAPTURE_SCHEMA_CHANGED)
COMMIT_ROWS = 1000
"""Small transactions of the source share a commit of ours, up to about so many rows."""
TICK_S = 5.0
WAIT_S = 0.5


class CaptureWorker:
    """Works on one capture under one lease, in a thread of its own."""

    def __init__(self, tenant: Tenant, capture_id: UUID, fence: int) -> None:
        """Prepare; `run` does the work."""
        self.tenant = tenant
        self.capture_id = capture_id
        self.fence = fence
        self.stop = threading.Event()
        self._writer = CaptureWriter(capture_id, fence)

    def run(self) -> None:
        """Capture until stopped, until the lease is gone, or until a fault. Never raises."""
        facts = {"tenant": self.tenant.slug, "capture_id": str(self.capture_id), "fence": self.fence}
        with tenant_context(self.tenant):
            try:
                self._work()
                release_lease(self.capture_id, self.fence)
            except LeaseLost:
                log.info("capture_lease_lost", **facts)
            except PortalError as error:
                log.warning("capture_stopped", **facts, code=error.code, error=error.message)
                self._settle(error)
            except Exception:  # a fault of ours, told in the log; one capture's fault must not end the others' process
                log.exception("capture_fault", **facts)
                self._settle(
                    SystemUnavailable("The portal could not go on with the capture; it tries again by itself.")
                )
            finally:
                connection.close()

    def _settle(self, error: PortalError) -> None:
        try:
            self._writer.abandon()
            if isinstance(error, TransientError):
                note_retry(self.capture_id, self.fence, error)
            else:
                fail_capture(self.capture_id, error, fence=self.fence)
        except Exception as fault:  # noqa: BLE001 - our own database is away: the lease runs out and another takes over
            log.warning("capture_unsettled", capture_id=str(self.capture_id), error=type(fault).__name__)

    def _work(self) -> None:
        row = get_capture_row(self.capture_id)
        with open_connection(row.connection_id, "capture") as connector:
            source = connector.change_source()
            try:
                self._capture(row, source)
            finally:
                source.close()

    def _capture(self, row: ChangeCapture, source: ChangeSource) -> None:
        if row.phase == CapturePhase.NEW:
            self._begin(row, source)
        else:
            self._check_slot(row, source)
            if row.phase == CapturePhase.SNAPSHOT:
                self._go_on_with_snapshot(row, source)
        if not self.stop.is_set():
            self._stream(row, source)

    # -- the slot and the first snapshot ---------------------------------------------------------------------

    def _begin(self, row: ChangeCapture, source: ChangeSource) -> None:
        names = [table["name"] for table in row.tables]
        if row.own_publication:
            source.create_publication(row.publication, names)
        tables = source.describe(names, publication=row.publication, is_own=row.own_publication)
        # What an attempt left that was interrupted before it could say so; nothing of it was published.
        source.drop_slot(row.slot)
        slot = source.create_slot(row.slot)
        try:
            self._save(
                row,
                phase=CapturePhase.SNAPSHOT if row.with_snapshot else CapturePhase.STREAMING,
                position=slot.consistent_lsn,
                system_id=source.system_id(),
                tables=[table.to_json() for table in tables],
                progress={"done": 0, "after": None, "segments": []},
            )
            if row.with_snapshot:
                with source.snapshot(slot.snapshot) as reader:
                    slot.close()
                    self._read_tables(row, reader, slot.consistent_lsn)
        finally:
            slot.close()

    def _check_slot(self, row: ChangeCapture, source: ChangeSource) -> None:
        if source.system_id() != row.system_id:
            raise CaptureOtherServer(value=row.system_id)
        state = source.slot_state(row.slot)
        if state is None or state.wal_status == "lost":
            raise CaptureSlotLost(value=row.slot)
        if state.confirmed_lsn > row.position:
            raise CaptureGap(value=row.slot)
        if state.active_pid is not None:
            # A process that lost its lease still holds the slot; what it writes is refused already.
            source.free_slot(row.slot)

    def _go_on_with_snapshot(self, row: ChangeCapture, source: ChangeSource) -> None:
        with source.snapshot(None) as reader:
            segments = list(row.progress["segments"])
            for number, table in enumerate(row.tables):
                if number >= row.progress["done"]:
                    after = row.progress["after"] if number == row.progress["done"] else None
                    found = Segment(table["name"], after and tuple(after), reader.snapshot, reader.lsn)
                    segments.append(found.to_json())
            self._save(row, progress={**row.progress, "segments": segments})
            self._read_tables(row, reader, reader.lsn)

    def _read_tables(self, row: ChangeCapture, reader: TableReader, lsn: int) -> None:
        publisher = RowPublisher(row.id, row.connection.slug)
        tables = [CapturedTable.from_json(document) for document in row.tables]
        place = Place(lsn)
        for number in range(row.progress["done"], len(tables)):
            table = tables[number]
            for rows in reader.read(table, row.progress["after"]):
                if self.stop.is_set():
                    return
                for values in rows:
                    self._add(publisher.read(table, values, place))
                progress = {**row.progress, "done": number, "after": list(table.key_of(rows[-1]))}
                self._save(row, progress=progress, rows_read=row.rows_read + len(rows))
            self._save(row, progress={**row.progress, "done": number + 1, "after": None})
        self._save(row, phase=CapturePhase.STREAMING)

    # -- the stream ------------------------------------------------------------------------------------------

    def _stream(self, row: ChangeCapture, source: ChangeSource) -> None:
        stream = source.stream(row.slot, row.publication, row.position)
        try:
            self._clear_problem(row)
            _Follower(self, row, source, stream).run()
        finally:
            self._writer.abandon()
            stream.close()

    def _clear_problem(self, row: ChangeCapture) -> None:
        self._save(row, failures=0, retry_at=None, problem=None)

    def _save(self, row: ChangeCapture, **state: Any) -> None:
        """Commit what was written together with this state."""
        if self._writer.is_dirty:
            self._writer.commit(**state)
        else:
            write_fenced(self.capture_id, self.fence, **state)
        for name, value in state.items():
            setattr(row, name, value)
        if "phase" in state or "problem" in state:
            hint(self.capture_id)

    def _add(self, event: RowEvent) -> None:
        self._writer.add(NewEvent(ROW_CHANGED, event.text, event.subject, event.subject))


class _Follower:
    """Turns the messages of one stream into events."""

    def __init__(self, worker: CaptureWorker, row: ChangeCapture, source: ChangeSource, stream: ReplicationStream):
        """Start where the row says."""
        self._worker = worker
        self._writer = worker._writer
        self._row = row
        self._source = source
        self._stream = stream
        self._publisher = RowPublisher(row.id, row.connection.slug)
        self._tables = {one["name"]: CapturedTable.from_json(one) for one in row.tables}
        self._segments = Segments([Segment.from_json(one) for one in row.progress.get("segments", [])], self._tables)
        self._relations: dict[int, CapturedTable | None] = {}
        self._begun: pgoutput.Begin | None = None
        self._number = 0
        self._stored = row.position
        self._reached = row.position
        self._changes = 0
        self._committed_at: datetime | None = None
        self._has_new_schema = False

    def run(self) -> None:
        """Follow the stream until the worker is stopped."""
        next_tick = time.monotonic()
        while not self._worker.stop.is_set():
            settled = self._begun is None and self._writer.is_dirty
            frame = self._stream.read(0.0 if settled else WAIT_S)
            if isinstance(frame, Data):
                self._take(pgoutput.decode(frame.payload))
            elif isinstance(frame, Keepalive):
                if self._begun is None:
                    self._reached = max(self._reached, frame.wal_end)
                if frame.reply_wanted:
                    self._stream.reply()
            if self._begun is None and self._writer.is_dirty and (frame is None or self._changes >= COMMIT_ROWS):
                self._commit()
            if time.monotonic() >= next_tick:
                self._tick()
                next_tick = time.monotonic() + TICK_S
        if self._begun is None and self._writer.is_dirty:
            self._commit()

    def _tick(self) -> None:
        """While nothing of interest happens, let the server drop the log that others write."""
        if self._begun is None and not self._writer.is_dirty and self._reached > self._stored:
            self._commit()
        else:
            self._stream.reply()

    def _commit(self) -> None:
        """First ours, then the server's: what it forgets is safe."""
        state: dict[str, Any] = {"position": self._reached}
        if self._changes:
            state["changes"] = self._row.changes + self._changes
            state["last_commit_at"] = self._committed_at
        if self._has_new_schema:
            state["tables"] = [table.to_json() for table in self._tables.values()]
        if self._row.progress.get("segments") and self._segments.is_over(self._reached):
            state["progress"] = {**self._row.progress, "segments": []}
        self._worker._save(self._row, **state)
        self._stored, self._changes, self._has_new_schema = self._reached, 0, False
        self._stream.confirm(self._stored)

    def _take(self, message: pgoutput.Message | None) -> None:
        if isinstance(message, pgoutput.RowChange):
            self._take_change(message)
        elif isinstance(message, pgoutput.Begin):
            self._begun, self._number = message, 0
        elif isinstance(message, pgoutput.Commit):
            if self._begun is not None:
                self._committed_at = self._begun.committed_at
            self._begun = None
            self._reached = max(self._reached, message.end_lsn)
        elif isinstance(message, pgoutput.Relation):
            self._take_relation(message)
        elif isinstance(message, pgoutput.Truncate):
            self._take_truncate(message)

    def _take_change(self, change: pgoutput.RowChange) -> None:
        table = self._relations[change.relation]
        begun = self._begun
        assert begun is not None
        if table is None or begun.lsn < self._stored:
            return
        self._number += 1
        place = Place(begun.lsn, self._number, begun.transaction, begun.committed_at)
        overlaps = not self._segments.is_over(begun.lsn)
        for key, event in self._publisher.change(table, change, place):
            if not (overlaps and self._segments.contain(table, key, begun.transaction)):
                self._worker._add(event)
                self._changes += 1

    def _take_truncate(self, message: pgoutput.Truncate) -> None:
        begun = self._begun
        assert begun is not None
        for relation in message.relations:
            table = self._relations.get(relation)
            if table is None or begun.lsn < self._stored:
                continue
            if not self._segments.is_over(begun.lsn) and self._segments.contain_any(table.name, begun.transaction):
                raise CaptureTruncated(f"{table.name} was emptied while its first snapshot was resumed.")
            self._number += 1
            place = Place(begun.lsn, self._number, begun.transaction, begun.committed_at)
            self._worker._add(self._publisher.truncate(table, place))
            self._changes += 1

    def _take_relation(self, relation: pgoutput.Relation) -> None:
        known = self._tables.get(relation.name)
        if known is None:
            self._relations[relation.id] = None
            return
        table, change = follow_relation(known, relation, self._source.type_name)
        self._relations[relation.id] = self._tables[relation.name] = table
        if change is not None:
            self._has_new_schema = True
            subject = f"capture/{self._row.id}"
            data = {"capture": str(self._row.id), "name": self._row.name, **change}
            text = json.dumps(data, ensure_ascii=False)
            self._writer.add(NewEvent(CAPTURE_SCHEMA_CHANGED, text, subject, subject))

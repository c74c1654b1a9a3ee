"""The fused stage of one partition: extract → identify → map, filter, validate → stage, with bounded memory.

Two threads work on it. The producer reads and maps (Arrow and DuckDB, which let go of the interpreter); the caller's
thread stages, keeps rejected rows and reports progress. Between them at most `QUEUED_BATCHES` batches wait, so memory
is bounded by the batch and never by the load.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from apps.engine.contracts import StepContext
from apps.engine.exceptions import CountsDiffer

QUEUED_BATCHES = 2
WAIT_S = 0.2
JOIN_S = 1.0
KEPT_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class Piece:
    """One batch after mapping, on its way to the staging area.

    Attributes:
        accepted: `_row_id` and the target columns.
        rejected: rows for the quarantine, ready to be written: of this batch, or of several before it.
        refused: rows of the source batch that go to the quarantine, with this piece or a later one.
        read, filtered: rows of the source batch, and those that the filter left out.
        size_bytes: size of the source batch.
    """

    accepted: list[pa.RecordBatch]
    rejected: list[Any]
    refused: int
    read: int
    filtered: int
    size_bytes: int


class Pipeline:
    """Runs the producer and hands accepted batches to whoever stages them."""

    def __init__(
        self,
        context: StepContext,
        batches: Iterable[pa.RecordBatch],
        transform: Callable[[pa.RecordBatch], Piece],
        finish: Callable[[], Piece],
        keep: Callable[[list[Any]], None],
        *,
        keep_rows: int = 1_000,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            context: progress, cancellation and fencing.
            batches: the source; consumed in the producer's thread only.
            transform: maps one source batch; called in the producer's thread only.
            finish: what is left after the last batch; called in the producer's thread only.
            keep: writes rejected rows; called in the caller's thread, with at most `keep_rows` at once.
            keep_rows: rejected rows that are written at once. Few, because nobody feeds the staging area meanwhile;
                at most twice as many wait in memory, fewer when they are large.
        """
        self._context = context
        self._batches = batches
        self._transform = transform
        self._finish = finish
        self._keep = keep
        self._keep_rows = keep_rows
        self._queue: queue.Queue[Piece | BaseException | None] = queue.Queue(maxsize=QUEUED_BATCHES)
        self._stop = threading.Event()
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._owed = 0
        self.failure: BaseException | None = None

    def accepted(self) -> Iterator[pa.RecordBatch]:
        """Accepted batches, while rejected rows are kept and progress is reported on the way.

        What goes wrong in here is also in `failure`: a driver that pulls from this iterator may wrap the error in one
        of its own.
        """
        producer = threading.Thread(target=self._produce, name=f"extract {self._context.path}", daemon=True)
        producer.start()
        try:
            while True:
                piece = self._next()
                if piece is None:
                    break
                self._count(piece)
                self._context.tick()
                yield from piece.accepted
                self._waiting += piece.rejected
                self._waiting_bytes += sum(len(row.payload) for row in piece.rejected)
                self._keep_some()
                while len(self._waiting) > 2 * self._keep_rows or self._waiting_bytes >= KEPT_BYTES:
                    self._keep_some()
            while self._waiting:
                self._keep_some()
            if self._owed:
                raise CountsDiffer(f"{self._owed} rejected rows never reached the quarantine.")
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._stop.set()
            # A producer that hangs in a slow source ends when its connection is closed; nobody waits for it.
            producer.join(timeout=JOIN_S)

    def _produce(self) -> None:
        try:
            for batch in self._batches:
                if self._stop.is_set():
                    return
                self._put(self._transform(batch))
            self._put(self._finish())
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._put(error)
        finally:
            close = getattr(self._batches, "close", None)
            if close is not None:
                close()

    def _put(self, item: Piece | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=WAIT_S)
                return
            except queue.Full:
                continue

    def _next(self) -> Piece | None:
        while True:
            try:
                item = self._queue.get(timeout=WAIT_S)
            except queue.Empty:
                # A slow source must not keep a cancelled run alive.
                self._context.tick()
                continue
            if isinstance(item, BaseException):
                raise item
            return item

    def _count(self, piece: Piece) -> None:
        accepted = sum(batch.num_rows for batch in piece.accepted)
        if piece.read != accepted + piece.refused + piece.filtered:
            raise CountsDiffer(
                f"Of {piece.read} rows read, {accepted} were accepted, {piece.refused} rejected and"
                f" {piece.filtered} filtered: they do not add up."
            )
        stats = self._context.stats
        stats.rows_read += piece.read
        stats.rows_accepted += accepted
        stats.rows_quarantined += piece.refused
        self._owed += piece.refused - len(piece.rejected)
        stats.rows_filtered += piece.filtered
        stats.bytes += piece.size_bytes

    def _keep_some(self) -> None:
        if self._waiting:
            rows, self._waiting = self._waiting[: self._keep_rows], self._waiting[self._keep_rows :]
            self._waiting_bytes -= sum(len(row.payload) for row in rows)
            self._keep(rows)

"""A locked engine: no files, no network, no extensions, no settings, bounded memory, threads and time.

Bounds at run time are the second fence; the first is that only `rendering` writes the SQL.
"""

from __future__ import annotations

import atexit
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from apps.expressions.exceptions import EvaluationFailed, EvaluationMemory, EvaluationTimeout, SandboxFailed

DEFAULT_MEMORY_MB = 256
DEFAULT_TIMEOUT_S = 5.0

# Order matters: nothing after `enable_external_access` may touch paths, nothing at all comes after the lock.
_LOCKS = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET enable_external_file_cache = false",
    "SET max_temp_directory_size = '0KB'",
    "SET errors_as_json = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class _Watchdog:
    """One thread for the process that interrupts connections whose time is up."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: list[tuple[float, int, duckdb.DuckDBPyConnection]] = []
        self._live: set[int] = set()
        self._fired: set[int] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def guard(self, connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[list[bool]]:
        """Interrupt `connection` unless the block ends in time; the yielded list gets an item when that happened."""
        number = next(self._numbers)
        fired: list[bool] = []
        with self._condition:
            if self._thread is None or not self._thread.is_alive():  # a forked child has no threads of its parent
                self._thread = threading.Thread(target=self._watch, name="expression-watchdog", daemon=True)
                self._thread.start()
            heapq.heappush(self._queue, (time.monotonic() + timeout_s, number, connection))
            self._live.add(number)
            if self._queue[0][1] == number:
                self._condition.notify()
        try:
            yield fired
        finally:
            with self._condition:
                self._live.discard(number)
                if len(self._queue) > 64:  # ended in time; the thread would only meet them when they are due
                    self._queue = [item for item in self._queue if item[1] in self._live]
                    heapq.heapify(self._queue)
                if number in self._fired:
                    self._fired.discard(number)
                    fired.append(True)

    def clear(self) -> None:
        """Forget all connections (the interpreter ends)."""
        with self._condition:
            self._queue.clear()
            self._live.clear()

    def _watch(self) -> None:
        with self._condition:
            while True:
                while self._queue and self._queue[0][1] not in self._live:
                    heapq.heappop(self._queue)
                if not self._queue:
                    self._condition.wait()
                    continue
                left = self._queue[0][0] - time.monotonic()
                if left > 0:
                    self._condition.wait(left)
                    continue
                _, number, connection = self._queue[0]
                self._fired.add(number)
                connection.interrupt()
                # Once may be too early (between two statements) and is repeated until the block has ended.
                heapq.heapreplace(self._queue, (time.monotonic() + 0.05, number, connection))
                del connection  # this thread never ends and must not keep closed engines alive


_watchdog = _Watchdog()


class Sandbox:
    """One locked connection. Not for several threads at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, memory_mb: int, threads: int) -> None:
        """Wrap a connection that `open_sandbox` has locked."""
        self._connection = connection
        self.memory_mb = memory_mb
        self.threads = threads
        self.broken = False

    def run(
        self, sql: str, timeout_s: float = DEFAULT_TIMEOUT_S, *, parameters: Sequence[Any] | None = None
    ) -> pa.Table:
        """The whole result of one SELECT.

        Raises:
            EvaluationTimeout, EvaluationMemory: bounds.
            EvaluationFailed: the engine refused or failed; `facts["engine"]` is its text.
        """
        with self._guarded(timeout_s):
            return self._connection.sql(sql, params=parameters).to_arrow_table()

    def rows(
        self, sql: str, timeout_s: float = DEFAULT_TIMEOUT_S, parameters: Sequence[Any] | None = None
    ) -> list[Any]:
        """The result as tuples of Python values; for small results without instants (TIMESTAMPTZ needs Arrow)."""
        with self._guarded(timeout_s):
            return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, *, batch_rows: int = 65_536, timeout_s: float = 3_600.0) -> Iterator[pa.RecordBatch]:
        """The result in batches; the time bound counts for each batch.

        Raises: as `run`, at the batch where it happens.
        """
        with self._guarded(timeout_s):
            reader = self._connection.sql(sql).to_arrow_reader(batch_rows)
        while True:
            with self._guarded(timeout_s):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    @contextlib.contextmanager
    def relation(self, name: str, data: pa.Table | pa.RecordBatch | pa.RecordBatchReader) -> Iterator[None]:
        """Make Arrow data readable under `name` within the block."""
        self._connection.register(name, data)
        try:
            yield
        finally:
            self._connection.unregister(name)

    def close(self) -> None:
        """Give everything back; may be called twice."""
        self._connection.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _guarded(self, timeout_s: float) -> Iterator[None]:
        with _watchdog.guard(self._connection, timeout_s) as fired:
            try:
                yield
            except duckdb.InterruptException:
                raise EvaluationTimeout(f"Stopped after {timeout_s:g} s.", timeout_s=timeout_s) from None
            except (duckdb.OutOfMemoryException, MemoryError):
                raise EvaluationMemory(f"More than {self.memory_mb} MB needed.", memory_mb=self.memory_mb) from None
            except (duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException) as error:
                self.broken = True
                raise SandboxFailed(engine=_first_line(error)) from error
            except (duckdb.Error, pa.ArrowException) as error:
                text = str(error)
                if "Interrupt" in text:
                    raise EvaluationTimeout(f"Stopped after {timeout_s:g} s.", timeout_s=timeout_s) from None
                if "Out of Memory" in text or "failed to allocate" in text:
                    raise EvaluationMemory(f"More than {self.memory_mb} MB needed.", memory_mb=self.memory_mb) from None
                raise EvaluationFailed(_first_line(error), engine=_first_line(error)) from error
        if fired:
            # The interrupt came as the statement was ending: the result stands, the next statement must not inherit it.
            with contextlib.suppress(duckdb.Error):
                self._connection.execute("SELECT 1").fetchall()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def open_sandbox(memory_mb: int = DEFAULT_MEMORY_MB, threads: int = 1) -> Sandbox:
    """A new locked engine in memory.

    Args:
        memory_mb: limit of the engine's buffers; text functions can overshoot it by a batch, so that workers set an
            address-space limit as well.
        threads: threads of one statement.

    Returns:
        A connection without tables, on which files, settings, extensions and secrets are out of reach.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": str(threads),
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "temp_directory": "",
        },
    )
    for statement in _LOCKS:
        connection.execute(statement)
    return Sandbox(connection, memory_mb=memory_mb, threads=threads)


_local = threading.local()


@atexit.register
def _close_all() -> None:
    """Connections that outlive the interpreter make the binding complain about leaks."""
    drop_thread_sandbox()
    _watchdog.clear()


def thread_sandbox() -> Sandbox:
    """This thread's sandbox for checks and small evaluations; opened on first use, kept until the engine breaks."""
    found: Sandbox | None = getattr(_local, "sandbox", None)
    if found is not None and found.broken:
        drop_thread_sandbox()
        found = None
    if found is None:
        found = _local.sandbox = open_sandbox()
    return found


def drop_thread_sandbox() -> None:
    """Close this thread's sandbox; the next use opens a fresh one."""
    found: Sandbox | None = getattr(_local, "sandbox", None)
    if found is not None:
        _local.sandbox = None
        found.close()

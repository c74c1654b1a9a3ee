"""The one protocol behind every system: `ConnectorBase` to read and look, `Writer` to load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from apps.connectors.contracts import (
    Capabilities,
    CheckResult,
    CheckStep,
    ConnectionContext,
    ConsumeRequest,
    Control,
    EntityPage,
    EntitySchema,
    IncomingMessage,
    Manifest,
    Partition,
    QueryRequest,
    ReadRequest,
    RejectedRecord,
    StagedPart,
    StatsRequest,
    Watermark,
    WriteRequest,
    WriteResult,
)
from apps.connectors.exceptions import NotSupported
from apps.core.exceptions import PortalError

if TYPE_CHECKING:
    from apps.connectors.capture.source import ChangeSource


class ConnectorType:
    """A connector that is installed: its manifest and the class that speaks to the system."""

    def __init__(self, manifest: Manifest, connector_class: type[ConnectorBase]) -> None:
        """Bind the manifest to the class."""
        self.type = manifest.id
        self.manifest = manifest
        self.connector_class = connector_class

    def create(self, context: ConnectionContext) -> ConnectorBase:
        """A connector that is not connected yet."""
        return self.connector_class(self.manifest, context)


class Writer(ABC):
    """A staged, resumable, idempotent load of one entity by one run."""

    def __init__(self, request: WriteRequest) -> None:
        """Keep the request; opening does not touch the target."""
        self.request = request

    @property
    def repeatable(self) -> bool:
        """Whether the same request a second time has no second effect: by a marker in the target, or by its keys.

        Where it has one, a person decides after a crash, as nobody can know whether the first one arrived.
        """
        return True

    @abstractmethod
    def stage(self, batches: Iterable[pa.RecordBatch], *, part: str) -> StagedPart:
        """Write one part of the rows to the run's staging area.

        Staging the same part again replaces it, so a part whose worker died is simply staged anew. Several processes
        may stage different parts of one run at once.

        Args:
            batches: columns of `request.schema` by name, and `_row_id` BIGINT if lineage is wanted.
            part: name of the part, unique in the run (`p0`, `p1`, …).

        Returns:
            Rows, bytes and checksum of what is now durable in staging.

        Raises:
            WriteRefused: a value does not fit; facts name the column.
            OutOfSpace: the target's disk is full; the target itself is unchanged.
        """

    def stage_select(self, select: str, *, part: str, snapshot: str | None = None) -> StagedPart:
        """Push-down: stage the rows of a SELECT that runs inside the target's own database.

        Args:
            select: gives `_row_id` and the columns of `request.schema` by name.
            part: as in `stage`.
            snapshot: exported snapshot to read the source in.
        """
        raise NotSupported("This target takes no statements.", value=part)

    def staged_stats(self, parts: Sequence[StagedPart], controls: Sequence[Control]) -> dict[str, str | None]:
        """Control totals over the staged rows, computed in the target system before `finish` drops them."""
        raise NotSupported("This target computes no control totals.", value=self.request.entity)

    @abstractmethod
    def duplicates(self, parts: Sequence[StagedPart]) -> Iterator[pa.RecordBatch]:
        """Staged rows that lose to a later row with the same key: all staged columns, `_row_id` included.

        Cheap when there are none. Call before `finish`; the engine quarantines them under rule `duplicate_key`.
        """

    @abstractmethod
    def finish(self, parts: Sequence[StagedPart], *, allow_empty: bool, marker: str) -> WriteResult:
        """Bring the staged parts into the target in one transaction, with a marker of the finished load.

        Calling it again for a finished run returns the stored result and changes nothing.

        Raises:
            EmptyExtract: no rows, disposition replace (or `retire_missing`) and `allow_empty` is False.
            DuplicateKeys: `on_duplicate` is `refuse`.
            SchemaChanged: the target needs a change that is not allowed.
        """

    @abstractmethod
    def abort(self) -> None:
        """Drop the run's staging area. The target is unchanged. Safe to repeat.

        A later `finish` of the same run is refused until the run stages again.
        """


class MessageSource(ABC):
    """Messages of one queue or topic, taken one batch after the other. Not thread-safe."""

    @abstractmethod
    def receive(self, limit: int, *, wait_s: float) -> list[IncomingMessage]:
        """Messages that are there, at most `limit`, in the broker's order; none after `wait_s` without any.

        Raises:
            SystemUnavailable: the connection is lost; what was not acknowledged comes again.
            EntityGone: the queue or topic is gone.
        """

    @abstractmethod
    def acknowledge(self, messages: Sequence[IncomingMessage]) -> None:
        """Tell the broker that a whole batch of `receive` is kept; call it after the commit, never before.

        Raises:
            SystemUnavailable: they may come again.
        """

    def lag(self) -> int | None:
        """Messages that wait at the broker; None where it does not tell."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Leave; what was not acknowledged stays with the broker. Safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Snapshot(ABC):
    """A consistent view of the source that stays open until it is closed."""

    id: str

    @abstractmethod
    def close(self) -> None:
        """Let the view go. Safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ConnectorBase(ABC):
    """One system. Not thread-safe; open one per thread."""

    main: ClassVar[str] = "connector.py"

    def __init__(self, manifest: Manifest, context: ConnectionContext) -> None:
        """Make a connector that is not connected."""
        self.manifest = manifest
        self.context = context
        self.config: dict[str, Any] = {}
        self.rejected: list[RejectedRecord] = []

    @property
    def capabilities(self) -> Capabilities:
        """What this connector can do."""
        return self.manifest.capabilities

    @abstractmethod
    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Take the settings; opens the system lazily or at once.

        Raises:
            EgressDenied, HostUnknown, SystemUnavailable, CredentialsRefused, TlsFailed: said with a remedy.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Release everything. Safe to repeat."""

    @abstractmethod
    def check(self) -> CheckResult:
        """Try the settings step by step. A failing system is a result; only a fault of the portal raises."""

    @abstractmethod
    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Entities whose name contains `search`, ordered by name, one page at a time."""

    @abstractmethod
    def describe(self, entity: str) -> EntitySchema:
        """Structure of an entity.

        Raises:
            EntityGone: it does not exist or is not readable.
        """

    @abstractmethod
    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """Rows as Arrow batches of at most `batch_rows`, streamed: memory is bounded by the batch.

        Every batch ends with `_source_position` (BIGINT). Records that cannot be read on their own are collected in
        `self.rejected`, never dropped silently.
        """

    def plan_partitions(self, entity: str, count: int, *, column: str | None = None) -> tuple[Partition, ...]:
        """At most `count` disjoint parts that together are the whole entity."""
        del entity, count, column
        return (Partition(),)

    def open_snapshot(self) -> Snapshot:
        """One consistent view for several readers; stays open until closed."""
        raise NotSupported(f"{self.manifest.name} cannot hold a consistent snapshot.")

    def watermark(self, entity: str, column: str) -> Watermark:
        """How far an incremental load may read now without missing rows that commit late."""
        del entity, column
        return Watermark(value=None)

    def stats(self, request: StatsRequest) -> dict[str, str | None]:
        """Control totals by name, as exact decimal text, computed in the system."""
        raise NotSupported(f"{self.manifest.name} computes no control totals.", value=request.entity)

    def open_writer(self, request: WriteRequest) -> Writer:
        """A staged load into an entity."""
        raise NotSupported(f"{self.manifest.name} does not write.", value=request.entity)

    def query(self, request: QueryRequest) -> Iterator[pa.RecordBatch]:
        """Rows of a read-only statement in the system's own language."""
        raise NotSupported(f"{self.manifest.name} does not take statements.", value=request.text[:80])

    def open_consumer(self, request: ConsumeRequest) -> MessageSource:
        """Messages of a queue or topic as they come."""
        raise NotSupported(f"{self.manifest.name} has no messages to consume.", value=request.source)

    def pushdown_url(self) -> str | None:
        """Identity of the physical database; equal values mean one statement can reach both. None: never."""
        return None

    def table_sql(self, entity: str) -> str | None:
        """Quoted, qualified name of an entity for push-down statements; None when it is not a plain table."""
        del entity
        return None

    def change_source(self) -> ChangeSource:
        """The system as a source of changes; close it after use."""
        raise NotSupported(f"Changes of {self.manifest.name} cannot be captured.")

    def session(self) -> AbstractContextManager[Any]:
        """The system's own session, for push-down statements within one database."""
        raise NotSupported(f"{self.manifest.name} has no session to share.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()


class CheckRun:
    """Collects the steps of a check; stops at the first that fails."""

    def __init__(self) -> None:
        """Start with no steps."""
        self._steps: list[CheckStep] = []
        self._failure: PortalError | None = None

    @property
    def failed(self) -> bool:
        """Whether a step has failed; later steps are then not tried."""
        return self._failure is not None

    def step(self, name: str, action: Callable[[], str]) -> None:
        """Run one step unless an earlier one failed. `action` returns the sentence to show."""
        if self._failure is not None:
            return
        started = perf_counter()
        try:
            message, ok = action(), True
        except PortalError as error:
            message, ok, self._failure = error.message, False, error
        self._steps.append(CheckStep(name, ok, message, round((perf_counter() - started) * 1000)))

    def result(self, message: str) -> CheckResult:
        """The outcome; `message` is shown when every step passed."""
        steps = tuple(self._steps)
        if self._failure is None:
            return CheckResult(ok=True, steps=steps, message=message)
        return CheckResult(False, steps, self._failure.code, self._failure.message, self._failure.remedy or "")

"""Words that connectors and their users share."""

from __future__ import annotations

from enum import StrEnum


class Disposition(StrEnum):
    """What a load does with the rows that are already in the target."""

    APPEND = "append"
    UPSERT = "upsert"
    REPLACE = "replace"
    SCD2 = "scd2"


class ConnectionStatus(StrEnum):
    """What the last check of a connection said."""

    NEW = "new"
    OK = "ok"
    FAILING = "failing"


class CircuitState(StrEnum):
    """Whether a connection's system is called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class EntityKind(StrEnum):
    """What an entity is in its system."""

    TABLE = "table"
    VIEW = "view"
    FILE = "file"
    RESOURCE = "resource"


class PartitionKind(StrEnum):
    """How a partition cuts an entity."""

    WHOLE = "whole"
    RANGE = "range"
    BLOCKS = "blocks"
    BYTES = "bytes"


class Aggregate(StrEnum):
    """Control totals a system computes over its own rows."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    KEY_HASH = "key_hash"


class WatermarkMethod(StrEnum):
    """How a high watermark keeps clear of rows that are written but not yet committed."""

    OPEN_TRANSACTIONS = "open_transactions"
    SNAPSHOT = "snapshot"
    NONE = "none"


class CaptureStatus(StrEnum):
    """`running` is worked on; `failed` waits for a person; `deleting` waits for its slot to be dropped."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    DELETING = "deleting"


class CapturePhase(StrEnum):
    """`new` has no slot yet; `snapshot` reads the rows that were there; `streaming` follows the changes."""

    NEW = "new"
    SNAPSHOT = "snapshot"
    STREAMING = "streaming"


class AlarmLevel(StrEnum):
    """How a capture's slot is for the source."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

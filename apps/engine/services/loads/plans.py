"""What `load/open` found out and decided, as data that survives a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from apps.connectors.contracts import CursorRange, EntitySchema, Partition
from apps.engine.services.loads.controls import COUNT
from apps.expressions.contracts import Field, Schema

OPEN = "load/open"
PUSHDOWN = "load/pushdown"
FINISH = "load/finish"
RECONCILE = "load/reconcile"
CHECKPOINT = "load/checkpoint"

PART_SHIFT = 52
"""`_row_id` is partition index * 2**52 + source position: unique in a load, rising with the source's order."""


def part_path(index: int) -> str:
    """Path of one partition's step."""
    return f"load/part[{index}]"


@dataclass(frozen=True)
class LoadPlan:
    """The decisions of one load.

    Attributes:
        source_connection, target_connection: connections that the slots mean in this environment; the source is None
            for a replay, whose rows come from the quarantine.
        source_entity, target_entity: as in the definition.
        disposition, keys: how rows enter the target.
        columns: source columns to read, in order.
        source_fields: types of `columns` as the mapping sees them: {name, type, nullable}.
        casts: {column: type} where the contract's type differs from the source's present one.
        null_columns: contract columns that are gone and read as NULL.
        quarantine_columns: new columns whose values send a row to the quarantine.
        quarantine_all: why every row goes to the quarantine, or None.
        target_fields: {name, type, nullable} of the target.
        partitions: JSON of the source's partitions; one at least.
        cursor: JSON of the range to read, None for everything.
        next_cursor: what the checkpoint stores: {column, value, snapshot}.
        snapshot: the source's exported snapshot that the parts join, if it has one.
        pushdown: source and target are one database; one statement does the work.
        estimate_rows: the source's guess.
        actual_fields: every source column as it is now: {name, type}.
        source_totals: control totals computed in the source system at the moment of the snapshot; None when it cannot.
        allow_empty: an empty extract may empty the target.
        meter_target: the target computes no control totals (or not these), so the worker adds up what it hands over.
    """

    source_connection: UUID | None
    target_connection: UUID
    source_entity: str
    target_entity: str
    disposition: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    source_fields: tuple[dict[str, Any], ...]
    target_fields: tuple[dict[str, Any], ...]
    partitions: tuple[dict[str, Any], ...]
    casts: Mapping[str, str] = field(default_factory=dict)
    null_columns: tuple[str, ...] = ()
    quarantine_columns: tuple[str, ...] = ()
    quarantine_all: str | None = None
    cursor: Mapping[str, Any] | None = None
    next_cursor: Mapping[str, Any] | None = None
    snapshot: str | None = None
    pushdown: bool = False
    estimate_rows: int | None = None
    actual_fields: tuple[dict[str, Any], ...] = ()
    source_totals: Mapping[str, str | None] | None = None
    allow_empty: bool = False
    meter_target: bool = False

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        data = asdict(self)
        for name in ("source_connection", "target_connection"):
            data[name] = None if data[name] is None else str(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoadPlan:
        """Inverse of `to_json`."""
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        for name in ("source_connection", "target_connection"):
            values[name] = None if values[name] is None else UUID(str(values[name]))
        for name in (
            "keys",
            "columns",
            "source_fields",
            "target_fields",
            "partitions",
            "null_columns",
            "quarantine_columns",
            "actual_fields",
        ):
            values[name] = tuple(values.get(name) or ())
        return cls(**values)

    @property
    def source_schema(self) -> Schema:
        """Columns the mapping sees."""
        return Schema.from_json(list(self.source_fields))

    @property
    def target_schema(self) -> EntitySchema:
        """The target as the writer is told."""
        fields = [(item["name"], item["type"], item.get("nullable", True)) for item in self.target_fields]
        return EntitySchema.of(self.target_entity, fields, keys=self.keys)

    @property
    def target_columns(self) -> tuple[Field, ...]:
        """The target's columns as the mapping gives them."""
        return Schema.from_json(list(self.target_fields)).fields

    def partition(self, index: int) -> Partition:
        """One partition."""
        return Partition.from_json(dict(self.partitions[index]))

    @property
    def cursor_range(self) -> CursorRange | None:
        """The range to read, or None for everything."""
        return None if self.cursor is None else CursorRange.from_json(dict(self.cursor))

    @property
    def is_empty(self) -> bool:
        """The source's own count, in the snapshot of this load, is zero."""
        return self.source_totals is not None and self.source_totals.get(COUNT) == "0"

    @property
    def connections(self) -> tuple[UUID, ...]:
        """Connections that a step reading and staging uses."""
        found = (self.source_connection, self.target_connection)
        return tuple(dict.fromkeys(item for item in found if item is not None))

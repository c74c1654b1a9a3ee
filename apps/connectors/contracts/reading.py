"""What a reader is asked and what it knows about entities.

Values of cursors, partitions and controls are text in a canonical form (ISO 8601 for times, plain digits for numbers),
so that they survive JSON and the database unchanged; the connector casts them to the column's own type.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from apps.connectors.choices import Aggregate, EntityKind, PartitionKind, WatermarkMethod
from apps.connectors.contracts.catalog import DEFAULT_BATCH_ROWS

SOURCE_POSITION = "_source_position"
"""BIGINT column every reader adds: stable within one extract (ordinal, line number or physical position)."""


@dataclass(frozen=True, slots=True)
class EntityRef:
    """An entity in a list. `name` is what `describe` and `read` take."""

    name: str
    label: str
    kind: EntityKind = EntityKind.TABLE
    row_estimate: int | None = None


@dataclass(frozen=True, slots=True)
class EntityPage:
    """One page of `discover`. `next` is the cursor of the following page, None at the end."""

    entities: tuple[EntityRef, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class EntityField:
    """A column. `type` is DuckDB's name (`DECIMAL(18,2)`), `native_type` the system's own."""

    name: str
    type: str
    native_type: str = ""
    nullable: bool = True
    primary_key: bool = False
    position: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class EntitySchema:
    """Structure of an entity.

    Attributes:
        fields: in the system's order.
        keys: columns of the primary key, or of the first unique key without NULLs; empty when there is none.
        unique_keys: every unique key, the primary one first.
        cursor_candidates: columns fit for incremental loads, best first.
        row_estimate: the system's own guess.
        partitioned: rows lie in several tables, so that a physical place does not identify one.
    """

    name: str
    fields: tuple[EntityField, ...]
    keys: tuple[str, ...] = ()
    cursor_candidates: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    kind: EntityKind = EntityKind.TABLE
    row_estimate: int | None = None
    partitioned: bool = False

    @classmethod
    def of(
        cls, name: str, fields: Iterable[tuple[str, str] | tuple[str, str, bool]], keys: Iterable[str] = ()
    ) -> EntitySchema:
        """Build a schema from `(name, type[, nullable])` tuples; key columns are never nullable."""
        key_names = tuple(keys)
        built = []
        for position, (field_name, type_, *rest) in enumerate(fields):
            nullable = bool(rest[0]) if rest else True
            is_key = field_name in key_names
            built.append(EntityField(field_name, type_, "", nullable and not is_key, is_key, position))
        return cls(name=name, fields=tuple(built), keys=key_names)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(one.name for one in self.fields)

    def find_field(self, name: str) -> EntityField | None:
        """The column of that name, or None."""
        return next((one for one in self.fields if one.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The schema as the REST API shows it."""
        return {
            "name": self.name,
            "kind": str(self.kind),
            "row_estimate": self.row_estimate,
            "fields": [asdict(one) for one in self.fields],
            "keys": list(self.keys),
            "unique_keys": [list(key) for key in self.unique_keys],
            "cursor_candidates": list(self.cursor_candidates),
        }


@dataclass(frozen=True, slots=True)
class CursorRange:
    """Rows by the value of one ordered column: half open by default, so that consecutive ranges chain.

    Attributes:
        column: ordered column.
        lower, upper: canonical text; None leaves that end open.
        lower_inclusive, upper_inclusive: whether rows at the ends belong to the range.
        since_snapshot: also read rows below `lower` whose transactions were still open in this snapshot of the last
            run (late-commit guard of systems where the open transactions' ages cannot be seen).
        include_null: also read rows without a cursor value.
    """

    column: str
    lower: str | None = None
    upper: str | None = None
    lower_inclusive: bool = True
    upper_inclusive: bool = False
    since_snapshot: str | None = None
    include_null: bool = False

    def to_json(self) -> dict[str, Any]:
        """The range as a JSON object (state of a load)."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CursorRange:
        """The inverse of `to_json`."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far an incremental load may read now, and where the next one starts.

    Read `CursorRange(lower=last.value, upper=value, upper_inclusive=upper_inclusive, since_snapshot=last.snapshot)`.
    The next run starts at `value`, inclusive.

    Attributes:
        value: high end; None when the entity has no row with a cursor value.
        upper_inclusive: True for coarse columns (dates), whose last value is read again by the next run.
        snapshot: to pass as `since_snapshot` next time; None when not needed.
        method: how late commits are excluded.
        held_back_by_s: age of the oldest open transaction that holds the watermark back, seconds.
        note: a sentence for the run log.
    """

    value: str | None
    upper_inclusive: bool = False
    snapshot: str | None = None
    method: WatermarkMethod = WatermarkMethod.NONE
    held_back_by_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """One of `count` disjoint parts that together are the entity. Bounds are half open: lower <= x < upper."""

    index: int = 0
    count: int = 1
    kind: PartitionKind = PartitionKind.WHOLE
    column: str | None = None
    lower: str | None = None
    upper: str | None = None
    row_estimate: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The partition as a JSON object (kept with the slice of a run)."""
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Partition:
        """The inverse of `to_json`."""
        return cls(**{**data, "kind": PartitionKind(data["kind"])})


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read.

    Attributes:
        entity: name as given by `discover`.
        columns: which columns, in which order; None reads all. A name that is gone raises `ColumnGone`.
        snapshot: id from `open_snapshot`, so that several readers see one state.
        limit: at most so many rows.
        expected: the schema the caller planned with; a changed type raises `SchemaChanged` instead of reading on.
        text_only: give every column as VARCHAR (files; for mappings that cast themselves).
        optional: columns of which a value that no type holds is NULL, instead of a reason to reject its row.
    """

    entity: str
    columns: tuple[str, ...] | None = None
    cursor: CursorRange | None = None
    partition: Partition | None = None
    batch_rows: int = DEFAULT_BATCH_ROWS
    limit: int | None = None
    snapshot: str | None = None
    expected: EntitySchema | None = None
    text_only: bool = False
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that the source or the target refused on its own, without failing the load."""

    position: int
    code: str
    message: str
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Control:
    """One control total. `column` is needed by sum, min and max; `columns` by key_hash."""

    name: str
    aggregate: Aggregate
    column: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatsRequest:
    """Control totals over the rows that a `ReadRequest` with the same range would give.

    Attributes:
        run_id: only the rows of the warehouse entity that this run wrote last.
        current_only: of an scd2 entity only the current versions.
    """

    entity: str
    controls: tuple[Control, ...]
    cursor: CursorRange | None = None
    snapshot: str | None = None
    run_id: UUID | None = None
    current_only: bool = True


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A read-only statement in the system's own language, with named parameters."""

    text: str
    parameters: dict[str, Any] = field(default_factory=dict)
    batch_rows: int = DEFAULT_BATCH_ROWS
    limit: int | None = None

"""What a writer is asked and what it answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

from apps.connectors.choices import Disposition
from apps.connectors.contracts.reading import EntitySchema, RejectedRecord

ROW_ID = "_row_id"
"""BIGINT lineage id that the engine adds and the writer keeps."""
LOAD_ID = "_load_id"
"""BIGINT id of the load in `_aip_loads`, added by the writer."""


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """What to write, and how.

    Attributes:
        entity: target name; created when absent.
        schema: target columns with DuckDB types. Batches carry them by name, plus `_row_id` (BIGINT) if wanted.
        keys: identify a row; required for upsert and scd2, unique index for replace and append when given.
        disposition: what happens with the rows that are there.
        run_id: owner of the staging area; a second `finish` for the same run and entity returns the first's result.
        on_duplicate: `last` keeps the row with the highest `_row_id` of each key, `refuse` raises `DuplicateKeys`.
        allow_evolution: add new columns and widen types; False raises `SchemaChanged`.
        retire_missing: upsert deletes, scd2 closes target rows that are absent from this (full) extract.
        changed_at: ISO 8601 start of validity for scd2; the load's own time when None.
        description: for the system's own records.
    """

    entity: str
    schema: EntitySchema
    run_id: UUID
    disposition: Disposition = Disposition.APPEND
    keys: tuple[str, ...] = ()
    on_duplicate: str = "last"
    allow_evolution: bool = True
    retire_missing: bool = False
    changed_at: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class StagedPart:
    """One part in the staging area, complete and durable. `checksum` covers the staged bytes."""

    part: str
    rows: int
    size_bytes: int
    checksum: str
    rejected: tuple[RejectedRecord, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The part as a JSON object (kept with the slice of a run)."""
        return {**asdict(self), "rejected": [asdict(one) for one in self.rejected]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StagedPart:
        """The inverse of `to_json`."""
        rejected = tuple(RejectedRecord(**one) for one in data.get("rejected", []))
        return cls(**{**data, "rejected": rejected})


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a finished load did. `rows` were staged; `duplicates` of them lost to a later row of the same key.

    inserted + updated + unchanged + duplicates == rows; `deleted` counts target rows removed or closed because they
    were absent (or, with replace, the rows that were there before).
    """

    rows: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    duplicates: int = 0
    load_id: int | None = None
    already_done: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WriteResult:
        """The inverse of `to_json`."""
        return cls(**data)

    def again(self) -> WriteResult:
        """The same result, marked as the repeat of a finished load."""
        return replace(self, already_done=True)

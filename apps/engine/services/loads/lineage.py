"""Row identity: the engine gives every source row an id that no later stage can lose."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.contracts import ROW_ID, SOURCE_POSITION
from apps.core.exceptions import TerminalError
from apps.engine.services.loads.plans import PART_SHIFT

POSITION_MASK = (1 << PART_SHIFT) - 1


class PositionMissing(TerminalError):
    """The connector gave rows without a source position."""

    code = "engine.load.position_missing"


def add_row_ids(batch: pa.RecordBatch, partition: int) -> pa.RecordBatch:
    """Replace `_source_position` by `_row_id`.

    `_row_id` = partition * 2**52 + position: unique in the load, rising in the source's order, and computed without
    looking at a single row (for one partition the column is only renamed).

    Raises:
        PositionMissing: there is no position column.
    """
    index = batch.schema.get_field_index(SOURCE_POSITION)
    if index < 0:
        raise PositionMissing()
    positions = batch.column(index)
    if positions.type != pa.int64():
        positions = positions.cast(pa.int64())
    if partition:
        positions = pc.add(positions, pa.scalar(partition << PART_SHIFT, pa.int64()))
    names = [*(name for name in batch.schema.names if name != SOURCE_POSITION), ROW_ID]
    columns = [column for place, column in enumerate(batch.columns) if place != index]
    return pa.RecordBatch.from_arrays([*columns, positions], names=names)


def position_of(row_id: int) -> str:
    """Where the row was found, for people."""
    partition, position = row_id >> PART_SHIFT, row_id & POSITION_MASK
    return f"row {position}" if partition == 0 else f"part {partition + 1}, row {position}"

"""What the data contract decided about changed columns, applied to each batch before the mapping sees it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.contracts import ROW_ID
from apps.engine.services.loads.plans import LoadPlan
from apps.engine.services.loads.rejects import RejectEncoder, merge_rows
from apps.expressions.contracts import Schema
from apps.expressions.services.sandbox import open_sandbox
from apps.expressions.types import to_arrow_type
from apps.quality.contracts import BrokenRule, RejectedRow

CAST_MEMORY_MB = 64
CAST_TIMEOUT_S = 60.0


class DriftFilter:
    """Casts retyped columns, fills gone ones with NULL, and takes out the rows that the contract refuses.

    Most loads have no drift; `needed` says so, and the filter is then left out altogether.
    """

    def __init__(self, plan: LoadPlan, encoder: RejectEncoder) -> None:
        self._plan = plan
        self._encoder = encoder
        self._schema: Schema = plan.source_schema

    @staticmethod
    def needed(plan: LoadPlan) -> bool:
        """Whether any decision changes a row."""
        return bool(plan.casts or plan.null_columns or plan.quarantine_columns or plan.quarantine_all)

    def apply(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[RejectedRow]]:
        """The batch as the mapping expects it, without the rows that are refused.

        Args:
            batch: source columns and `_row_id`.
        """
        table = pa.Table.from_batches([batch])
        if self._plan.quarantine_all:
            reason = BrokenRule("contract.missing_column", None, "quality.missing_column", self._plan.quarantine_all)
            return batch.slice(0, 0), self._encoder.refuse(table, reason)
        refused: list[RejectedRow] = []
        keep = pa.array([True] * table.num_rows)
        for name in self._plan.quarantine_columns:
            present = pc.is_valid(table.column(name)).combine_chunks()
            message = (
                f"The source has a new column {name!r}, which the data contract does not know, and it has a value."
            )
            reason = BrokenRule("contract.new_column", name, "quality.new_column", message)
            refused += self._encoder.refuse(table.filter(present), reason)
            keep = pc.and_(keep, pc.invert(present))
        for name, type_ in self._plan.casts.items():
            place = table.schema.get_field_index(name)
            converted = _try_cast(table.column(place), type_)
            lost = pc.and_(pc.is_valid(table.column(place)), pc.is_null(converted)).combine_chunks()
            message = f"{name!r} does not convert to {type_}, the type that the data contract promises."
            reason = BrokenRule("contract.type_change", name, "quality.type_change", message)
            refused += self._encoder.refuse(table.filter(lost), reason)
            keep = pc.and_(keep, pc.invert(lost))
            table = table.set_column(place, name, converted)
        table = table.filter(keep)
        for name in self._plan.null_columns:
            field = self._schema.find(name)
            type_ = to_arrow_type(field.type if field else "VARCHAR")
            table = table.append_column(name, pa.nulls(table.num_rows, type_))
        ordered = table.select([*self._plan_columns(), ROW_ID]).combine_chunks()
        batches = ordered.to_batches()
        empty = pa.RecordBatch.from_pylist([], schema=ordered.schema)
        return (batches[0] if batches else empty), merge_rows(refused)

    def _plan_columns(self) -> list[str]:
        return [item["name"] for item in self._plan.source_fields]


def _try_cast(values: pa.ChunkedArray, type_: str) -> pa.ChunkedArray:
    """DuckDB's TRY_CAST, so that a converted value is the same as anywhere else in the portal."""
    with open_sandbox(CAST_MEMORY_MB) as sandbox, sandbox.relation("drift", pa.table({"v": values})):
        return sandbox.run(f"SELECT TRY_CAST(v AS {type_}) AS v FROM drift", CAST_TIMEOUT_S).column("v")  # noqa: S608

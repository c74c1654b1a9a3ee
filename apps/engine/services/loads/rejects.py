"""Rejected rows: from Arrow to the quarantine, exact, with every broken rule, and fenced."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
from django.db import transaction

from apps.connectors.contracts import ROW_ID
from apps.engine.contracts import StepContext
from apps.engine.services.loads.lineage import position_of
from apps.expressions.contracts import Schema
from apps.expressions.exceptions import EvaluationMemory
from apps.expressions.services.sandbox import Sandbox, open_sandbox
from apps.expressions.types import quote_name
from apps.quality.contracts import BrokenRule, QuarantineContext, RejectedRow
from apps.quality.services.payloads import SAFE_INTEGER, encode_payload
from apps.quality.services.rejection import quarantine_rows_bulk, reset_part

SOURCE = "_source"
ERRORS = "_errors"
# JSON has one number type, which most readers take for a binary float: all others keep their digits as text.
AS_IS = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "BOOLEAN", "VARCHAR")
ENCODER_MEMORY_MB = 64
ENCODER_TIMEOUT_S = 60.0


class RejectEncoder:
    """Turns rejected rows into quarantine rows. Payloads become JSON inside DuckDB, not value by value in Python.

    For one thread; close it when done. The engine opens with the first rejected row.
    """

    def __init__(self, schema: Schema) -> None:
        """Remember the source's types.

        Args:
            schema: columns of the source rows, without `_row_id`.
        """
        self._schema = schema
        self._sandbox: Sandbox | None = None

    def encode(self, rejected: pa.Table) -> list[RejectedRow]:
        """Rows of a `MappedBatch.rejected` table: `_row_id`, `_source` STRUCT, `_errors` LIST of STRUCT."""
        if rejected.num_rows == 0:
            return []
        source = rejected.column(SOURCE)
        names = [field.name for field in source.type]
        columns = pa.Table.from_arrays(source.flatten(), names=names)
        payloads = self._to_json(columns)
        row_ids = rejected.column(ROW_ID).to_pylist()
        errors = rejected.column(ERRORS).to_pylist()
        return [
            RejectedRow(
                row_id=str(row_id),
                payload=payload,
                errors=tuple(BrokenRule(e["rule"], e["field"], e["code"], e["message"]) for e in broken),
                source_position=position_of(row_id),
            )
            for row_id, payload, broken in zip(row_ids, payloads, errors, strict=True)
        ]

    def refuse(self, rows: pa.Table, reason: BrokenRule) -> list[RejectedRow]:
        """Whole source rows (with `_row_id`) that all break the same rule."""
        if rows.num_rows == 0:
            return []
        payloads = self._to_json(rows.drop_columns([ROW_ID]))
        return [
            RejectedRow(row_id=str(row_id), payload=payload, errors=(reason,), source_position=position_of(row_id))
            for row_id, payload in zip(rows.column(ROW_ID).to_pylist(), payloads, strict=True)
        ]

    def close(self) -> None:
        """Let the engine go. Safe to repeat."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _to_json(self, columns: pa.Table) -> list[str]:
        if self._sandbox is None:
            self._sandbox = open_sandbox(ENCODER_MEMORY_MB)
        parts = []
        for name in columns.schema.names:
            quoted = quote_name(name)
            field = self._schema.find(name)
            parts.append(f"{quoted} := {_json_value(quoted, field.type if field else 'VARCHAR')}")
        select = f"SELECT to_json(struct_pack({', '.join(parts)}))::VARCHAR FROM rejected"  # noqa: S608 - quoted names
        try:
            with self._sandbox.relation("rejected", columns):
                return [row[0] for row in self._sandbox.rows(select, ENCODER_TIMEOUT_S)]
        except EvaluationMemory:
            self.close()
            if columns.num_rows == 1:
                return [self._large_to_json(columns)]
            half = columns.num_rows // 2
            return [*self._to_json(columns.slice(0, half)), *self._to_json(columns.slice(half))]

    def _large_to_json(self, row: pa.Table) -> str:
        """One row with fields of many megabytes, value by value."""
        values = row.to_pylist()[0]
        for name, value in values.items():
            field = self._schema.find(name)
            if field is not None and field.type.upper() == "JSON" and value is not None:
                values[name] = json.loads(value, parse_float=Decimal)
        return encode_payload(values)[0]


def _json_value(quoted: str, type_: str) -> str:
    kind = type_.upper()
    if kind in AS_IS:
        return quoted
    if kind == "BIGINT":
        safe = f"abs({quoted}::HUGEINT) <= {SAFE_INTEGER}"
        return f"CASE WHEN {safe} THEN to_json({quoted}) ELSE to_json({quoted}::VARCHAR) END"
    if kind.startswith("TIMESTAMP"):
        return f"replace({quoted}::VARCHAR, ' ', 'T')"
    if kind == "JSON":
        return f"{quoted}::JSON"
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
        return f"to_json({quoted})"
    return f"{quoted}::VARCHAR"


def merge_rows(rows: Sequence[RejectedRow]) -> list[RejectedRow]:
    """One row per id: a row that was refused in two places keeps every broken rule."""
    by_id: dict[str, RejectedRow] = {}
    for row in rows:
        known = by_id.get(row.row_id)
        if known is not None:
            row = RejectedRow(row.row_id, known.payload, (*known.errors, *row.errors), row.source_position)
        by_id[row.row_id] = row
    return list(by_id.values())


def quarantine_context(context: StepContext) -> QuarantineContext:
    """The run and step as the quarantine knows them. The part is the path, so a later attempt finds the same rows."""
    run = context.run
    return QuarantineContext(run.id, run.flow_id, run.flow_version_id, run.environment_id, context.path)


def keep_rejected(context: StepContext, rows: list[RejectedRow]) -> None:
    """Write rejected rows; a worker that has lost its lease writes none."""
    with transaction.atomic():
        context.ensure_owner()
        quarantine_rows_bulk(quarantine_context(context), rows)


def forget_rejected(context: StepContext) -> None:
    """Before a repeated execution: drop what an earlier one of this step has put into the quarantine."""
    if context.attempt == 1 and context.fence == 1:
        return
    with transaction.atomic():
        context.ensure_owner()
        reset_part(quarantine_context(context))

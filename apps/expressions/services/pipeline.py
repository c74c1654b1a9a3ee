"""A compiled mapping at work on Arrow batches: compile once, apply to each batch, memory bounded by the batch."""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from apps.expressions.choices import RowCode
from apps.expressions.contracts import CompiledSelect, CompileRequest, MappedBatch
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.compilation import (
    ACCEPTED,
    ERROR_TYPE,
    ERRORS,
    FILTERED,
    REJECTED,
    SOURCE,
    STATE,
    compile_select,
)
from apps.expressions.services.sandbox import Sandbox, open_sandbox
from apps.expressions.services.values import to_json_value
from apps.expressions.types import from_arrow_type, parse_type, quote_name, to_arrow_type

BATCH_ROWS = 65_536
BATCH_TIMEOUT_S = 120.0
_RAW = "_batch"
_ERRORS_ARROW = to_arrow_type(f"{ERROR_TYPE}[]")


class BatchMapper:
    """Applies one mapping to batches, on one sandboxed engine. Not for several threads at a time.

    Example:
        with BatchMapper(request) as mapper:
            for batch in reader:
                mapped = mapper.apply(batch)
    """

    def __init__(
        self,
        request: CompileRequest,
        *,
        memory_mb: int = 256,
        threads: int = 2,
        timeout_s: float = BATCH_TIMEOUT_S,
        compiled: CompiledSelect | None = None,
    ) -> None:
        """Compile the mapping (unless it is already) and open the engine.

        Args:
            request: the mapping.
            memory_mb, threads: bounds of the engine.
            timeout_s: bound for each batch.
            compiled: what `compile_select(request)` returned, when the caller has it.

        Raises:
            ExpressionInvalid: see `compile_select`.
        """
        self.compiled = compiled or compile_select(request)
        self.timeout_s = timeout_s
        self.threads = threads
        self._sandbox: Sandbox = open_sandbox(memory_mb, threads)
        self._statements: dict[pa.Schema, str] = {}

    def apply(self, batch: pa.RecordBatch | pa.Table, *, explain: bool = True) -> MappedBatch:
        """Map one batch.

        Args:
            batch: the row id and the schema's columns; their order does not matter, further ones are ignored.
            explain: name the broken rules at once. A statement for a few rows costs more than the rows, so a load
                leaves them `unexplained` and asks for those of many batches together.

        Returns:
            Accepted rows with target types, rejected rows with source and every broken rule, counts.

        Raises:
            EvaluationTimeout, EvaluationMemory: bounds. A single row never fails a batch: a batch the engine refuses
            is halved until the row is found, and that row is rejected.
        """
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        try:
            mapped = self._map(table)
        except EvaluationFailed as error:
            if table.num_rows <= 1:
                return self._refuse(table, error)
            half = table.num_rows // 2
            first = self.apply(table.slice(0, half), explain=explain)
            return merge_batches(first, self.apply(table.slice(half), explain=explain))
        return self._split(mapped, table, explain=explain)

    def explain(self, rows: pa.Table) -> pa.Table:
        """What `MappedBatch.rejected` says of rejected rows.

        Args:
            rows: `unexplained` rows, of one batch or several.

        Raises:
            EvaluationTimeout, EvaluationMemory: bounds.
        """
        sql = self.compiled.over(
            f"SELECT {', '.join(self._columns(rows.schema))} FROM {_RAW}", self.compiled.rejected_sql
        )
        with self._sandbox.relation(_RAW, rows):
            return self._sandbox.run(sql, self.timeout_s)

    def map_relation(
        self, relation_sql: str, sandbox: Sandbox, *, batch_rows: int = BATCH_ROWS
    ) -> Iterator[MappedBatch]:
        """Map what a query yields in one streaming pass, without a detour through Python (fast path of `files`).

        Args:
            relation_sql: yields the row id and the schema's columns with the schema's types.
            sandbox: the engine that can read it; its owner decided what it may open.
            batch_rows: rows of a batch.

        Raises:
            EvaluationFailed: the engine refused something no rule foresaw; `apply` over batches would single it out.
        """
        for batch in sandbox.stream(self.compiled.over(relation_sql), batch_rows=batch_rows, timeout_s=self.timeout_s):
            yield self._split(pa.Table.from_batches([batch]), None)

    def close(self) -> None:
        """Close the engine; may be called twice."""
        self._sandbox.close()

    def __enter__(self) -> BatchMapper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _map(self, table: pa.Table) -> pa.Table:
        statement = self._statements.get(table.schema)
        if statement is None:
            statement = self._statements[table.schema] = self.compiled.over(
                f"SELECT {', '.join(self._columns(table.schema))} FROM {_RAW}", self.compiled.map_sql
            )
        with self._sandbox.relation(_RAW, table):
            return self._sandbox.run(statement, self.timeout_s)

    def _columns(self, schema: pa.Schema) -> list[str]:
        """Columns as declared: a cast only where Arrow carries another type (JSON and UUID travel as text)."""
        present = {field.name: from_arrow_type(field.type) for field in schema}
        columns = [quote_name(self.compiled.row_id)]
        for field in self.compiled.schema:
            name = quote_name(field.name)
            actual = present.get(field.name)
            if actual is None:
                columns.append(f"CAST(NULL AS {field.type}) AS {name}")
            elif parse_type(actual) == parse_type(field.type):
                columns.append(name)
            else:
                columns.append(f"CAST({name} AS {field.type}) AS {name}")
        return columns

    def _split(self, mapped: pa.Table, source: pa.Table | None, *, explain: bool = True) -> MappedBatch:
        """Accepted and rejected apart. With `source`, rows correspond one to one and details come from a second,
        small statement over the rejected ones; without, they are in the columns."""
        names = [self.compiled.row_id, *(field.name for field in self.compiled.fields)]
        state = mapped.column(STATE)
        counts = {item["values"]: item["counts"] for item in pc.value_counts(state).to_pylist()}
        targets = mapped.select(names)
        accepted_rows = counts.get(ACCEPTED, 0)
        accepted_mask = None if accepted_rows == mapped.num_rows else pc.equal(state, ACCEPTED)
        accepted = targets if accepted_mask is None else targets.filter(accepted_mask)
        warnings = {}
        for index, rule in enumerate(self.compiled.warning_rules):
            flags = mapped.column(f"_warning_{index}")
            flags = flags if accepted_mask is None else flags.filter(accepted_mask)
            warnings[rule] = pc.sum(flags).as_py() or 0
        refused, filtered = counts.get(REJECTED, 0), counts.get(FILTERED, 0)
        if source is None or explain:
            return MappedBatch(accepted, self._rejected(mapped, source, refused), mapped.num_rows, filtered, warnings)
        rows = source.filter(pc.equal(state, REJECTED)) if refused else None
        return MappedBatch(accepted, self._no_rejects(source.schema), mapped.num_rows, filtered, warnings, rows)

    def _rejected(self, mapped: pa.Table, source: pa.Table | None, count: int) -> pa.Table:
        mask = pc.equal(mapped.column(STATE), REJECTED) if count else None
        if source is None:
            details = mapped.select([self.compiled.row_id, SOURCE, ERRORS])
            return details.filter(mask) if mask is not None else details.slice(0, 0)
        return self._no_rejects(source.schema) if mask is None else self.explain(source.filter(mask))

    def _no_rejects(self, schema: pa.Schema) -> pa.Table:
        struct = pa.struct([pa.field(f.name, to_arrow_type(f.type)) for f in self.compiled.schema])
        row_id = schema.field(self.compiled.row_id)
        return pa.schema([row_id, pa.field(SOURCE, struct), pa.field(ERRORS, _ERRORS_ARROW)]).empty_table()

    def _refuse(self, table: pa.Table, error: EvaluationFailed) -> MappedBatch:
        """The one row the engine cannot compute at all."""
        names = [field.name for field in self.compiled.schema]
        source = pa.array([{name: row.get(name) for name in names} for row in table.to_pylist()])
        entry = {"rule": "row.function", "field": None, "code": RowCode.FUNCTION, "message": error.message}
        rejected = pa.table({
            self.compiled.row_id: table.column(self.compiled.row_id),
            SOURCE: source,
            ERRORS: pa.array([[entry]] * table.num_rows, _ERRORS_ARROW),
        })  # fmt: skip
        fields = [pa.field(f.name, to_arrow_type(f.type)) for f in self.compiled.fields]
        accepted = pa.schema([table.schema.field(self.compiled.row_id), *fields]).empty_table()
        return MappedBatch(accepted, rejected, table.num_rows, 0)


def merge_batches(first: MappedBatch, second: MappedBatch) -> MappedBatch:
    """Two results as one, in order."""
    warnings = {
        rule: first.warnings.get(rule, 0) + second.warnings.get(rule, 0)
        for rule in {**first.warnings, **second.warnings}
    }
    unexplained = [rows for rows in (first.unexplained, second.unexplained) if rows is not None]
    return MappedBatch(
        pa.concat_tables([first.accepted, second.accepted], promote_options="permissive"),
        pa.concat_tables([first.rejected, second.rejected], promote_options="permissive"),
        first.rows_read + second.rows_read,
        first.filtered + second.filtered,
        warnings,
        pa.concat_tables(unexplained) if unexplained else None,
    )


def rejected_rows(mapped: MappedBatch) -> list[dict[str, Any]]:
    """Rejected rows ready for JSON: `{"row_id", "source": {…}, "errors": [{rule, field, code, message}]}`.

    Decimals and instants are strings, so that nothing is lost on the way.
    """
    names = mapped.rejected.column_names
    return [
        {"row_id": row[names[0]], "source": to_json_value(row[SOURCE]), "errors": row[ERRORS]}
        for row in mapped.rejected.to_pylist()
    ]

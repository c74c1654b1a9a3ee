"""A run's mapping, compiled: the definition with its variables, bound to the columns as they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from apps.engine.contracts import RunFacts, StepContext
from apps.engine.services.limits import engine_limits
from apps.engine.services.loads.controls import TotalsMeter, plain_column
from apps.expressions.contracts import CompiledSelect, CompileRequest, MappedBatch, MappedField, Schema
from apps.expressions.exceptions import ExpressionInvalid
from apps.expressions.services.checking import check_expression
from apps.expressions.services.compilation import compile_select
from apps.expressions.services.pipeline import BatchMapper
from apps.expressions.types import to_arrow_type
from apps.integrations.contracts import FlowDefinition
from apps.integrations.services.environments import resolve_variables
from apps.integrations.services.mapping import to_compile_request


@dataclass(frozen=True)
class FlowMapping:
    """The compiled mapping of a run.

    Attributes:
        request, compiled: what was compiled, and the SELECT.
        source_columns: source columns that fields, filter and rules read.
        control_columns: source columns that control totals read.
        definition: the run's definition.
    """

    request: CompileRequest
    compiled: CompiledSelect
    source_columns: frozenset[str]
    control_columns: frozenset[str]
    definition: FlowDefinition

    def open_mapper(self) -> BatchMapper:
        """A mapper for one thread; close it when done."""
        return open_mapper(self.request, self.compiled)


def open_mapper(request: CompileRequest, compiled: CompiledSelect | None = None) -> BatchMapper:
    """A mapper within the engine's limits of memory and threads."""
    limits = engine_limits()
    return BatchMapper(request, memory_mb=limits.memory_mb, threads=limits.threads, compiled=compiled)


def use_mapping(context: StepContext, definition: FlowDefinition, schema: Schema) -> FlowMapping:
    """The compiled mapping, compiled once per visit and schema."""
    key = repr(schema)
    found: FlowMapping = context.resources.get("mapping", key, lambda: compile_mapping(context.run, definition, schema))
    return found


def compile_mapping(run: RunFacts, definition: FlowDefinition, schema: Schema) -> FlowMapping:
    """Compile a run's mapping against the source's columns as they are now.

    Raises:
        ExpressionInvalid: an expression does not fit the columns (one is missing, or was retyped); names the field.
    """
    variables = resolve_variables(run.environment_id, definition, purpose="run.map")
    request = to_compile_request(definition, schema, variables)
    try:
        compiled = compile_select(request)
    except ExpressionInvalid as error:
        error.remedy = error.remedy or "The source's columns may have changed: open the flow's mapping and repair it."
        raise
    names = {field.name for field in schema.fields}
    used = {column for columns in compiled.columns.values() for column in columns if column in names}
    for expression in (request.filter, *(rule.expression for rule in request.validations)):
        if expression:
            used |= set(check_expression(expression, schema).columns) & names
    controls = {
        column
        for control in definition.reconciliation.controls
        for column in check_expression(control.source, schema).columns
        if column in names
    }
    return FlowMapping(request, compiled, frozenset(used), frozenset(controls), definition)


class ControlMeter:
    """Control totals over batches, evaluated by the expression engine, apart from the mapping that is under control."""

    def __init__(
        self,
        expressions: Mapping[str, str],
        aggregates: Mapping[str, str],
        schema: Schema,
        row_filter: str | None = None,
    ) -> None:
        """Remember the control expressions; the engine opens with the first row.

        Args:
            expressions: control name -> expression over `schema`.
            aggregates: control name -> aggregate.
            schema: columns of the batches, without `_row_id`.
            row_filter: rows for which it is not true do not count.
        """
        self._expressions = dict(expressions)
        self._names = list(expressions)
        self._schema = schema
        self._filter = row_filter
        self._meter = TotalsMeter({name: aggregates[name] for name in self._names})
        self._mapper: BatchMapper | None = None
        names = [field.name for field in schema.fields]
        plain = {name: plain_column(expression, names) for name, expression in self._expressions.items()}
        self._columns = {name: column for name, column in plain.items() if column is not None}
        self._declared = {item.name: to_arrow_type(item.type) for item in schema if item.name in self._columns.values()}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take one batch (with `_row_id`)."""
        if not self._names or batch.num_rows == 0:
            return
        if self._adds_up_columns(batch):
            for name, column in self._columns.items():
                self._meter.add(name, batch.column(column))
            return
        if self._mapper is None:
            self._mapper = self._open()
        mapped: MappedBatch = self._mapper.apply(batch)
        for index, name in enumerate(self._names):
            self._meter.add(name, mapped.accepted.column(f"c{index}"))

    def _adds_up_columns(self, batch: pa.RecordBatch) -> bool:
        """Whether every control is a column that the batch has as it is declared: then there is nothing to evaluate."""
        if self._filter or len(self._columns) != len(self._names):
            return False
        return all(
            (place := batch.schema.get_field_index(name)) >= 0 and batch.schema.field(place).type == type_
            for name, type_ in self._declared.items()
        )

    def _open(self) -> BatchMapper:
        fields = []
        for index, name in enumerate(self._names):
            expression = self._expressions[name]
            checked = check_expression(expression, self._schema)
            fields.append(MappedField(f"c{index}", checked.type or "VARCHAR", expression))
        return open_mapper(CompileRequest(self._schema, tuple(fields), filter=self._filter))

    def totals(self) -> dict[str, str | None]:
        """Totals so far, as exact text."""
        return self._meter.to_json()

    def close(self) -> None:
        """Let the mapper go."""
        if self._mapper is not None:
            self._mapper.close()


def source_meter(definition: FlowDefinition, schema: Schema) -> ControlMeter:
    """Meter of the source side."""
    controls = definition.reconciliation.controls
    return ControlMeter(
        {item.name: item.source for item in controls},
        {item.name: item.aggregate for item in controls},
        schema,
        definition.map.filter,
    )


def target_meter(definition: FlowDefinition, fields: Sequence[Any]) -> ControlMeter:
    """Meter of the target side, over accepted rows; used where the target computes no totals itself."""
    controls = definition.reconciliation.controls
    return ControlMeter(
        {item.name: item.target for item in controls},
        {item.name: item.aggregate for item in controls},
        Schema(tuple(fields)),
    )

"""Control totals of both sides: which the systems compute themselves, and a meter for those they cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.choices import Aggregate
from apps.connectors.contracts import Control as SystemControl
from apps.connectors.contracts import EntitySchema
from apps.integrations.contracts import FlowDefinition
from apps.quality.contracts import Control

COUNT = "_rows"
AGGREGATES = {
    "sum": Aggregate.SUM,
    "count": Aggregate.COUNT,
    "min": Aggregate.MIN,
    "max": Aggregate.MAX,
}
EXACT_DIGITS = 38


def plain_column(expression: str, names: Sequence[str]) -> str | None:
    """The column, when the expression is nothing but one."""
    text = expression.strip().strip('"')
    return text if text in names else None


def source_controls(definition: FlowDefinition, entity: EntitySchema) -> tuple[SystemControl, ...] | None:
    """What to ask the source system: its row count and every control; None when one is not a plain column."""
    return _system_controls([(item, item.source) for item in definition.reconciliation.controls], entity.names)


def target_controls(definition: FlowDefinition, columns: Sequence[str]) -> tuple[SystemControl, ...] | None:
    """What to ask the target system, in the same way."""
    return _system_controls([(item, item.target) for item in definition.reconciliation.controls], columns)


def _system_controls(controls: Sequence[tuple[Control, str]], names: Sequence[str]) -> tuple[SystemControl, ...] | None:
    asked = [SystemControl(COUNT, Aggregate.COUNT)]
    for control, expression in controls:
        column = plain_column(expression, names)
        aggregate = AGGREGATES.get(control.aggregate)
        if column is None or aggregate is None:
            return None
        asked.append(SystemControl(control.name, aggregate, column=column))
    return tuple(asked)


class TotalsMeter:
    """Adds up control totals over batches of already evaluated control columns; exact for decimals and integers."""

    def __init__(self, aggregates: Mapping[str, str]) -> None:
        """Start at nothing.

        Args:
            aggregates: control name -> `sum`, `count`, `min` or `max`.
        """
        self._aggregates = dict(aggregates)
        self.totals: dict[str, Decimal | None] = dict.fromkeys(self._aggregates)

    def add(self, name: str, values: pa.ChunkedArray | pa.Array) -> None:
        """Take one batch's values of a control."""
        aggregate = self._aggregates[name]
        if aggregate == "count":
            self._merge(name, Decimal(len(values) - values.null_count))
            return
        found = _exact(pc.sum(_summable(values)) if aggregate == "sum" else getattr(pc, aggregate)(values))
        if found is not None:
            self._merge(name, found)

    def _merge(self, name: str, value: Decimal) -> None:
        before, aggregate = self.totals[name], self._aggregates[name]
        if before is None:
            self.totals[name] = value
        elif aggregate in ("sum", "count"):
            self.totals[name] = before + value
        else:
            self.totals[name] = min(before, value) if aggregate == "min" else max(before, value)

    def to_json(self) -> dict[str, str | None]:
        """Totals as exact text."""
        return {name: None if value is None else format(value, "f") for name, value in self.totals.items()}


def merge_totals(parts: Sequence[Mapping[str, str | None]], aggregates: Mapping[str, str]) -> dict[str, Decimal | None]:
    """Totals of several parts as one."""
    meter = TotalsMeter(aggregates)
    for part in parts:
        for name, text in part.items():
            if text is not None and name in meter.totals:
                meter._merge(name, Decimal(text))
    return meter.totals


def to_decimals(totals: Mapping[str, str | None]) -> dict[str, Decimal | None]:
    """Totals as a system gave them, without the row count; text that is no number (a time) is left out."""
    found: dict[str, Decimal | None] = {}
    for name, text in totals.items():
        if name == COUNT:
            continue
        try:
            found[name] = None if text is None else Decimal(text)
        except ArithmeticError:
            continue
    return found


def _summable(values: Any) -> Any:
    """Integers as decimals, so that a sum cannot overflow; decimals with room for every digit."""
    if pa.types.is_decimal(values.type):
        return values.cast(pa.decimal128(EXACT_DIGITS, values.type.scale))
    if pa.types.is_integer(values.type):
        return values.cast(pa.decimal128(EXACT_DIGITS, 0))
    return values


def _exact(scalar: Any) -> Decimal | None:
    value = scalar.as_py()
    if value is None or isinstance(value, Decimal):
        return value
    if isinstance(value, int | float):
        return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return None

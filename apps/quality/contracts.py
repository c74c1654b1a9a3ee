"""Plain data that may cross apps: rejected rows, controls, verdicts, the data contract and drift decisions.

JSON forms are those of the flow definition (`apps/integrations/schemas/flow-1.json`) and of the REST API: snake_case,
decimals as strings, times in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID


def decimal_text(value: Decimal) -> str:
    """A decimal as plain text with the scale it has (`Decimal("1E+2")` -> `"100"`)."""
    return format(value, "f")


@dataclass(frozen=True)
class BrokenRule:
    """One rule that one row breaks.

    Attributes:
        rule: id of the validation, or the name of a built-in rule (`conversion`, `not_null`, `contract.new_column` …).
        field: target field at fault, or None.
        code: stable code (`expressions.division_by_zero`).
        message: a sentence for the person who repairs the row.
    """

    rule: str
    field: str | None
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        """`{rule, field, code, message}`."""
        return {"rule": self.rule, "field": self.field, "code": self.code, "message": self.message}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; absent keys become empty."""
        return cls(
            rule=str(data.get("rule") or ""),
            field=data.get("field"),
            code=str(data.get("code") or ""),
            message=str(data.get("message") or ""),
        )


@dataclass(frozen=True)
class RejectedRow:
    """One row that may not enter the target, with every rule it breaks.

    Attributes:
        row_id: the engine's own identity of the row, unique within the run.
        payload: the source row as {column: value} with Python values (Decimal, datetime, …), or the same as ready JSON
            text in which decimals are strings.
        errors: every broken rule, at least one.
        source_position: where the row was found (`line 17`, `id=42`), for people.
    """

    row_id: str
    payload: Mapping[str, Any] | str
    errors: tuple[BrokenRule, ...]
    source_position: str = ""


@dataclass(frozen=True)
class QuarantineContext:
    """The run that rejects rows. `flow_version_id` is None for a run of a draft."""

    run_id: UUID
    flow_id: UUID
    flow_version_id: UUID | None
    environment_id: UUID
    part: str = ""


@dataclass(frozen=True)
class ReplayRow:
    """One row to be tried again.

    Attributes:
        id: id of the quarantined row.
        row_id: the engine's identity of the row in the run that rejected it.
        values: the source row with the correction applied, JSON values (decimals as strings).
        source_position: as recorded.
    """

    id: UUID
    row_id: str
    values: dict[str, Any]
    source_position: str


@dataclass(frozen=True)
class ReplaySelection:
    """The rows of one flow and environment that a replay takes."""

    flow_id: UUID
    environment_id: UUID
    ids: tuple[UUID, ...]


@dataclass(frozen=True)
class Control:
    """A control total: the same aggregate, computed in the source and in the target, must agree.

    Attributes:
        name: shown to people, unique in the flow.
        source, target: expression over source columns, and over target columns.
        aggregate: `sum`, `count` (of values that are not NULL), `min` or `max`; all of numbers.
        tolerance: largest accepted absolute difference.
    """

    name: str
    source: str
    target: str
    aggregate: str = "sum"
    tolerance: Decimal = Decimal(0)

    def to_json(self) -> dict[str, Any]:
        """The control as in the flow definition."""
        return {
            "name": self.name,
            "source": self.source,
            "target": self.target,
            "aggregate": self.aggregate,
            "tolerance": decimal_text(self.tolerance),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            name=data["name"],
            source=data["source"],
            target=data["target"],
            aggregate=data.get("aggregate", "sum"),
            tolerance=Decimal(str(data.get("tolerance", "0"))),
        )


@dataclass(frozen=True)
class SideTotals:
    """What one side of a load holds.

    Attributes:
        count: rows of this load on that side; for the source: rows read, minus those filtered out on purpose.
        totals: {control name: value}; decimals or None when the side has no row.
    """

    count: int
    totals: Mapping[str, Decimal | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`{count, totals: {name: "12.30"}}`."""
        return {
            "count": self.count,
            "totals": {name: None if v is None else decimal_text(v) for name, v in self.totals.items()},
        }


@dataclass(frozen=True)
class Break:
    """One key on which the sides disagree.

    Attributes:
        key: key columns and values as text.
        kind: `missing_in_target`, `missing_in_source` or `different`.
        control: control at fault for `different`, else None.
        source, target: values as text, where known.
    """

    key: Mapping[str, str]
    kind: str
    control: str | None = None
    source: str | None = None
    target: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The break as a JSON object."""
        return {
            "key": dict(self.key),
            "kind": self.kind,
            "control": self.control,
            "source": self.source,
            "target": self.target,
        }


@dataclass(frozen=True)
class ReconciliationInput:
    """Both sides of one load.

    Attributes:
        run_id, flow_id, environment_id: the load.
        source, target: both sides; the source without what was filtered out.
        quarantined: rows rejected by the run; they explain a difference of counts.
        controls: control totals of the flow.
        count_tolerance: largest accepted difference of counts after quarantine.
        breaks: keys that disagree; only the first ones are kept (`BREAKS_KEPT`).
        breaks_total: how many there are in all.
        requested_by: person who started the run (`actor.user_id`: for an API key its creator); None for the system.
        quarantined_totals: {control name: what the quarantined rows add up to on the source side}, where computed.
    """

    run_id: UUID
    flow_id: UUID
    environment_id: UUID
    source: SideTotals
    target: SideTotals
    quarantined: int = 0
    controls: tuple[Control, ...] = ()
    count_tolerance: int = 0
    breaks: tuple[Break, ...] = ()
    breaks_total: int = 0
    requested_by: UUID | None = None
    quarantined_totals: Mapping[str, Decimal | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ReconciliationView:
    """A recorded reconciliation, as shown with a run."""

    id: UUID
    run_id: UUID
    flow_id: UUID
    environment_id: UUID
    status: str
    verdict: str
    source: dict[str, Any]
    target: dict[str, Any]
    quarantined: int
    controls: list[dict[str, Any]]
    breaks: list[dict[str, Any]]
    breaks_total: int
    reasons: list[str]
    signed_by: UUID | None
    signed_by_name: str
    signed_at: datetime | None
    comment: str
    created_at: datetime


@dataclass(frozen=True)
class ContractField:
    """One agreed source column: its name and DuckDB type."""

    name: str
    type: str

    def to_json(self) -> dict[str, str]:
        """`{name, type}`."""
        return {"name": self.name, "type": self.type}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(name=data["name"], type=data["type"])


@dataclass(frozen=True)
class DataContract:
    """What the source promised, and what to do when it breaks the promise.

    Attributes:
        new_column: `evolve`, `freeze`, `quarantine` or `ignore`.
        missing_column: `evolve`, `freeze`, `quarantine`, `ignore` or `null`.
        type_change: `evolve`, `freeze`, `quarantine` or `ignore`.
        fields: agreed columns; empty = nothing was agreed yet, so nothing can differ.
    """

    new_column: str = "ignore"
    missing_column: str = "freeze"
    type_change: str = "quarantine"
    fields: tuple[ContractField, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The contract as in the flow definition."""
        return {
            "new_column": self.new_column,
            "missing_column": self.missing_column,
            "type_change": self.type_change,
            "fields": [item.to_json() for item in self.fields],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; absent keys take the defaults."""
        return cls(
            new_column=data.get("new_column", cls.new_column),
            missing_column=data.get("missing_column", cls.missing_column),
            type_change=data.get("type_change", cls.type_change),
            fields=tuple(ContractField.from_json(item) for item in data.get("fields", ())),
        )


@dataclass(frozen=True)
class DriftDecision:
    """One difference and what happens about it.

    Attributes:
        change: `new_column`, `missing_column` or `type_change`.
        column: the source column.
        mode: the contract's mode that decided.
        action: what the engine does (`apps.quality.choices.DriftAction`).
        used: the mapping reads the column.
        expected_type, actual_type: DuckDB types; None where the column does not exist.
        message: one sentence for people.
    """

    change: str
    column: str
    mode: str
    action: str
    used: bool
    expected_type: str | None
    actual_type: str | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """The decision as a JSON object."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class DriftReport:
    """Every difference between a data contract and the source as it is now.

    Attributes:
        decisions: in the contract's order, new columns last.
        fields: the contract's fields after evolution; equal to the old ones when nothing evolved.
    """

    decisions: tuple[DriftDecision, ...]
    fields: tuple[ContractField, ...]

    @property
    def blocking(self) -> tuple[DriftDecision, ...]:
        """Decisions that do not let a run start."""
        return tuple(item for item in self.decisions if item.action == "stop")

    def to_json(self) -> dict[str, Any]:
        """`{decisions, fields, blocking: bool}`."""
        return {
            "decisions": [item.to_json() for item in self.decisions],
            "fields": [item.to_json() for item in self.fields],
            "blocking": bool(self.blocking),
        }


@dataclass(frozen=True)
class ColumnLineage:
    """Where one target column comes from.

    Attributes:
        target_column: column of the target entity.
        source_columns: columns of the source entity the expression reads; empty for a constant.
        expression: the mapping as written.
        identity: the column is copied unchanged.
    """

    target_column: str
    source_columns: tuple[str, ...]
    expression: str
    identity: bool = False

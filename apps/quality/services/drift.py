"""The data contract against the source as it is now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from apps.core.exceptions import Problem
from apps.expressions.types import find_type, fit
from apps.quality.choices import ContractMode, DriftAction, SchemaChange
from apps.quality.contracts import ContractField, DataContract, DriftDecision, DriftReport
from apps.quality.exceptions import ContractBroken


def is_widening(expected: str, actual: str) -> bool:
    """Every value of the expected DuckDB type is also a value of the actual one (`INTEGER` -> `BIGINT`)."""
    before, after = find_type(expected), find_type(actual)
    return before is not None and after is not None and fit(before, after)[0] in {"same", "widening"}


def compare_schema(
    contract: DataContract, actual: Sequence[ContractField], *, used: Collection[str] = ()
) -> DriftReport:
    """Every difference between the contract and the source, with what happens about it.

    Args:
        contract: what was agreed; without fields nothing can differ.
        actual: columns of the source now.
        used: source columns that the mapping reads; they make a missing column matter.

    Returns:
        Decisions in the contract's order, new columns last, and the contract's fields after evolution.
    """
    if not contract.fields:
        return DriftReport(decisions=(), fields=tuple(actual))
    now = {item.name: item for item in actual}
    agreed = {item.name for item in contract.fields}
    decisions: list[DriftDecision] = []
    fields: list[ContractField] = []
    for item in contract.fields:
        found = now.get(item.name)
        if found is None:
            decision = _missing(item, contract.missing_column, item.name in used)
            decisions.append(decision)
            if contract.missing_column != ContractMode.EVOLVE or decision.action == DriftAction.STOP:
                fields.append(item)
        elif found.type != item.type:
            decisions.append(_retyped(item, found, contract.type_change, item.name in used))
            fields.append(found if contract.type_change == ContractMode.EVOLVE else item)
        else:
            fields.append(item)
    for item in actual:
        if item.name not in agreed:
            decisions.append(_new(item, contract.new_column, item.name in used))
            if contract.new_column == ContractMode.EVOLVE:
                fields.append(item)
    return DriftReport(decisions=tuple(decisions), fields=tuple(fields))


def ensure_contract(report: DriftReport) -> None:
    """Refuse to go on when a difference stops the load.

    Raises:
        ContractBroken: one problem per column; the message names the first ones.
    """
    blocking = report.blocking
    if not blocking:
        return
    shown = " ".join(item.message for item in blocking[:3])
    more = f" And {len(blocking) - 3} more." if len(blocking) > 3 else ""
    raise ContractBroken(
        f"{shown}{more}",
        field=blocking[0].column,
        problems=[
            Problem(path=f"contract.fields.{item.column}", code=f"quality.{item.change}", message=item.message)
            for item in blocking
        ],
    )


def _missing(item: ContractField, mode: str, used: bool) -> DriftDecision:
    gone = f"The source column {item.name!r} ({item.type}) no longer exists"
    if mode == ContractMode.FREEZE:
        action, message = DriftAction.STOP, f"{gone}, and the data contract does not allow that."
    elif mode == ContractMode.QUARANTINE:
        action = DriftAction.QUARANTINE_ALL if used else DriftAction.SKIP
        message = f"{gone}; " + ("every row goes to quarantine." if used else "nothing reads it.")
    elif mode == ContractMode.IGNORE and used:
        action, message = DriftAction.STOP, f"{gone}, and the mapping reads it."
    elif mode == ContractMode.IGNORE:
        action, message = DriftAction.SKIP, f"{gone}; nothing reads it."
    else:
        action, message = DriftAction.FILL_NULL, f"{gone}; it is read as NULL."
    return DriftDecision(SchemaChange.MISSING_COLUMN, item.name, mode, action, used, item.type, None, message)


def _retyped(item: ContractField, found: ContractField, mode: str, used: bool) -> DriftDecision:
    kind = "wider" if is_widening(item.type, found.type) else "different"
    changed = f"The source column {item.name!r} was {item.type} and is now {found.type} ({kind})"
    if mode == ContractMode.FREEZE:
        action, message = DriftAction.STOP, f"{changed}, and the data contract does not allow that."
    elif mode == ContractMode.QUARANTINE:
        action = DriftAction.CAST
        message = f"{changed}; values that do not convert to {item.type} send their row to quarantine."
    else:
        action, message = DriftAction.ACCEPT, f"{changed}; it is read as it is now."
    return DriftDecision(SchemaChange.TYPE_CHANGE, item.name, mode, action, used, item.type, found.type, message)


def _new(item: ContractField, mode: str, used: bool) -> DriftDecision:
    added = f"The source has a new column {item.name!r} ({item.type})"
    if mode == ContractMode.FREEZE:
        action, message = DriftAction.STOP, f"{added}, and the data contract does not allow that."
    elif mode == ContractMode.QUARANTINE:
        action = DriftAction.QUARANTINE_ROWS
        message = f"{added}; rows that have a value in it go to quarantine."
    elif mode == ContractMode.EVOLVE:
        action, message = DriftAction.ACCEPT, f"{added}; it joins the data contract when the flow is published again."
    else:
        action = DriftAction.ACCEPT if used else DriftAction.SKIP
        message = f"{added}; it is ignored."
    return DriftDecision(SchemaChange.NEW_COLUMN, item.name, mode, action, used, None, item.type, message)

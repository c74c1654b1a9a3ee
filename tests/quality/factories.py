"""Rejected rows and reconciliations for tests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from apps.core.ids import uuid7
from apps.quality.contracts import (
    BrokenRule,
    Control,
    QuarantineContext,
    ReconciliationInput,
    ReconciliationView,
    RejectedRow,
    SideTotals,
)
from apps.quality.models import QuarantinedRow
from apps.quality.services.reconciliation import record_reconciliation
from apps.quality.services.rejection import quarantine_rows_bulk

NEGATIVE = BrokenRule("positive_total", "total", "expressions.row.rule", "Total must not be negative")
EMPTY = BrokenRule("not_null", "email", "expressions.row.null", "email must not be empty")


def make_context(
    *, part: str = "", flow_id: UUID | None = None, environment_id: UUID | None = None
) -> QuarantineContext:
    """A run that rejects rows."""
    return QuarantineContext(uuid7(), flow_id or uuid7(), uuid7(), environment_id or uuid7(), part)


def make_rows(
    count: int = 1,
    *,
    context: QuarantineContext | None = None,
    errors: Sequence[BrokenRule] = (NEGATIVE,),
    payload: dict[str, Any] | None = None,
) -> list[QuarantinedRow]:
    """Rejected rows, oldest first."""
    context = context or make_context()
    given = [
        RejectedRow(str(n), payload or {"id": n, "total": Decimal("-1.50"), "email": f"p{n}@x.example"}, tuple(errors))
        for n in range(count)
    ]
    quarantine_rows_bulk(context, given)
    return list(QuarantinedRow.objects.filter(run_id=context.run_id).order_by("pk"))


def make_reconciliation(*, requested_by: UUID | None = None, missing: int = 0, **changes: Any) -> ReconciliationView:
    """A recorded reconciliation of 412 rows; red when rows are missing."""
    given = {
        "run_id": uuid7(),
        "flow_id": uuid7(),
        "environment_id": uuid7(),
        "source": SideTotals(412, {"Total": Decimal("2328.60")}),
        "target": SideTotals(412 - missing, {"Total": Decimal("2328.60")}),
        "controls": (Control("Total", "total", "total", "sum", Decimal("0.00")),),
        "requested_by": requested_by,
        **changes,
    }
    return record_reconciliation(ReconciliationInput(**given))

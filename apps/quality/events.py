"""Events of the quality app: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

QUARANTINE_DECIDED = "quarantine.decided.v1"
RECONCILIATION_RECORDED = "reconciliation.recorded.v1"
RECONCILIATION_SIGNED = "reconciliation.signed.v1"


@dataclass(frozen=True)
class QuarantineDecided:
    """Rejected rows of one flow were given up. `decision` is `discarded`; `by` names who decided."""

    flow_id: UUID
    decision: str
    rows: int
    by: str


@dataclass(frozen=True)
class ReconciliationRecorded:
    """A load was compared with its source. `reasons` are sentences; at most ten go out."""

    reconciliation_id: UUID
    run_id: UUID
    flow_id: UUID
    status: str
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReconciliationSigned:
    """A person accepted a load. `verdict` is what had been computed."""

    reconciliation_id: UUID
    run_id: UUID
    flow_id: UUID
    verdict: str
    by: str

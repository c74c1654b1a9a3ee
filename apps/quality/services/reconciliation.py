"""Is a load complete and correct? Counts and control totals of both sides, a verdict, and a person's signature."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.quality.choices import ReconciliationStatus
from apps.quality.contracts import Control, ReconciliationInput, ReconciliationView, decimal_text
from apps.quality.events import (
    RECONCILIATION_RECORDED,
    RECONCILIATION_SIGNED,
    ReconciliationRecorded,
    ReconciliationSigned,
)
from apps.quality.exceptions import (
    AlreadySigned,
    CommentRequired,
    PersonRequired,
    ReconciliationNotFound,
    SelfSignOff,
)
from apps.quality.models import Reconciliation
from apps.quality.selectors import to_reconciliation
from apps.tenancy.services.context import require_tenant

BREAKS_KEPT = 200
PRECISION = 80
"""Digits of every subtraction here; Python's default of 28 would round sums of DECIMAL(38,10)."""
_ADDITIVE = ("sum", "count")


@dataclass(frozen=True)
class Verdict:
    """Outcome of comparing both sides.

    Attributes:
        status: `green` (equal, or within tolerance, and nothing rejected), `amber` (everything is explained, but rows
            wait in quarantine) or `red` (a difference nobody can explain).
        controls: list of {name, aggregate, source, target, quarantined, difference, tolerance, ok}, decimals as text.
        reasons: sentences for people.
    """

    status: str
    controls: tuple[dict[str, Any], ...]
    reasons: tuple[str, ...]


def compute_verdict(given: ReconciliationInput) -> Verdict:
    """Compare both sides of a load; pure.

    The source holds everything that was read and not filtered out on purpose. What the run rejected explains a
    difference: count(source) - quarantined - count(target) must be 0, and so for additive control totals. For `min`
    and `max` a differing source value is explained when it is the quarantined rows' own extreme.
    """
    with localcontext(prec=PRECISION):
        return _compute(given)


def _compute(given: ReconciliationInput) -> Verdict:
    reasons: list[str] = []
    red = False
    missing = given.source.count - given.quarantined - given.target.count
    if abs(missing) > given.count_tolerance:
        red = True
        where = "missing from" if missing > 0 else "too many in"
        reasons.append(
            f"{abs(missing)} rows are {where} the target: {given.source.count} read,"
            f" {given.quarantined} in quarantine, {given.target.count} in the target."
        )
    elif missing:
        reasons.append(f"The counts differ by {abs(missing)}, within the tolerance of {given.count_tolerance}.")
    controls = []
    for control in given.controls:
        line = _compare(control, given)
        controls.append(line)
        if not line["ok"]:
            red = True
            reasons.append(
                f"{control.name}: {line['source']} in the source, {line['target']} in the target, difference"
                f" {line['difference']}, tolerance {line['tolerance']}."
            )
    breaks = given.breaks_total or len(given.breaks)
    if breaks > given.count_tolerance:
        red = True
        reasons.append(f"{breaks} keys differ.")
    if given.quarantined:
        reasons.append(f"{given.quarantined} rows wait in quarantine.")
    status = ReconciliationStatus.GREEN
    if red:
        status = ReconciliationStatus.RED
    elif given.quarantined:
        status = ReconciliationStatus.AMBER
    return Verdict(status=status.value, controls=tuple(controls), reasons=tuple(reasons))


@transaction.atomic
def record_reconciliation(given: ReconciliationInput) -> ReconciliationView:
    """Compute the verdict of a run's load and keep it. Calling it again replaces the row unless it is signed.

    Args:
        given: both sides; only the first `BREAKS_KEPT` breaks are kept, `breaks_total` says how many there are.

    Returns:
        What is recorded; of a signed reconciliation the signed one, unchanged.
    """
    known = Reconciliation.objects.select_for_update().filter(run_id=given.run_id).first()
    if known is not None and known.signed_at is not None:
        return to_reconciliation(known)
    verdict = compute_verdict(given)
    row, _ = Reconciliation.objects.update_or_create(
        run_id=given.run_id,
        defaults={
            "flow_id": given.flow_id,
            "environment_id": given.environment_id,
            "status": verdict.status,
            "verdict": verdict.status,
            "source": given.source.to_json(),
            "target": given.target.to_json(),
            "quarantined": given.quarantined,
            "count_tolerance": given.count_tolerance,
            "controls": list(verdict.controls),
            "breaks": [item.to_json() for item in given.breaks[:BREAKS_KEPT]],
            "breaks_total": given.breaks_total or len(given.breaks),
            "reasons": list(verdict.reasons),
            "requested_by": given.requested_by,
        },
    )
    publish_event(
        RECONCILIATION_RECORDED,
        subject=f"run/{row.run_id}",
        key=str(row.flow_id),
        data=ReconciliationRecorded(
            reconciliation_id=row.pk,
            run_id=row.run_id,
            flow_id=row.flow_id,
            status=row.status,
            reasons=[reason[:500] for reason in row.reasons[:10]],
        ),
    )
    _hint(row)
    return to_reconciliation(row)


@transaction.atomic
def sign_reconciliation(reconciliation_id: UUID, *, actor: Actor, comment: str = "") -> ReconciliationView:
    """Accept a load by signature. Final.

    Args:
        reconciliation_id: which one.
        actor: a person with `reconciliation:sign` who did not start the run.
        comment: why it is accepted; required unless it is green.

    Raises:
        ReconciliationNotFound, AlreadySigned: see their messages.
        PersonRequired: an API key or the system tries to sign.
        SelfSignOff: the actor started the run.
        CommentRequired: not green, and no comment.
    """
    check_permission(actor, "reconciliation:sign")
    row = Reconciliation.objects.select_for_update().filter(pk=reconciliation_id).first()
    if row is None:
        raise ReconciliationNotFound(value=reconciliation_id)
    if row.signed_at is not None:
        raise AlreadySigned(f"{row.signed_by_name} signed it on {row.signed_at:%Y-%m-%d %H:%M} UTC.")
    if actor.kind != "user" or actor.id is None:
        raise PersonRequired()
    if row.requested_by == actor.id:
        raise SelfSignOff()
    if row.verdict != ReconciliationStatus.GREEN and not comment.strip():
        raise CommentRequired(field="comment")
    row.status = ReconciliationStatus.SIGNED
    row.signed_by, row.signed_by_name, row.signed_at = actor.id, actor.name, now()
    row.comment = comment.strip()
    row.save(update_fields=["status", "signed_by", "signed_by_name", "signed_at", "comment", "updated_at"])
    record_audit(
        actor=actor,
        action="reconciliation.signed",
        target_type="reconciliation",
        target_id=row.pk,
        summary=f"Signed the {row.verdict} reconciliation of run {row.run_id}.",
        facts={"run_id": str(row.run_id), "verdict": row.verdict, "comment": row.comment, "reasons": row.reasons},
    )
    publish_event(
        RECONCILIATION_SIGNED,
        subject=f"run/{row.run_id}",
        key=str(row.flow_id),
        data=ReconciliationSigned(
            reconciliation_id=row.pk, run_id=row.run_id, flow_id=row.flow_id, verdict=row.verdict, by=actor.name
        ),
    )
    _hint(row)
    return to_reconciliation(row)


def _compare(control: Control, given: ReconciliationInput) -> dict[str, Any]:
    source = given.source.totals.get(control.name)
    target = given.target.totals.get(control.name)
    rejected = given.quarantined_totals.get(control.name)
    if control.aggregate in _ADDITIVE:
        difference = (source or Decimal(0)) - (rejected or Decimal(0)) - (target or Decimal(0))
    elif source is None or target is None:
        only = source if target is None else target
        difference = Decimal(0) if only is None or only == rejected else only
    else:
        difference = Decimal(0) if source == rejected else source - target
    return {
        "name": control.name,
        "aggregate": control.aggregate,
        "source": _shown(source),
        "target": _shown(target),
        "quarantined": _shown(rejected),
        "difference": decimal_text(difference),
        "tolerance": decimal_text(control.tolerance),
        "ok": abs(difference) <= control.tolerance,
    }


def _shown(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)


def _hint(row: Reconciliation) -> None:
    send_hint(require_tenant().id, "reconciliation", row.pk, run=str(row.run_id), status=row.status)

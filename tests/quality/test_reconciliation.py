"""Reconciliations: the verdict is computed to the cent; the signature is another person's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.quality.contracts import Break, Control, ReconciliationInput, SideTotals
from apps.quality.exceptions import (
    AlreadySigned,
    CommentRequired,
    PersonRequired,
    ReconciliationNotFound,
    SelfSignOff,
)
from apps.quality.models import Reconciliation
from apps.quality.selectors import find_reconciliation
from apps.quality.services.reconciliation import BREAKS_KEPT, compute_verdict, sign_reconciliation
from tests.quality.factories import make_reconciliation

SIGN = frozenset({"reconciliation:sign"})
REQUESTER = Actor(kind="user", id=uuid7(), name="ron@acme.example", permissions=SIGN)
APPROVER = Actor(kind="user", id=uuid7(), name="ada@acme.example", permissions=SIGN)


def verdict(source, target, **changes):
    """Verdict on counts and one control."""
    control = Control("Total", "total", "total", changes.pop("aggregate", "sum"), changes.pop("tolerance", Decimal(0)))
    sides = [
        SideTotals(count, {"Total": None if total is None else Decimal(total)}) for count, total in (source, target)
    ]
    given = ReconciliationInput(uuid7(), uuid7(), uuid7(), *sides, controls=(control,), **changes)
    return compute_verdict(given)


REJECTED = {"Total": Decimal("1.50")}


@pytest.mark.parametrize(
    ("source", "target", "changes", "status"),
    [
        ((412, "2328.60"), (412, "2328.60"), {}, "green"),
        ((412, "2328.60"), (412, "2328.59"), {}, "red"),  # a cent
        ((412, "2328.60"), (412, "2328.59"), {"tolerance": Decimal("0.01")}, "green"),  # tolerated
        ((412, "2328.60"), (411, "2328.60"), {}, "red"),  # a row lost without a trace
        ((412, "2328.60"), (413, "2328.60"), {}, "red"),  # a row too many
        ((412, "2328.60"), (411, "2328.60"), {"count_tolerance": 1}, "green"),
        # rejected rows explain the difference, but somebody must look at them
        ((412, "2328.60"), (411, "2327.10"), {"quarantined": 1, "quarantined_totals": REJECTED}, "amber"),
        # the count is explained, the amount is not
        ((412, "2328.60"), (411, "2327.00"), {"quarantined": 1, "quarantined_totals": REJECTED}, "red"),
        ((412, "2328.60"), (411, "2327.10"), {"quarantined": 1}, "red"),  # nobody knows what was rejected
        ((0, None), (0, None), {}, "green"),  # empty on both sides
        ((3, "9"), (3, "9"), {"aggregate": "max"}, "green"),
        ((3, "9"), (3, "8"), {"aggregate": "max"}, "red"),
        # the largest value is itself in quarantine
        (
            (3, "9"),
            (2, "8"),
            {"aggregate": "max", "quarantined": 1, "quarantined_totals": {"Total": Decimal(9)}},
            "amber",
        ),
        ((3, "9"), (3, "9"), {"breaks": (Break({"id": "7"}, "different"),)}, "red"),  # equal totals can hide a swap
    ],
)
def test_verdict(source, target, changes, status):
    assert verdict(source, target, **dict(changes)).status == status


def test_verdict_shows_amounts_as_written():
    line = verdict((412, "2328.60"), (412, "2328.59")).controls[0]
    assert (line["source"], line["target"], line["difference"], line["ok"]) == ("2328.60", "2328.59", "0.01", False)


def test_ten_digit_amounts_stay_exact():
    line = verdict((1, "12345678901234567890.123456789"), (1, "12345678901234567890.123456788")).controls[0]
    assert line["difference"] == "0.000000001"


def test_recording_again_replaces_the_row_until_it_is_signed(as_acme):
    first = make_reconciliation(missing=2)
    assert first.status == "red"
    again = make_reconciliation(run_id=first.run_id)
    assert (again.id, again.status) == (first.id, "green")
    sign_reconciliation(first.id, actor=APPROVER)
    kept = make_reconciliation(run_id=first.run_id, missing=5)
    assert (kept.status, kept.verdict) == ("signed", "green")
    assert Reconciliation.objects.filter(run_id=first.run_id).count() == 1


def test_breaks_are_bounded_and_counted(as_acme):
    breaks = tuple(Break({"id": str(n)}, "missing_in_target") for n in range(BREAKS_KEPT + 50))
    found = make_reconciliation(breaks=breaks, breaks_total=12_345)
    assert len(found.breaks) == BREAKS_KEPT
    assert found.breaks_total == 12_345
    assert any("12345 keys differ" in reason for reason in found.reasons)


def test_whoever_started_the_run_may_not_sign_it(as_acme):
    found = make_reconciliation(requested_by=REQUESTER.id)
    with pytest.raises(SelfSignOff):
        sign_reconciliation(found.id, actor=REQUESTER)
    signed = sign_reconciliation(found.id, actor=APPROVER)
    assert (signed.status, signed.verdict, signed.signed_by) == ("signed", "green", APPROVER.id)
    entry = AuditEntry.objects.filter(action="reconciliation.signed").latest("at")
    assert (entry.actor_name, entry.target_id) == (APPROVER.name, str(found.id))
    assert Event.objects.filter(type__endswith="reconciliation.signed.v1").latest("time").data["by"] == APPROVER.name


def test_even_an_administrator_may_not_sign_an_own_run(as_acme):
    admin = Actor(kind="user", id=uuid7(), name="root", permissions=frozenset({"tenant:manage", *SIGN}))
    found = make_reconciliation(requested_by=admin.id)
    with pytest.raises(SelfSignOff):
        sign_reconciliation(found.id, actor=admin)


def test_a_signature_is_final(as_acme):
    found = make_reconciliation()
    sign_reconciliation(found.id, actor=APPROVER)
    with pytest.raises(AlreadySigned):
        sign_reconciliation(found.id, actor=APPROVER)


def test_a_red_reconciliation_needs_a_comment(as_acme):
    found = make_reconciliation(missing=1)
    with pytest.raises(CommentRequired):
        sign_reconciliation(found.id, actor=APPROVER, comment=" ")
    assert sign_reconciliation(found.id, actor=APPROVER, comment="late invoice").comment == "late invoice"


def test_only_a_person_with_the_permission_signs(as_acme):
    found = make_reconciliation()
    with pytest.raises(PermissionDenied):
        sign_reconciliation(found.id, actor=Actor(kind="user", id=uuid7(), name="v"))
    with pytest.raises(PersonRequired):
        sign_reconciliation(found.id, actor=Actor(kind="api_key", id=uuid7(), name="k", permissions=SIGN))
    with pytest.raises(PersonRequired):
        sign_reconciliation(found.id, actor=Actor.system("robot"))
    with pytest.raises(ReconciliationNotFound):
        sign_reconciliation(uuid7(), actor=APPROVER)


def test_a_run_without_reconciliation_has_none(as_acme):
    assert find_reconciliation(uuid7()) is None

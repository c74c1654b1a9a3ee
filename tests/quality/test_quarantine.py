"""Rejected rows: kept exactly, safe to repeat, decided by people."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.quality.choices import QuarantineStatus
from apps.quality.contracts import BrokenRule, RejectedRow
from apps.quality.exceptions import (
    CorrectionFieldUnknown,
    CorrectionInvalid,
    QuarantinedRowDecided,
    QuarantinedRowNotFound,
    ReasonRequired,
    SelectionEmpty,
    SelectionMixed,
)
from apps.quality.models import QuarantinedRow
from apps.quality.registries import RowChecker, row_checkers
from apps.quality.selectors import (
    count_open,
    filter_quarantine,
    iter_replay_rows,
    select_for_replay,
    show_bounded,
    summarise_quarantine,
)
from apps.quality.services.payloads import encode_payload, to_exact
from apps.quality.services.quarantine import correct_row, discard_rows, mark_replayed, release_replayed
from apps.quality.services.rejection import quarantine_rows_bulk, reset_part
from apps.quality.services.retention import purge_decided_rows
from tests.quality.factories import EMPTY, NEGATIVE, make_context, make_rows

ANNA = Actor(kind="user", id=uuid7(), name="anna@acme.example", permissions=frozenset({"quarantine:edit"}))
VIEWER = Actor(kind="user", id=uuid7(), name="viewer@acme.example", permissions=frozenset({"quarantine:view"}))


class NegativeTotals(RowChecker):
    """Knows one flow and refuses negative totals in it."""

    type = "tests.negative_totals"

    def __init__(self) -> None:
        self.flow_id = uuid7()

    def check_row(self, *, flow_id, flow_version_id, environment_id, values):  # type: ignore[no-untyped-def]
        """None for other flows."""
        if flow_id != self.flow_id:
            return None
        return [NEGATIVE] if Decimal(values["total"]) < 0 else []


@pytest.fixture
def checker():
    """A checker that comes before those of the product, for the time of one test."""
    found = NegativeTotals()
    known = dict(row_checkers._items)
    row_checkers._items.clear()
    row_checkers.register(found)
    row_checkers._items.update(known)
    yield found
    row_checkers._items.clear()
    row_checkers._items.update(known)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (Decimal("0.10"), "0.10"),  # the scale stays
        (Decimal("1E+3"), "1000"),  # no exponent
        (0.1, "0.1"),  # a binary float as its shortest exact text
        (float("nan"), "NaN"),  # JSON has no NaN
        (2**53, "9007199254740992"),  # beyond what browsers count exactly
        (42, 42),
        (True, True),
        (None, None),
        (datetime(2026, 1, 31, 12, 0, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
        (timedelta(seconds=1), "1000000 microseconds"),
        (b"\x00\xff", "AP8="),
        ("a\x00b", "a\u2400b"),  # PostgreSQL refuses NUL
        ("a\ud800b", "a\ufffdb"),  # and a lone surrogate
        ({"tags": [Decimal("1.0"), {"x": 0.5}]}, {"tags": ["1.0", {"x": "0.5"}]}),
    ],
)
def test_values_are_kept_exactly(value, kept):
    assert to_exact(value) == kept


def test_ready_json_text_is_taken_as_it_is():
    text, search = encode_payload('{"total":"1.10","note":"bad \\u0000 sign","name":"Müller, Söhne"}')
    assert text == '{"total":"1.10","note":"bad \u2400 sign","name":"Müller, Söhne"}'
    assert "Müller" in search
    assert "total" not in search


def test_rejected_rows_keep_payload_and_every_rule(as_acme):
    context = make_context()
    rows = [RejectedRow("17", {"total": Decimal("-1.50"), "email": None}, (NEGATIVE, EMPTY), "line 17")]
    assert quarantine_rows_bulk(context, rows) == 1
    row = QuarantinedRow.objects.get(run_id=context.run_id)
    assert row.payload == {"total": "-1.50", "email": None}
    assert [error["rule"] for error in row.errors] == ["positive_total", "not_null"]
    assert row.rules == ["positive_total", "not_null"]
    assert (row.status, row.source_position, row.flow_id) == (QuarantineStatus.OPEN, "line 17", context.flow_id)


def test_repeating_a_batch_changes_nothing(as_acme):
    context = make_context()
    first = [RejectedRow(str(n), {"n": n}, (NEGATIVE,)) for n in range(5)]
    assert quarantine_rows_bulk(context, first) == 5
    more = [RejectedRow(str(n), {"n": n}, (NEGATIVE,)) for n in range(3, 8)]
    assert quarantine_rows_bulk(context, more) == 3
    assert QuarantinedRow.objects.filter(run_id=context.run_id).count() == 8


def test_reset_forgets_only_untouched_rows_of_the_part(as_acme):
    context = make_context(part="load/part[0]")
    rows = make_rows(3, context=context)
    QuarantinedRow.objects.filter(pk=rows[0].pk).update(status=QuarantineStatus.DISCARDED)
    other = type(context)(**{**context.__dict__, "part": "load/part[1]"})
    quarantine_rows_bulk(other, [RejectedRow("99", {"n": 1}, (NEGATIVE,))])
    assert reset_part(context) == 2
    assert set(QuarantinedRow.objects.filter(run_id=context.run_id).values_list("row_id", flat=True)) == {"0", "99"}


def test_a_ten_megabyte_field_is_kept_whole_and_listed_without_payload(as_acme):
    huge = "x" * 10_000_000
    (row,) = make_rows(1, payload={"note": huge, "id": 1})
    assert QuarantinedRow.objects.get(pk=row.pk).payload["note"] == huge
    # A repeated letter compresses far below the limit, so the size is what counts, not the length.
    import random

    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=300_000))
    (row,) = make_rows(1, payload={"note": noise})
    (listed,) = show_bounded(filter_quarantine(run=row.run_id))
    assert listed.shown_payload is None


def test_a_hundred_thousand_rejects_take_seconds(as_acme):
    context = make_context()
    names = ("number", "customer", "city", "currency", "note")
    rows = (
        RejectedRow(
            str(n),
            {
                "id": n,
                "total": Decimal(n) / 100,
                "due": datetime(2026, 1, 1, tzinfo=UTC),
                **dict.fromkeys(names, f"v{n}"),
            },
            (NEGATIVE, EMPTY),
        )
        for n in range(100_000)
    )
    started = time.perf_counter()
    assert quarantine_rows_bulk(context, rows) == 100_000
    spent = time.perf_counter() - started
    started = time.perf_counter()
    summary = summarise_quarantine(filter_quarantine(run=context.run_id))
    counted = time.perf_counter() - started
    assert summary["total"] == 100_000
    started = time.perf_counter()
    assert filter_quarantine(run=context.run_id, search="v77777")[0].payload["id"] == 77777
    found = time.perf_counter() - started
    print(f"\n100,000 rejects: {spent:.1f} s to keep, {counted:.2f} s to count, {found:.3f} s to find one")
    assert spent < 60  # a busy machine; alone it is about 7 s
    assert counted < 10


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("Schmidt", 1),  # a word
        ("schm", 1),  # the beginning of one
        ("schmidt acme", 1),  # all words, in any order
        ("-1.50", 2),  # a number as shown
        ("schmidt nowhere", 0),
        ("'); DROP TABLE x; --", 0),  # words are a parameter
        ("& | !", 0),  # nothing left to look for
    ],
)
def test_search_finds_values(as_acme, term, found):
    context = make_context()
    rows = [
        RejectedRow("1", {"name": "Acme Schmidt GmbH", "total": Decimal("-1.50")}, (NEGATIVE,)),
        RejectedRow("2", {"name": "Miller", "total": Decimal("-1.50")}, (NEGATIVE,)),
    ]
    quarantine_rows_bulk(context, rows)
    assert filter_quarantine(run=context.run_id, search=term).count() == found


def test_search_uses_the_index(as_acme):
    plan = filter_quarantine(search="schmidt").order_by().explain()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = filter_quarantine(search="schmidt").order_by().explain()
    assert "quality_q_search" in plan


def test_summary_counts_a_row_under_each_of_its_rules(as_acme):
    context = make_context()
    rows = [
        RejectedRow("1", {"n": 1}, (NEGATIVE, EMPTY)),
        RejectedRow("2", {"n": 2}, (NEGATIVE,)),
    ]
    quarantine_rows_bulk(context, rows)
    summary = summarise_quarantine(filter_quarantine(run=context.run_id))
    assert summary["by_rule"] == [{"rule": "positive_total", "count": 2}, {"rule": "not_null", "count": 1}]
    assert summary["total"] == 2
    assert summary["by_status"]["open"] == 2


def test_correction_is_checked_against_the_rules_of_today(as_acme, checker):
    (row,) = make_rows(1, context=make_context(flow_id=checker.flow_id))
    with pytest.raises(CorrectionInvalid) as refused:
        correct_row(row.pk, {"total": "-2.00"}, actor=ANNA)
    assert refused.value.problems[0].path == "corrected.total"
    corrected = correct_row(row.pk, {"total": Decimal("1.50")}, note="sign was wrong", actor=ANNA)
    assert corrected.status == QuarantineStatus.CORRECTED
    assert corrected.corrected == {"total": "1.50"}
    entry = AuditEntry.objects.filter(action="quarantine.row_corrected").latest("at")
    assert (entry.target_id, entry.facts["columns"]) == (str(row.pk), ["total"])


def test_an_empty_correction_takes_the_former_one_back(as_acme, checker):
    (row,) = make_rows(1, context=make_context(flow_id=checker.flow_id))
    correct_row(row.pk, {"total": "1.50"}, actor=ANNA)
    back = correct_row(row.pk, {}, actor=ANNA)
    assert (back.status, back.corrected) == (QuarantineStatus.OPEN, None)


def test_correction_of_an_unknown_column_is_refused(as_acme):
    (row,) = make_rows(1)
    with pytest.raises(CorrectionFieldUnknown) as refused:
        correct_row(row.pk, {"totl": 1}, actor=ANNA)
    assert refused.value.field == "corrected.totl"


def test_decisions_need_the_permission(as_acme):
    (row,) = make_rows(1)
    with pytest.raises(PermissionDenied):
        correct_row(row.pk, {"total": "1"}, actor=VIEWER)
    with pytest.raises(PermissionDenied):
        discard_rows([row.pk], "no", actor=VIEWER)
    with pytest.raises(PermissionDenied):
        mark_replayed(select_for_replay(ids=[row.pk]), run_id=uuid7(), actor=VIEWER)


def test_discarding_needs_a_reason_and_is_all_or_nothing(as_acme):
    rows = make_rows(3)
    ids = [row.pk for row in rows]
    with pytest.raises(ReasonRequired):
        discard_rows(ids, "  ", actor=ANNA)
    with pytest.raises(QuarantinedRowNotFound):
        discard_rows([*ids, uuid7()], "test data", actor=ANNA)
    assert count_open() >= 3
    assert discard_rows(ids, "test data", actor=ANNA) == 3
    row = QuarantinedRow.objects.get(pk=ids[0])
    assert (row.status, row.note, row.decided_by, row.decided_by_name) == ("discarded", "test data", ANNA.id, ANNA.name)
    assert Event.objects.filter(type__endswith="quarantine.decided.v1").latest("time").data["rows"] == 3
    with pytest.raises(QuarantinedRowDecided):
        discard_rows(ids[:1], "again", actor=ANNA)
    with pytest.raises(QuarantinedRowDecided):
        correct_row(ids[0], {"total": "1"}, actor=ANNA)


def test_replay_takes_corrected_values_once(as_acme, checker):
    rows = make_rows(3, context=make_context(flow_id=checker.flow_id))
    correct_row(rows[1].pk, {"total": "9.99"}, actor=ANNA)
    discard_rows([rows[2].pk], "test data", actor=ANNA)
    selection = select_for_replay(run_id=rows[0].run_id)
    run_id = uuid7()
    assert mark_replayed(selection, run_id=run_id, actor=ANNA) == 2
    (batch,) = iter_replay_rows(run_id)
    assert [row.values["total"] for row in batch] == ["-1.50", "9.99"]
    with pytest.raises(SelectionEmpty):
        mark_replayed(selection, run_id=uuid7(), actor=ANNA)
    with pytest.raises(SelectionEmpty):
        select_for_replay(run_id=rows[0].run_id)


def test_a_failed_replay_gives_its_rows_back(as_acme, checker):
    rows = make_rows(2, context=make_context(flow_id=checker.flow_id))
    correct_row(rows[1].pk, {"total": "9.99"}, actor=ANNA)
    run_id = uuid7()
    mark_replayed(select_for_replay(flow_id=checker.flow_id), run_id=run_id, actor=ANNA)
    assert release_replayed(run_id) == 2
    assert release_replayed(run_id) == 0
    statuses = (
        QuarantinedRow.objects.filter(run_id=rows[0].run_id).order_by("pk").values_list("status", "replay_run_id")
    )
    assert list(statuses) == [("open", None), ("corrected", None)]


def test_replay_refuses_a_mixed_or_unknown_selection(as_acme):
    first, second = make_rows(1)[0], make_rows(1)[0]
    with pytest.raises(SelectionMixed):
        select_for_replay(ids=[first.pk, second.pk])
    with pytest.raises(QuarantinedRowNotFound):
        select_for_replay(ids=[first.pk, uuid7()])
    with pytest.raises(SelectionEmpty):
        select_for_replay()


def test_replay_rows_come_in_batches_in_order(as_acme):
    rows = make_rows(7)
    run_id = uuid7()
    mark_replayed(select_for_replay(run_id=rows[0].run_id), run_id=run_id, actor=ANNA)
    batches = list(iter_replay_rows(run_id, batch_rows=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [row.row_id for batch in batches for row in batch] == [str(n) for n in range(7)]


def test_retention_removes_old_decisions_and_never_waiting_rows(as_acme):
    rows = make_rows(3)
    discard_rows([rows[0].pk, rows[1].pk], "test data", actor=ANNA)
    QuarantinedRow.objects.filter(pk=rows[0].pk).update(decided_at=now() - timedelta(days=500))
    QuarantinedRow.objects.filter(pk=rows[2].pk).update(created_at=now() - timedelta(days=5000))
    assert purge_decided_rows() == 1
    left = set(QuarantinedRow.objects.filter(run_id=rows[0].run_id).values_list("pk", flat=True))
    assert left == {rows[1].pk, rows[2].pk}
    assert AuditEntry.objects.filter(action="quarantine.rows_purged").exists()


def test_errors_with_odd_texts_are_kept(as_acme):
    odd = BrokenRule("r" * 300, None, "c", "bad \x00 value \ud800 here")
    (row,) = make_rows(1, errors=(odd,))
    assert row.rules == ["r" * 100]
    assert "value" in row.errors[0]["message"]


def test_large_rows_are_written_in_small_chunks(as_acme, monkeypatch):
    from apps.quality.services import rejection

    monkeypatch.setattr(rejection, "CHUNK_CHARS", 1_000)
    context = make_context()
    rows = (RejectedRow(str(n), {"note": "x" * 400, "n": n}, (NEGATIVE,)) for n in range(20))
    assert quarantine_rows_bulk(context, rows) == 20
    assert QuarantinedRow.objects.filter(run_id=context.run_id).count() == 20


def test_tabs_lines_and_backslashes_survive_copy(as_acme):
    odd = "tab\there\nline\r\nback\\slash \\. \\N end"
    (row,) = make_rows(1, payload={"note": odd, odd: 1})
    assert row.payload == {"note": odd, odd: 1}


def test_the_task_needs_its_tenant(as_acme):
    from apps.quality.tasks import purge_quarantine
    from apps.tenancy.exceptions import TenantContextMissing

    assert purge_quarantine() == 0
    with pytest.raises(TenantContextMissing):
        purge_quarantine.delay()

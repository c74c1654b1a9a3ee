"""Loads from a real PostgreSQL table into the warehouse: full, incremental, partitioned, pushed down, reconciled."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from apps.engine.choices import RunStatus
from apps.engine.models import LoadState, StepResult
from apps.quality.models import QuarantinedRow
from apps.quality.selectors import find_reconciliation
from apps.tenancy.models import Tenant
from tests.engine.erp import POSITIVE, Erp
from tests.engine.systems import (
    add_invoices,
    execute,
    staging_tables,
    target_rows,
)

pytestmark = pytest.mark.committed


def total_of(count: int) -> Decimal:
    return Decimal(count * (count + 1)) / 2 / 100


def test_full_load_is_complete_and_reconciled(erp: Callable[..., Erp]) -> None:
    source = erp(1000, validations=[POSITIVE])
    run = source.loaded()
    assert source.rows() == [(1000, 1000, total_of(1000))]
    assert (run.rows_read, run.rows_accepted, run.rows_written, run.rows_quarantined) == (1000, 1000, 1000, 0)
    assert run.write_result["inserted"] == 1000
    assert run.bytes > 0
    found = find_reconciliation(run.pk)
    assert found is not None
    assert (found.status, found.reasons) == ("green", [])
    assert found.source == {"count": 1000, "totals": {"Total": "5005.00"}}
    assert found.target == {"count": 1000, "totals": {"Total": "5005.00"}}
    assert staging_tables(source.tenant, run.pk) == []


def test_every_broken_rule_of_a_row_is_kept_with_its_source(erp: Callable[..., Erp]) -> None:
    rule = {
        "id": "small",
        "expression": "total < 8",
        "message": "Too large",
        "field": "total",
        "severity": "quarantine",
    }
    source = erp(1000, validations=[POSITIVE, rule])
    execute(f"UPDATE public.{source.table} SET total = -total WHERE id IN (10, 20)")
    run = source.loaded()
    assert (run.rows_accepted, run.rows_quarantined) == (797, 203)
    row = QuarantinedRow.objects.get(run_id=run.pk, payload__id=10)
    assert row.payload == {
        "id": 10,
        "number": "INV-10",
        "total": "-0.10",
        "issued_on": "2026-01-11",
        "updated_at": "2026-01-01T00:10:00",
    }
    assert [error["rule"] for error in row.errors] == ["positive"]
    assert row.errors[0]["message"] == "Total must not be negative"
    both = QuarantinedRow.objects.filter(run_id=run.pk, rules=["small"]).count()
    assert both == 201
    found = find_reconciliation(run.pk)
    assert found is not None
    assert (found.status, found.quarantined) == ("amber", 203)
    assert found.controls[0]["difference"] == "0.00"


def test_upsert_counts_what_it_did(erp: Callable[..., Erp]) -> None:
    source = erp(500)
    source.loaded()
    execute(f"UPDATE public.{source.table} SET total = total + 1 WHERE id <= 20")
    add_invoices(source.table, 501, 510)
    run = source.loaded()
    result = run.write_result
    assert (result["inserted"], result["updated"], result["unchanged"]) == (10, 20, 480)
    assert source.rows("count(*)") == [(510,)]
    found = find_reconciliation(run.pk)
    assert found is not None
    assert found.status == "green", found.reasons


def test_replace_swaps_and_append_adds(erp: Callable[..., Erp]) -> None:
    source = erp(300, disposition="replace")
    source.loaded()
    execute(f"DELETE FROM public.{source.table} WHERE id > 200")
    assert source.loaded().write_result["inserted"] == 200
    assert source.rows("count(*)") == [(200,)]
    adding = erp(50, disposition="append", keys=[])
    adding.loaded()
    adding.loaded()
    assert adding.rows("count(*)") == [(100,)]


def test_filter_leaves_rows_out_and_the_reconciliation_knows(erp: Callable[..., Erp]) -> None:
    source = erp(1000, row_filter="id % 2 = 0")
    run = source.loaded()
    assert (run.rows_read, run.rows_filtered, run.rows_accepted) == (1000, 500, 500)
    found = find_reconciliation(run.pk)
    assert found is not None
    assert (found.status, found.source["count"], found.target["count"]) == ("green", 500, 500)


@pytest.mark.parametrize("partitions", [2, 5])
def test_partitioned_load_has_every_row_once(erp: Callable[..., Erp], partitions: int) -> None:
    source = erp(2003, load={"mode": "partitioned", "partitions": partitions}, validations=[POSITIVE])
    execute(f"UPDATE public.{source.table} SET total = -1 WHERE id % 400 = 0")
    run = source.loaded()
    parts = StepResult.objects.filter(run=run, kind="load.part", status="succeeded").count()
    assert parts == partitions
    assert (run.rows_read, run.rows_quarantined) == (2003, 5)
    assert source.rows("count(*), count(DISTINCT id)") == [(1998, 1998)]
    assert len(set(target_rows(source.tenant, source.target, "_row_id"))) == 1998


def test_incremental_load_reads_what_changed(erp: Callable[..., Erp]) -> None:
    source = erp(100, load={"mode": "incremental", "cursor": "updated_at"})
    first = source.loaded()
    assert first.rows_read == 100
    state = LoadState.objects.get(flow=source.flow)
    assert state.cursor["column"] == "updated_at"
    add_invoices(source.table, 101, 130)
    second = source.loaded()
    assert 30 <= second.rows_read <= 31  # the row at the cursor itself may be read again
    assert source.rows() == [(130, 130, total_of(130))]
    third = source.loaded()
    assert third.rows_read <= 1
    assert third.status == RunStatus.SUCCEEDED


def test_since_reads_from_there_and_lookback_reads_again(erp: Callable[..., Erp]) -> None:
    source = erp(100, load={"mode": "incremental", "cursor": "updated_at", "lookback_s": 600})
    source.loaded()
    assert 10 <= source.loaded().rows_read <= 12
    run = source.loaded(since="2026-01-01T01:30:00")
    assert 10 <= run.rows_read <= 12
    assert source.rows() == [(100, 100, total_of(100))]


def test_late_commit_is_not_missed(erp: Callable[..., Erp]) -> None:
    """A row that was written before the run but commits after it belongs to the next run."""
    import psycopg

    from tests.processes import database_url

    source = erp(50, load={"mode": "incremental", "cursor": "updated_at"})
    insert = f"INSERT INTO public.{source.table} VALUES (%s, 'now', 1, '2026-01-01', localtimestamp)"
    with psycopg.connect(database_url()) as slow:
        slow.execute(insert, (1000,))  # stamped, not committed
        execute(insert, (1001,))  # stamped later, committed earlier
        source.loaded()
        assert 1000 not in {row[0] for row in source.rows("id")}
        slow.commit()
    source.loaded()
    assert {1000, 1001} <= {row[0] for row in source.rows("id")}
    assert source.rows("count(*), count(DISTINCT id)") == [(52, 52)]


def test_push_down_gives_the_same_as_the_pipeline(erp: Callable[..., Erp]) -> None:
    source = erp(1000, shared=True, validations=[POSITIVE])
    execute(f"UPDATE public.{source.table} SET total = -total WHERE id % 100 = 0")
    run = source.loaded()
    pushed = StepResult.objects.filter(run=run, kind="load.pushdown").exists()
    quarantined = set(
        QuarantinedRow.objects.filter(run_id=run.pk).values_list("row_id", "payload__total", "errors__0__message")
    )
    assert pushed, source.log(run)
    # The same table, but read through the worker: a partitioned load is never pushed down when it is incremental.
    source.redefine(
        load={"mode": "incremental", "cursor": "updated_at"}, validations=[POSITIVE], target=source.target + "_b"
    )
    other = source.loaded()
    assert not StepResult.objects.filter(run=other, kind="load.pushdown").exists()
    assert (run.rows_read, run.rows_accepted, run.rows_quarantined) == (
        other.rows_read,
        other.rows_accepted,
        other.rows_quarantined,
    )
    first = target_rows(source.tenant, source.target, "id, total")
    assert first == target_rows(source.tenant, source.target + "_b", "id, total")
    again = set(QuarantinedRow.objects.filter(run_id=other.pk).values_list("payload__total", "errors__0__message"))
    assert {row[1:] for row in quarantined} == again
    found = find_reconciliation(run.pk)
    assert found is not None
    assert found.status == "amber"


def test_duplicate_keys_go_to_the_quarantine_and_the_later_row_wins(erp: Callable[..., Erp]) -> None:
    fields = [
        {"target": "id", "type": "BIGINT", "expression": "id % 90", "nullable": False},
        {"target": "total", "type": "DECIMAL(18,2)", "expression": "total", "nullable": True},
    ]
    source = erp(100, fields=fields)
    run = source.loaded()
    assert (run.rows_read, run.rows_quarantined, run.rows_accepted) == (100, 10, 90)
    rows = QuarantinedRow.objects.filter(run_id=run.pk)
    assert {row.errors[0]["rule"] for row in rows} == {"duplicate_key"}
    assert dict(source.rows("id, total"))[5] == Decimal("0.95")  # 95 came after 5
    found = find_reconciliation(run.pk)
    assert found is not None
    assert (found.status, found.controls[0]["difference"]) == ("amber", "0.00")


def test_second_tenant_s_warehouse_is_untouched(erp: Callable[..., Erp], committed_globex: Tenant) -> None:
    source = erp(10)
    source.loaded()
    found = execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s",
        (committed_globex.warehouse_schema, source.target),
    )
    assert found == []

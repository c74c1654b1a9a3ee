"""Bad input: each ends with a code, a message and a remedy, and nothing that was there is lost."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.connectors.services.connections import create_connection, update_connection
from apps.engine.choices import RunStatus
from apps.engine.models import LoadState, Run, StepResult
from apps.engine.services.executing import work_on_run
from apps.integrations.services.flows import publish_flow
from apps.quality.models import QuarantinedRow
from tests.engine.erp import POSITIVE, Erp
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.systems import INVOICES, add_invoices, drop_table, execute, target_exists
from tests.small_disk import small_disk

pytestmark = pytest.mark.committed
MakeErp = Callable[..., Erp]


def fail(source: Erp, **request: Any) -> Run:
    run = source.load(**request)
    assert run.status in (RunStatus.FAILED, RunStatus.RUNNING), run.status
    error = run.error or StepResult.objects.filter(run=run, status="failed").latest("id").error
    assert error["code"]
    assert error["message"]
    assert error["remedy"], error
    run.error = error
    return run


def test_vanished_table(erp: MakeErp) -> None:
    source = erp(10)
    source.loaded()
    drop_table(source.table)
    run = fail(source)
    assert run.error["code"] == "connectors.entity_gone"
    assert source.rows("count(*)") == [(10,)]


def test_wrong_credentials_and_unreachable_host(erp: MakeErp) -> None:
    source = erp(1)
    config = {**source.connection.config, "user": "nobody_by_that_name"}
    update_connection(source.connection.id, config=config, secrets={"password": "x"}, actor=SYSTEM)
    assert fail(source).error["code"] == "connectors.credentials_refused"
    update_connection(
        source.connection.id,
        config={**source.connection.config, "port": 1},
        secrets={"password": "x"},
        actor=SYSTEM,
    )
    run = fail(source)
    assert run.error["code"] == "connectors.unavailable"  # transient: it tries again by itself
    assert StepResult.objects.filter(run=run, path="load/open").count() == 2
    Run.objects.filter(pk=run.pk).update(status=RunStatus.CANCELLED)


def test_address_in_a_private_range(erp: MakeErp, settings: Any) -> None:
    source = erp(1)
    settings.EGRESS_ALLOW_PRIVATE = []
    assert fail(source).error["code"] == "core.egress.denied"


def test_expression_on_a_missing_column(erp: MakeErp) -> None:
    source = erp(5)
    source.loaded()
    execute(f"ALTER TABLE public.{source.table} DROP COLUMN total")
    run = fail(source)
    assert "total" in run.error["message"]
    assert source.rows("count(*)") == [(5,)]


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("freeze", "failed", "quality.contract_broken"),
        ("ignore", "succeeded", None),
        ("evolve", "succeeded", None),
    ],
)
def test_new_column_follows_the_contract(erp: MakeErp, mode: str, status: str, code: str | None) -> None:
    source = erp(5)
    source.redefine(contract=_contract(new_column=mode))
    execute(f"ALTER TABLE public.{source.table} ADD COLUMN extra text")
    run = source.load()
    assert run.status == status
    assert (run.error or {}).get("code") == code


def test_new_column_with_a_value_sends_its_row_to_the_quarantine(erp: MakeErp) -> None:
    source = erp(5)
    source.redefine(contract=_contract(new_column="quarantine"))
    execute(f"ALTER TABLE public.{source.table} ADD COLUMN extra text")
    execute(f"UPDATE public.{source.table} SET extra = 'x' WHERE id = 3")
    run = source.loaded()
    assert (run.rows_accepted, run.rows_quarantined) == (4, 1)
    row = QuarantinedRow.objects.get(run_id=run.pk)
    assert (row.payload["id"], row.payload["extra"], row.errors[0]["rule"]) == (3, "x", "contract.new_column")


def test_missing_column_follows_the_contract(erp: MakeErp) -> None:
    source = erp(5)
    source.redefine(contract=_contract(missing_column="freeze"))
    execute(f"ALTER TABLE public.{source.table} DROP COLUMN total")
    assert fail(source).error["code"] == "quality.contract_broken"
    source.redefine(contract=_contract(missing_column="null"), controls=[])
    source.loaded()
    assert source.rows("count(*), count(total)") == [(5, 0)]
    source.redefine(contract=_contract(missing_column="quarantine"), controls=[])
    run = source.loaded()
    assert (run.rows_read, run.rows_quarantined) == (5, 5)


def test_retyped_column_is_cast_or_its_rows_rejected(erp: MakeErp) -> None:
    source = erp(5)
    source.redefine(contract=_contract(type_change="quarantine"))
    execute(f"ALTER TABLE public.{source.table} ALTER COLUMN total TYPE text")
    execute(f"UPDATE public.{source.table} SET total = 'n/a' WHERE id = 2")
    run = source.loaded()
    assert (run.rows_accepted, run.rows_quarantined) == (4, 1)
    assert QuarantinedRow.objects.get(run_id=run.pk).errors[0]["rule"] == "contract.type_change"
    assert dict(source.rows("id, total"))[1] == Decimal("0.01")
    source.redefine(contract=_contract(type_change="freeze"))
    assert fail(source).error["code"] == "quality.contract_broken"


def test_empty_extract_does_not_empty_the_target(erp: MakeErp) -> None:
    source = erp(10, disposition="replace")
    source.loaded()
    execute(f"DELETE FROM public.{source.table}")
    run = fail(source)
    assert run.error["code"] == "engine.load.empty_extract"
    assert source.rows("count(*)") == [(10,)]
    source.redefine(disposition="replace", load={"mode": "full", "allow_empty": True})
    source.loaded()
    assert source.rows("count(*)") == [(0,)]


def test_cursor_that_goes_backwards(erp: MakeErp) -> None:
    source = erp(100, load={"mode": "incremental", "cursor": "id"})
    source.loaded()
    before = LoadState.objects.get(flow=source.flow).cursor
    execute(f"DELETE FROM public.{source.table} WHERE id > 50")
    run = fail(source)
    assert run.error["code"] == "engine.load.cursor_backwards"
    assert LoadState.objects.get(flow=source.flow).cursor == before
    assert source.load(since="40").status == RunStatus.SUCCEEDED


def test_cursor_column_that_is_gone(erp: MakeErp) -> None:
    source = erp(5, load={"mode": "incremental", "cursor": "changed_at"})
    assert fail(source).error["code"] == "engine.load.cursor_missing"


def test_failed_load_leaves_the_cursor_behind_the_data(erp: MakeErp) -> None:
    source = erp(10, load={"mode": "incremental", "cursor": "id"}, validations=[POSITIVE])
    source.loaded()
    add_invoices(source.table, 11, 20)
    execute(f"UPDATE public.{source.table} SET total = -1 WHERE id > 10")
    source.redefine(
        load={"mode": "incremental", "cursor": "id"}, validations=[POSITIVE], limits={"max_reject_share": "0.1"}
    )
    state = LoadState.objects.get(flow=source.flow).cursor
    assert fail(source).error["code"] == "engine.load.too_many_rejects"
    assert LoadState.objects.get(flow=source.flow).cursor == state
    execute(f"UPDATE public.{source.table} SET total = 1 WHERE id > 10")
    source.loaded()
    assert source.rows("count(*)") == [(20,)]


@pytest.mark.parametrize(
    ("expression", "type_", "code"),
    [
        ("total / (id - 3)", "DOUBLE", "division_by_zero"),
        ("id * 4611686018427387904", "BIGINT", "overflow"),
        ("cast(number as bigint)", "BIGINT", "conversion"),
    ],
)
def test_arithmetic_faults_are_row_errors(
    erp: MakeErp,
    expression: str,
    type_: str,
    code: str,
) -> None:
    fields = [
        {"target": "id", "type": "BIGINT", "expression": "id", "nullable": False},
        {"target": "value", "type": type_, "expression": expression, "nullable": True},
    ]
    source = erp(5, fields=fields, controls=[])
    run = source.loaded()
    assert run.rows_read == 5
    assert run.rows_quarantined >= 1
    found = QuarantinedRow.objects.filter(run_id=run.pk).first()
    assert found is not None
    assert code in found.errors[0]["code"]
    assert found.errors[0]["field"] == "value"


def test_all_rows_rejected_with_replace_keeps_the_target(erp: MakeErp) -> None:
    source = erp(5, disposition="replace", validations=[POSITIVE])
    source.loaded()
    execute(f"UPDATE public.{source.table} SET total = -1")
    run = fail(source)
    assert run.error["code"] == "engine.load.empty_extract"
    assert "rejected" in run.error["message"]
    assert source.rows("count(*)") == [(5,)]


def test_unbound_slot(erp: MakeErp) -> None:
    source = erp(1)
    source.redefine(source="no-such-slot")
    assert fail(source).error["code"] == "integrations.binding_missing"
    assert not target_exists(source.tenant, source.target)


def test_published_version_is_pinned_while_it_runs(erp: MakeErp) -> None:
    source = erp(10)
    first = publish_flow(source.flow.pk, actor=SYSTEM).version
    from apps.engine.services.runs import StartRequest, start_run

    run = start_run(StartRequest(source.flow.pk, "dev", version=first.number), actor=SYSTEM)
    source.redefine(row_filter="id > 5")
    publish_flow(source.flow.pk, actor=SYSTEM)
    work_on_run(run.pk)
    run.refresh_from_db()
    assert (run.version_number, run.rows_written) == (first.number, 10)


def test_full_disk_of_a_target_keeps_the_old_file(erp: MakeErp, settings: Any, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        settings.FILES_ROOT, settings.SPILL_ROOT = disk / "files", disk / "spill"
        source = erp(10, controls=[])
        files = create_connection(
            name=source.target, slug=source.target.replace("_", "-"), connector="files",
            config={"location": "folder", "folder": ""}, secrets={}, actor=SYSTEM,
        )  # fmt: skip
        written = disk / "files" / str(source.tenant.id) / "folder" / "out.csv"
        definition = source.define(controls=[], disposition="replace", keys=[])
        definition["nodes"][-1]["config"].update(connection=files.slug, entity="out.csv")
        source.flow = make_flow(definition)
        source.loaded()
        before = written.read_text()
        add_invoices(source.table, 11, 200_000)
        run = fail(source)
        assert run.error["code"] == "connectors.out_of_space"
        assert run.rows_written == 0
        assert written.read_text() == before
        assert [path for path in (disk / "spill").rglob("*") if path.is_file()] == []
        execute(f"DELETE FROM public.{source.table} WHERE id > 20")
        source.loaded()
        assert len(written.read_text().splitlines()) == 21


def _contract(**modes: str) -> dict[str, Any]:
    types = {
        "bigint": "BIGINT",
        "text": "VARCHAR",
        "numeric(18,2)": "DECIMAL(18,2)",
        "date": "DATE",
        "timestamp": "TIMESTAMP",
    }
    fields = []
    for part in INVOICES.replace(" PRIMARY KEY", "").split(", "):
        name, native = part.strip().split(" ", 1)
        fields.append({"name": name, "type": types[native]})
    return {"new_column": "ignore", "missing_column": "freeze", "type_change": "quarantine", "fields": fields, **modes}

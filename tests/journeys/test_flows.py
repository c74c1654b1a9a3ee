"""Whole flows over REST: every kind of source and target, every disposition, increments, partitions and people."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tests.connectors.rest_server import serve
from tests.journeys.loads import Field, Loads
from tests.processes import database_url

pytestmark = pytest.mark.committed
FIELDS: list[Field] = [
    ("id", "BIGINT!", "id"),
    ("number", "VARCHAR", "number"),
    ("total", "DECIMAL(12,2)", "total"),
]
TOTAL = {"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}
POSITIVE = {
    "id": "positive",
    "expression": "total >= 0",
    "message": "Total must not be negative.",
    "field": "total",
    "severity": "quarantine",
}
SCRIPT = """
    CREATE TABLE invoices (id bigint PRIMARY KEY, number text, total numeric(12,2));
    INSERT INTO invoices SELECT i, 'INV-' || i, i * 1.10 FROM generate_series(1, 20) i;
    CREATE VIEW slow AS SELECT *, pg_sleep(0.1)::text AS pause FROM invoices;
"""


@pytest.fixture
def erp(loads: Loads, source_database: Callable[[str], dict[str, Any]]) -> tuple[dict[str, Any], Callable[..., Any]]:
    """A PostgreSQL connection, and `execute(statement)` in its database."""
    made = source_database(SCRIPT)
    database = made["config"]["database"]

    def execute(statement: str) -> None:
        with psycopg.connect(database_url(), dbname=database, autocommit=True) as session:
            session.execute(statement)  # type: ignore[arg-type]

    return loads.connect("postgresql", made["config"], **made["secrets"]), execute


@pytest.fixture(scope="module")
def rest_api() -> Iterator[Any]:
    with serve() as server:
        yield server


def test_an_uploaded_file_reaches_the_warehouse(loads: Loads) -> None:
    content = "id;number;total\r\n1;INV-1;1,10\r\n2;INV-2;2,20\r\n3;INV-3;n/a\r\n4;INV-4\r\n5;INV-5;-5,50\r\n"
    connection, entity = loads.upload("invoices.csv", content.encode(), decimal_separator=",", text_only=True)
    amount = "cast(replace(total, ',', '.') as decimal(12,2))"
    fields: list[Field] = [("id", "BIGINT!", "cast(id as bigint)"), *FIELDS[1:2], ("total", "DECIMAL(12,2)", amount)]
    rule = {**POSITIVE, "expression": "mapped.total >= 0"}
    flow = loads.flow(connection["slug"], entity, fields, validations=[rule])
    run = loads.succeed(flow)
    assert loads.rows(flow, "id, number, total") == [(1, "INV-1", Decimal("1.10")), (2, "INV-2", Decimal("2.20"))]
    progress = run["progress"]
    assert (progress["rows_read"], progress["rows_accepted"], progress["rows_quarantined"]) == (5, 2, 3)
    rules = [row["errors"][0]["rule"] for row in loads.quarantined(run)]
    assert sorted(rules) == ["positive", "total.conversion", "unreadable"]
    again = loads.succeed(flow)
    assert again["write"] == {"inserted": 0, "updated": 0, "deleted": 0, "unchanged": 2}


def test_an_api_reaches_the_warehouse_in_pages(loads: Loads, rest_api: Any) -> None:
    config = {"base_url": rest_api.base_url, "paging": "offset", "requests_per_second": 1000}
    config |= {"page_parameter": "offset", "size_parameter": "limit", "page_size": 100}
    connection = loads.connect("rest", {**config, "resources": [{"name": "invoices", "path": "offset", "key": "id"}]})
    fields: list[Field] = [*FIELDS, ("customer", "VARCHAR", "customer.name")]
    flow = loads.flow(connection["slug"], "invoices", fields, controls=[TOTAL])
    run = loads.succeed(flow)
    assert loads.rows(flow, "count(*), sum(total), min(customer)") == [(250, Decimal("31400.00"), "Customer 0")]
    assert run["reconciliation"]["status"] == "green"


def test_the_warehouse_reaches_a_file_and_a_file_is_appended(loads: Loads, erp: Any) -> None:
    connection, execute = erp
    first = loads.flow(connection["slug"], "public.invoices", FIELDS)
    loads.succeed(first)
    table = first["draft"]["nodes"][2]["config"]["entity"]
    files = loads.connect("files", {"location": "upload"})
    target = {"to": (files["slug"], "out/invoices.csv"), "keys": [], "controls": [TOTAL]}
    replacing = loads.flow("warehouse", table, FIELDS, disposition="replace", **target)
    assert loads.succeed(replacing)["reconciliation"]["status"] == "green"
    written = Path(settings.FILES_ROOT) / str(loads.tenant.id) / "uploads" / files["id"] / "out" / "invoices.csv"
    assert written.read_text().splitlines()[:2] == ['"id","number","total"', '1,"INV-1",1.10']
    assert len(written.read_text().splitlines()) == 21
    appending = loads.flow("warehouse", table, FIELDS, disposition="append", **target)
    loads.succeed(appending)
    assert len(written.read_text().splitlines()) == 41
    del execute


def test_rows_reach_an_api(loads: Loads, erp: Any, rest_api: Any) -> None:
    connection, _execute = erp
    resource = {"name": "orders", "path": "orders", "key": "id", "write_batch": 5}
    config = {"base_url": rest_api.base_url, "requests_per_second": 1000, "resources": [resource]}
    sink = loads.connect("rest", config)
    to = {"to": (sink["slug"], "orders"), "disposition": "append", "keys": [], "controls": [TOTAL]}
    run = loads.succeed(loads.flow(connection["slug"], "public.invoices", FIELDS, **to))
    assert run["progress"]["rows_written"] == 20
    assert run["reconciliation"]["status"] == "green"
    sent = [record for _method, _path, records in rest_api.written.values() for record in records]
    assert sorted(record["id"] for record in sent) == list(range(1, 21))


@pytest.mark.parametrize(
    ("disposition", "write", "rows"),
    [
        ("append", None, 20),  # a key that is there already is refused
        ("upsert", {"inserted": 1, "updated": 1, "deleted": 0, "unchanged": 18}, 21),
        ("replace", {"inserted": 20, "updated": 0, "deleted": 20, "unchanged": 0}, 20),
        ("scd2", {"inserted": 1, "updated": 1, "deleted": 0, "unchanged": 18}, 22),  # the old version stays
    ],
)
def test_dispositions(loads: Loads, erp: Any, disposition: str, write: Any, rows: int) -> None:
    connection, execute = erp
    flow = loads.flow(connection["slug"], "public.invoices", FIELDS, disposition=disposition, controls=[TOTAL])
    first = loads.succeed(flow)
    assert first["write"] == {"inserted": 20, "updated": 0, "deleted": 0, "unchanged": 0}
    assert first["reconciliation"]["status"] == "green"
    execute("UPDATE invoices SET total = 99 WHERE id = 2")
    execute("DELETE FROM invoices WHERE id = 5; INSERT INTO invoices VALUES (21, 'INV-21', 23.10)")
    if write is None:
        loads.fail(flow, "connectors.duplicate_keys")
    else:
        run = loads.succeed(flow)
        assert run["write"] == write
        assert run["reconciliation"]["status"] == "green"
        assert all(stage["rows"] >= 0 for stage in run["stages"])
    assert loads.rows(flow, "count(*)") == [(rows,)]


def test_increments_read_late_commits_once(loads: Loads, erp: Any) -> None:
    connection, execute = erp
    load = {"mode": "incremental", "cursor": "id"}
    flow = loads.flow(connection["slug"], "public.invoices", FIELDS, load=load)
    loads.succeed(flow, mode="incremental")
    database = connection["config"]["database"]
    with psycopg.connect(database_url(), dbname=database) as slow:
        slow.execute("INSERT INTO invoices VALUES (21, 'late', 21)")
        execute("INSERT INTO invoices VALUES (22, 'early', 22)")
        second = loads.succeed(flow, mode="incremental")
        slow.commit()
    third = loads.succeed(flow, mode="incremental")
    fourth = loads.succeed(flow, mode="incremental")
    read = [run["progress"]["rows_read"] for run in (second, third, fourth)]
    assert read == [1, 1, 0]
    assert loads.rows(flow, "id", "id DESC")[:2] == [(22,), (21,)]


def test_partitions_add_up(loads: Loads, erp: Any) -> None:
    connection, execute = erp
    execute("INSERT INTO invoices SELECT i, 'INV-' || i, i * 1.10 FROM generate_series(21, 5000) i; ANALYZE invoices")
    load = {"mode": "partitioned", "partitions": 4}
    flow = loads.flow(connection["slug"], "public.invoices", FIELDS, load=load, controls=[TOTAL])
    run = loads.succeed(flow, mode="partitioned")
    assert len([stage for stage in run["stages"] if stage["path"].startswith("load/part")]) == 4
    assert loads.rows(flow, "count(*), sum(total)") == [(5000, Decimal("13752750.00"))]
    assert run["reconciliation"]["status"] == "green"
    target = flow["draft"]["nodes"][2]["config"]["entity"]
    with psycopg.connect(database_url()) as session:
        found = session.execute("SELECT reltuples FROM pg_class WHERE relname = %s", (target,)).fetchone()
    assert found == (5000.0,)  # the planner knows the new table


def test_a_cancelled_load_resumes_and_a_failed_one_is_tried_anew(loads: Loads, erp: Any) -> None:
    connection, execute = erp
    flow = loads.flow(connection["slug"], "public.slow", [*FIELDS, ("pause", "VARCHAR", "pause")])
    run = loads.start(flow)
    time.sleep(1)
    loads.call("post", f"runs/{run}/cancel")
    assert loads.finished_run(loads.api, run)["status"] == "cancelled"
    assert loads.rows(flow) == []
    loads.call("post", f"runs/{run}/resume")
    assert loads.finished_run(loads.api, run)["status"] == "succeeded"
    assert loads.rows(flow, "count(*)") == [(20,)]
    execute("ALTER VIEW slow RENAME TO away")
    failed = loads.run(flow)
    assert failed["error"]["code"] == "connectors.entity_gone"
    execute("ALTER VIEW away RENAME TO slow")
    retried = loads.call("post", f"runs/{failed['id']}/retry")
    assert loads.finished_run(loads.api, retried["id"])["status"] == "succeeded"


def test_quarantined_rows_are_corrected_and_replayed(loads: Loads, erp: Any) -> None:
    connection, execute = erp
    execute("UPDATE invoices SET total = -total WHERE id IN (3, 4)")
    flow = loads.flow(connection["slug"], "public.invoices", FIELDS, validations=[POSITIVE], controls=[TOTAL])
    run = loads.succeed(flow)
    assert run["reconciliation"]["status"] == "amber"
    three, four = loads.quarantined(run)
    refused = loads.call("patch", f"quarantine/{three['id']}", {"corrected": {"total": "-1"}, "note": "x"}, status=422)
    assert "Total must not be negative." in json.dumps(refused)
    loads.call("patch", f"quarantine/{three['id']}", {"corrected": {"total": "3.30"}, "note": "Sign was wrong"})
    loads.call("post", "quarantine/discard", {"ids": [four["id"]], "reason": "A test invoice"})
    replay = loads.call("post", "quarantine/replay", {"run": run["id"]}, status=202)
    done = loads.finished_run(loads.api, replay["id"])
    assert (done["status"], done["write"]["inserted"]) == ("succeeded", 1)
    assert loads.rows(flow, "count(*), sum(total)") == [(19, Decimal("226.60"))]
    states = {row["payload"]["id"]: row["status"] for row in loads.quarantined(run)}
    assert states == {3: "replayed", 4: "discarded"}


def test_a_difference_is_red_and_signed_by_somebody_else(loads: Loads, erp: Any, api_for: Callable[..., Any]) -> None:
    connection, _execute = erp
    wrong = {**TOTAL, "target": "total + 1"}
    flow = loads.flow(connection["slug"], "public.invoices", FIELDS, controls=[wrong])
    run = loads.succeed(flow)
    found = loads.reconciliation(run)
    assert (run["reconciliation"]["status"], found["status"]) == ("red", "red")
    (control,) = found["controls"]
    assert (control["source"], control["target"], control["ok"]) == ("231.00", "251.00", False)
    assert control["difference"].lstrip("-") == "20.00"
    path = f"reconciliations/{found['id']}/sign"
    own = loads.call("post", path, {"comment": "Known rounding of the source"}, status=403)
    assert own["remedy"] or own["detail"]
    other = api_for(loads.tenant, roles=("approver",))
    signed = other.post(f"/api/v2/{path}", {"comment": "Known rounding of the source"}, format="json")
    assert (signed.status_code, signed.json()["status"]) == (200, "signed")
    again = other.post(f"/api/v2/{path}", {"comment": "again"}, format="json")
    assert again.status_code == 409

"""Bad input from end to end: each ends with a code, a message and a remedy, and nothing that was there is lost."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.journeys.loads import Field, Loads
from tests.password_server import password_server
from tests.processes import free_port

pytestmark = pytest.mark.committed
COLUMNS = "id bigint PRIMARY KEY, number text, total numeric(12,2)"
FIELDS: list[Field] = [("id", "BIGINT!", "id"), ("number", "VARCHAR", "number"), ("total", "DECIMAL(12,2)", "total")]
LOADED = [(1, "INV-1", Decimal("1.10")), (2, "INV-2", Decimal("2.20")), (3, "INV-3", Decimal("3.30"))]
SHOWN = "id, number, total"


@pytest.fixture(scope="session")
def erp(workers: None, django_db_blocker: Any) -> Iterator[dict[str, Any]]:
    """A source system that checks passwords."""
    with django_db_blocker.unblock(), password_server() as found:
        yield found


class Source:
    """A table of three invoices in that system, and a flow over it."""

    def __init__(self, loads: Loads, erp: dict[str, Any]) -> None:
        self._loads, self._erp = loads, erp
        self.name = loads.unique("src")
        self.execute(f"CREATE TABLE {self.name} ({COLUMNS})")
        self.execute(f"INSERT INTO {self.name} SELECT i, 'INV-' || i, i * 1.10 FROM generate_series(1, 3) i")
        config = {name: value for name, value in erp.items() if name != "password"}
        self.connection = loads.connect("postgresql", config, password=erp["password"])

    def execute(self, statement: str) -> None:
        """Run a statement in the source system; `{t}` is the table."""
        parts = {("dbname" if name == "database" else name): value for name, value in self._erp.items()}
        with psycopg.connect(**parts, autocommit=True) as session:
            session.execute(statement.replace("{t}", self.name))  # type: ignore[arg-type]

    def flow(self, fields: list[Field] | None = None, **options: Any) -> dict[str, Any]:
        """A flow of the table into a new target."""
        return self._loads.flow(self.connection["slug"], f"public.{self.name}", fields or FIELDS, **options)


@pytest.fixture
def source(loads: Loads, erp: dict[str, Any]) -> Iterator[Source]:
    made = Source(loads, erp)
    yield made
    made.execute("DROP TABLE IF EXISTS {t}")


def test_wrong_credentials_stop_the_run_and_right_ones_resume_it(loads: Loads, source: Source, erp: Any) -> None:
    flow = source.flow()
    loads.succeed(flow)
    path = f"connections/{source.connection['id']}"
    loads.call("patch", path, {"secrets": {"password": "not the password"}})
    check = loads.call("post", f"{path}/check")
    assert (check["ok"], check["code"]) == (False, "connectors.credentials_refused")
    run = loads.run(flow)
    assert (run["status"], run["error"]["code"]) == ("failed", "connectors.credentials_refused")
    assert run["error"]["remedy"]
    assert "not the password" not in str(run)
    assert loads.rows(flow, SHOWN) == LOADED
    loads.call("patch", path, {"secrets": {"password": erp["password"]}})
    loads.call("post", f"runs/{run['id']}/resume")
    assert loads.finished_run(loads.api, run["id"])["status"] == "succeeded"


def test_unreachable_and_private_hosts(loads: Loads, erp: Any) -> None:
    config = {name: value for name, value in erp.items() if name != "password"}
    silent = loads.connect("postgresql", {**config, "port": free_port()}, password="x")
    private = loads.connect("postgresql", {**config, "host": "10.0.0.1", "port": 5432}, password="x")
    check = loads.call("post", f"connections/{private['id']}/check")
    assert (check["ok"], check["code"]) == (False, "core.egress.denied")
    assert check["remedy"]
    waiting = loads.start(loads.flow(silent["slug"], "public.invoices", FIELDS))
    error = loads.fail(loads.flow(private["slug"], "public.invoices", FIELDS), "core.egress.denied")
    assert "10.0.0.1" in error["message"]
    run = loads.finished_run(loads.api, waiting)  # it tries four times by itself
    assert (run["status"], run["error"]["code"]) == ("failed", "connectors.unavailable")
    assert run["error"]["remedy"]


def test_a_table_that_vanished_between_design_and_run(loads: Loads, source: Source) -> None:
    flow = source.flow(disposition="replace")
    loads.succeed(flow)
    source.execute("DROP TABLE {t}")
    error = loads.fail(flow, "connectors.entity_gone")
    assert source.name in error["message"]
    assert loads.rows(flow, SHOWN) == LOADED


def test_an_expression_on_a_column_that_is_gone(loads: Loads, source: Source) -> None:
    flow = source.flow()
    loads.succeed(flow)
    source.execute("ALTER TABLE {t} DROP COLUMN total")
    error = loads.fail(flow, "expressions.invalid")
    assert "total" in error["message"]
    assert loads.rows(flow, SHOWN) == LOADED


CONTRACT = [
    {"name": "id", "type": "BIGINT"},
    {"name": "number", "type": "VARCHAR"},
    {"name": "total", "type": "DECIMAL(12,2)"},
]
ADD = "ALTER TABLE {t} ADD COLUMN extra text; UPDATE {t} SET extra = 'x' WHERE id = 2"
DROP = "ALTER TABLE {t} DROP COLUMN number"
RETYPE = "ALTER TABLE {t} ALTER COLUMN total TYPE text; UPDATE {t} SET total = 'n/a' WHERE id = 2"


@pytest.mark.parametrize(
    ("setting", "mode", "change", "outcome"),
    [
        # added: refused, ignored, followed, or only the rows that use it set aside
        ("new_column", "freeze", ADD, "quality.contract_broken"),
        ("new_column", "ignore", ADD, []),
        ("new_column", "evolve", ADD, []),
        ("new_column", "quarantine", ADD, [("contract.new_column", "extra", "x")]),
        # gone: refused, or empty, or nothing can be trusted
        ("missing_column", "freeze", DROP, "quality.contract_broken"),
        ("missing_column", "null", DROP, []),
        ("missing_column", "quarantine", DROP, [("contract.missing_column", "id", n) for n in (1, 2, 3)]),
        # retyped: refused, or what converts is converted
        ("type_change", "freeze", RETYPE, "quality.contract_broken"),
        ("type_change", "quarantine", RETYPE, [("contract.type_change", "total", "n/a")]),
    ],
)
def test_changed_columns_follow_the_contract(
    loads: Loads, source: Source, setting: str, mode: str, change: str, outcome: Any
) -> None:
    modes = {"new_column": "ignore", "missing_column": "freeze", "type_change": "freeze", setting: mode}
    flow = source.flow(contract={**modes, "fields": CONTRACT})
    loads.succeed(flow)
    source.execute(change)
    if isinstance(outcome, str):
        loads.fail(flow, outcome)
        assert loads.rows(flow, SHOWN) == LOADED
        return
    run = loads.succeed(flow)
    found = [
        (row["errors"][0]["rule"], name, row["payload"][name])
        for row, (_rule, name, _value) in zip(loads.quarantined(run), outcome, strict=True)
    ]
    assert found == outcome
    assert run["progress"]["rows_read"] == 3
    assert run["progress"]["rows_quarantined"] == len(outcome)
    kept = loads.rows(flow, SHOWN)
    expected = LOADED if setting != "missing_column" or mode == "quarantine" else [(i, None, t) for i, _n, t in LOADED]
    assert kept == expected


def test_rows_that_cannot_be_computed_go_to_the_quarantine(loads: Loads, source: Source) -> None:
    fields: list[Field] = [
        *FIELDS[:2],
        ("share", "DOUBLE", "total / (id - 2)"),
        ("large", "BIGINT", "case when id = 3 then id * 4611686018427387904 else id end"),
    ]
    flow = source.flow(fields)
    run = loads.succeed(flow)
    errors = [
        (row["payload"]["id"], row["errors"][0]["field"], row["errors"][0]["code"]) for row in loads.quarantined(run)
    ]
    assert errors == [(2, "share", "expressions.row.division_by_zero"), (3, "large", "expressions.row.overflow")]
    assert loads.rows(flow, "id") == [(1,)]


def test_duplicate_keys_lose_to_the_later_row_and_are_counted_once(loads: Loads, source: Source) -> None:
    source.execute("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey; INSERT INTO {t} VALUES (1, 'again', 9.90)")
    control = {"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}
    flow = source.flow(controls=[control])
    run = loads.succeed(flow)
    assert loads.rows(flow, SHOWN) == [(1, "again", Decimal("9.90")), *LOADED[1:]]
    progress = run["progress"]
    assert (progress["rows_read"], progress["rows_accepted"], progress["rows_quarantined"]) == (4, 3, 1)
    assert progress["rows_written"] == 3
    assert all(stage["rows"] >= 0 and stage["rows_per_s"] >= 0 for stage in run["stages"])
    assert [row["errors"][0]["rule"] for row in loads.quarantined(run)] == ["duplicate_key"]
    assert run["reconciliation"]["status"] == "amber"  # explained by the quarantine, to the cent


def test_a_cursor_that_goes_backwards(loads: Loads, source: Source) -> None:
    flow = source.flow(load={"mode": "incremental", "cursor": "id"})
    loads.succeed(flow, mode="incremental")
    source.execute("DELETE FROM {t} WHERE id > 1")
    error = loads.fail(flow, "engine.load.cursor_backwards", mode="incremental")
    assert "highest id is 1" in error["message"]
    assert loads.rows(flow, SHOWN) == LOADED
    source.execute("INSERT INTO {t} VALUES (7, 'INV-7', 7)")
    loads.succeed(flow, mode="incremental")
    assert loads.rows(flow, "id") == [(1,), (2,), (3,), (7,)]


def test_an_empty_extract_does_not_empty_the_target(loads: Loads, source: Source) -> None:
    flow = source.flow(disposition="replace")
    loads.succeed(flow)
    source.execute("DELETE FROM {t}")
    loads.fail(flow, "engine.load.empty_extract")
    assert loads.rows(flow, SHOWN) == LOADED


CSV_FIELDS: list[Field] = [("id", "BIGINT!", "id"), ("name", "VARCHAR", "name")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'id,name\n1,a\n2,"broken\n3,c\n', "Line 3 of a.csv has a quote that is not closed"),
        ("id,name\n1,Müller\n".encode("latin-1"), "a.csv is not in the encoding utf-8: byte 11"),
        (b"id,name\n" + b"1,a\n" * 70_000 + "1,é\n".encode("latin-1"), "Line 70002 of a.csv is not in UTF-8"),
        (b"id,name\n1," + b"x" * 17 * 1024**2 + b"\n", "Line 2 of a.csv is longer than 16 MB"),
        (b"", "empty"),
    ],
)
def test_files_that_cannot_be_read_name_the_place(loads: Loads, content: bytes, message: str) -> None:
    connection, entity = loads.upload("a.csv", b"id,name\n1,a\n2,b\n")
    flow = loads.flow(connection["slug"], entity, CSV_FIELDS, keys=[], disposition="replace")
    loads.succeed(flow)
    if not content:
        path = f"/api/v2/connections/{connection['id']}/uploads"
        from django.core.files.uploadedfile import SimpleUploadedFile

        answer = loads.api.post(path, {"file": SimpleUploadedFile("a.csv", content)}, format="multipart")
        assert answer.status_code == 422
        assert message in str(answer.json())
    else:
        loads.upload_to(connection, "a.csv", content)
        error = loads.fail(flow, "connectors.unreadable_input")
        assert message in error["message"]
    assert loads.rows(flow, "id, name") == [(1, "a"), (2, "b")]


def test_a_field_of_ten_megabytes_arrives_or_is_quarantined_whole(loads: Loads) -> None:
    large = "x" * 10 * 1024**2
    connection, entity = loads.upload("a.csv", f"id,name\n1,{large}\nz,{large}\n3,c\n".encode())
    fields: list[Field] = [("id", "BIGINT!", "cast(id as bigint)"), ("name", "VARCHAR", "name")]
    flow = loads.flow(connection["slug"], entity, fields)
    run = loads.succeed(flow)
    assert loads.rows(flow, "id, length(name)") == [(1, len(large)), (3, 1)]
    (row,) = loads.quarantined(run)
    assert row["payload"]["name"] == large
    assert row["errors"][0]["field"] == "id"


def test_a_character_that_the_target_cannot_hold_is_named(loads: Loads) -> None:
    connection, entity = loads.upload("a.csv", b"id,name\n1,a\n2,b\x00c\n3,d\n")
    flow = loads.flow(connection["slug"], entity, CSV_FIELDS)
    error = loads.fail(flow, "connectors.write_refused")
    assert "0x00" in error["message"]
    assert loads.rows(flow, "id") == []


def test_two_gigabytes_are_refused_at_once(stack: Any, loads: Loads, client_for: Callable[..., Any]) -> None:
    connection, _entity = loads.upload("a.csv", b"id\n1\n")
    server = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
    started = time.monotonic()
    server.putrequest("POST", f"/api/v2/connections/{connection['id']}/uploads", skip_host=True)
    for name, value in {
        "Host": f"acme.localhost:{stack.port}",
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(2 * 1024**3 + 100_000),
    }.items():
        server.putheader(name, value)
    server.endheaders()  # and not a byte of the body
    answer = server.getresponse()
    assert (answer.status, time.monotonic() - started < 5) == (413, True)
    assert b"connectors.upload_too_large" in answer.read()

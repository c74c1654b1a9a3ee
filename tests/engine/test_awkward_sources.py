"""What a PostgreSQL source can hold that the data plane cannot: the same outcome in the worker and in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.engine.choices import RunStatus
from apps.engine.models import Run
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from apps.quality.models import QuarantinedRow, Reconciliation
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, flow_definition, make_flow
from tests.engine.systems import execute, make_database_connection, target_rows, unique_name

pytestmark = pytest.mark.committed
Fields = list[tuple[str, str, str]]


class Awkward:
    """Loads a table made for one test, through the worker (`shared` False) or inside the database (True)."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.tables: list[str] = []

    def load(self, columns: str, values: str, fields: Fields, *, shared: bool, **options: Any) -> tuple[Run, list[Any]]:
        table, target = unique_name("awk"), unique_name("t_awk")
        self.tables.append(table)
        execute(f"CREATE TABLE public.{table} ({columns}){options.pop('tail', '').replace('{t}', table)}")
        for statement in options.pop("after", ()):
            execute(statement.replace("{t}", table))
        if values:
            execute(f"INSERT INTO public.{table} VALUES {values}")
        if shared:
            execute(f"GRANT SELECT ON public.{table} TO PUBLIC")
        mapped = [{"target": t, "type": y, "expression": e, "nullable": True} for t, y, e in fields]
        source = make_database_connection().slug
        options.setdefault("controls", [])
        definition = flow_definition(source=source, entity=f"public.{table}", target=target, fields=mapped, **options)
        run = start_run(StartRequest(make_flow(definition).pk, "dev", version="draft"), actor=SYSTEM)
        work_on_run(run.pk)
        run.refresh_from_db()
        if run.status != RunStatus.SUCCEEDED:
            return run, []
        shown = ", ".join('"' + name.replace('"', '""') + '"::text' for name, _type, _expression in fields)
        return run, target_rows(self.tenant, target, shown)


@pytest.fixture
def awkward(committed_acme: Tenant) -> Iterator[Awkward]:
    made = Awkward(committed_acme)
    with tenant_context(committed_acme):
        yield made
    for table in made.tables:
        execute(f"DROP TABLE IF EXISTS public.{table} CASCADE")


@pytest.fixture(params=[False, True], ids=["worker", "database"])
def load(request: pytest.FixtureRequest, awkward: Awkward) -> Callable[..., tuple[Run, list[Any]]]:
    return lambda *given, **options: awkward.load(*given, shared=request.param, **options)


def test_decimals_that_are_no_numbers_or_do_not_fit_are_quarantined_with_their_text(load: Any) -> None:
    run, rows = load(
        "id bigint PRIMARY KEY, n numeric, m numeric(10,2), unused numeric(10,2)",
        "(1, 1.5, 2, 'NaN'), (2, 'NaN', 1, 1), (3, 1, 'NaN', 1), (4, 1.1234567890123456, 1, 1)",
        [("id", "BIGINT", "id"), ("n", "DECIMAL(38,12)", "n"), ("m", "DECIMAL(10,2)", "m")],
    )
    assert rows == [("1", "1.500000000000", "2.00")]
    found = {row.payload["id"]: row for row in QuarantinedRow.objects.filter(run_id=run.pk)}
    assert (found[2].payload["n"], found[3].payload["m"], found[4].payload["n"]) == ("NaN", "NaN", "1.1234567890123456")
    assert found[4].errors[0]["message"] == "n is 1.1234567890123456, which DECIMAL(38,12) does not hold."
    assert "_source_position" not in found[2].payload


def test_a_bounded_decimal_that_is_no_number_is_quarantined(load: Any) -> None:
    run, rows = load(
        "id bigint PRIMARY KEY, m numeric(10,2)",
        "(1, 2), (2, 'NaN')",
        [("id", "BIGINT", "id"), ("m", "DECIMAL(10,2)", "m")],
        controls=[{"name": "Sum", "source": "m", "target": "m", "aggregate": "sum", "tolerance": "0"}],
    )
    assert rows == [("1", "2.00")]
    assert run.rows_quarantined == 1
    assert Reconciliation.objects.get(run_id=run.pk).status == "amber"


def test_moments_beyond_the_calendar_arrive(load: Any) -> None:
    _run, rows = load(
        "id bigint PRIMARY KEY, d date, t timestamp, z timestamptz, o time",
        "(1, 'infinity', '-infinity', 'infinity', '24:00'), (2, '0044-03-15 BC', '9999-12-31', NULL, '00:00')",
        [
            ("d", "DATE", "d"),
            ("t", "TIMESTAMP", "t"),
            ("z", "TIMESTAMPTZ", "z"),
            ("o", "TIME", "o"),
            ("id", "BIGINT", "id"),
        ],
    )
    assert rows == [
        ("0044-03-15 BC", "9999-12-31 00:00:00", None, "00:00:00", "2"),
        ("infinity", "-infinity", "infinity", "24:00:00", "1"),
    ]


def test_special_columns_and_types_arrive(load: Any) -> None:
    _run, rows = load(
        "id bigint PRIMARY KEY, g bigint GENERATED ALWAYS AS (id * 2) STORED,"
        " i integer GENERATED BY DEFAULT AS IDENTITY, a int[], grid text[], j json, m money, n inet,"
        " h interval, c char(5), b bit(3)",
        "(1, default, 7, '{1,2}', '{{a,b},{c,d}}', '{\"a\": 1.10}', 12.5, '10.0.0.1', '1 mon 2 days', 'ab', '101')",
        [
            ("id", "BIGINT", "id"), ("g", "BIGINT", "g"), ("i", "INTEGER", "i"), ("a", "INTEGER[]", "a"),
            ("j", "JSON", "j"), ("m", "VARCHAR", "m"), ("n", "VARCHAR", "n"), ("h", "INTERVAL", "h"),
            ("c", "VARCHAR", "c"), ("b", "VARCHAR", "b"),
        ],
    )  # fmt: skip
    assert [tuple(value.rstrip() for value in row) for row in rows] == [
        ("1", "2", "7", "{1,2}", '{"a": 1.10}', "$12.50", "10.0.0.1/32", "1 mon 2 days", "ab", "101")
    ]


def test_names_that_mean_something_elsewhere_are_only_names(load: Any) -> None:
    _run, rows = load(
        'id bigint PRIMARY KEY, _row_id bigint, _source_position bigint, _errors text, _source text, mapped text,'
        ' var text, "order" text, "Ünï cødé" text, "quo""te" text, "select" int, source text, "a.b" text,'
        " rejected text",
        "(1, 77, 78, 'e', 's', 'm', 'v', 'o', 'u', 'q', 5, 'x', 'ab', 'r')",
        [
            ("id", "BIGINT", "id"), ("e", "VARCHAR", '"_errors"'), ("s", "VARCHAR", '"_source"'),
            ("mapped", "VARCHAR", '"mapped"'), ("var", "VARCHAR", '"var"'), ("order", "VARCHAR", '"order"'),
            ("Ünï cødé", "VARCHAR", '"Ünï cødé"'), ('quo"te', "VARCHAR", '"quo""te"'),
            ("select", "INTEGER", '"select"'),
            ("source", "VARCHAR", '"source"'), ("a.b", "VARCHAR", '"a.b"'), ("rejected", "VARCHAR", "rejected"),
        ],
    )  # fmt: skip
    assert rows == [("1", "e", "s", "m", "v", "o", "u", "q", "5", "x", "ab", "r")]


def test_names_that_differ_by_case_only_are_refused_with_the_name(load: Any) -> None:
    run, _rows = load('id bigint PRIMARY KEY, "Name" text, name text', "(1, 'A', 'b')", [("id", "BIGINT", "id")])
    assert run.status == RunStatus.FAILED
    assert "'name' (case does not count)" in run.error["message"]
    assert run.error["remedy"]


def test_the_widest_table_arrives(load: Any) -> None:
    columns = ", ".join(["id bigint PRIMARY KEY", *(f"c{number} int DEFAULT {number}" for number in range(1599))])
    _run, rows = load(columns, "(1)", [("id", "BIGINT", "id"), ("c", "INTEGER", "c1598")])
    assert rows == [("1", "1598")]


@pytest.mark.parametrize(("columns", "expression"), [("", "1"), ("id bigint PRIMARY KEY", "id")])
def test_tables_without_rows_or_columns_load_nothing(load: Any, columns: str, expression: str) -> None:
    run, rows = load(columns, "", [("id", "BIGINT", expression)])
    assert (run.status, run.rows_read, rows) == (RunStatus.SUCCEEDED, 0, [])


def test_a_partitioned_table_without_a_key_keeps_every_rejected_row(load: Any) -> None:
    run, rows = load(
        "n int, part int",
        "(1, 0), (2, 1), (-1, 0), (-2, 1)",
        [("n", "INTEGER", "n")],
        tail=" PARTITION BY LIST (part)",
        after=[
            "CREATE TABLE public.{t}_a PARTITION OF public.{t} FOR VALUES IN (0)",
            "CREATE TABLE public.{t}_b PARTITION OF public.{t} FOR VALUES IN (1)",
        ],
        keys=[],
        disposition="replace",
        validations=[
            {"id": "pos", "expression": "n > 0", "message": "Too low", "field": "n", "severity": "quarantine"}
        ],
    )
    assert rows == [("1",), ("2",)]
    payloads = sorted(row.payload["n"] for row in QuarantinedRow.objects.filter(run_id=run.pk))
    assert payloads == [-2, -1]

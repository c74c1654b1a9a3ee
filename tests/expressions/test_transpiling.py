"""Pushed down or refused: whatever PostgreSQL is asked, it answers as the engine does."""

# ruff: noqa: E501, DTZ001 - a table of cases; TIMESTAMP is naive by definition

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from django.db import connection

from apps.expressions.contracts import CompileRequest, Field, MappedField, Schema, Validation
from apps.expressions.exceptions import ExpressionInvalid, NotPushable
from apps.expressions.services.evaluation import evaluate_rows
from apps.expressions.services.pipeline import BatchMapper, rejected_rows
from apps.expressions.services.transpiling import transpile, transpile_select

SCHEMA = Schema.of(
    a="BIGINT", i="INTEGER", t="VARCHAR", u="VARCHAR", m="DECIMAL(18,2)", n="DECIMAL(18,4)", s="DECIMAL(9,3)",
    d="DATE", e="DATE", ts="TIMESTAMP", b="BOOLEAN",
)  # fmt: skip
NATIVE = {"a": "bigint", "i": "integer", "t": "text", "u": "text", "m": "numeric(18,2)", "n": "numeric(18,4)",
          "s": "numeric(9,3)", "d": "date", "e": "date", "ts": "timestamp", "b": "boolean"}  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"a": 7, "i": 2, "t": "Zürich", "u": "ü", "m": Decimal("12.35"), "n": Decimal("0.3333"), "s": Decimal("2.345"),
     "d": date(2024, 1, 31), "e": date(2023, 12, 25), "ts": datetime(2024, 5, 17, 10, 20, 30, 500000), "b": True},
    {"a": -7, "i": 0, "t": "  Straße ß\u00a0", "u": "S", "m": Decimal("-12.345").quantize(Decimal("0.01")), "n": Decimal("-1.5000"),
     "s": Decimal("-2.345"), "d": date(2024, 2, 29), "e": date(2024, 2, 29), "ts": datetime(1999, 12, 31, 23, 59, 59), "b": False},
    {"a": 2**62, "i": -3, "t": "a%b_c\\d'e", "u": "%", "m": Decimal("9999999999999999.99"), "n": Decimal("99999999999999.9999"),
     "s": Decimal("0.005"), "d": date(1970, 1, 1), "e": date(2100, 12, 31), "ts": datetime(2024, 2, 29), "b": None},
    {"a": None, "i": None, "t": None, "u": None, "m": None, "n": None, "s": None, "d": None, "e": None, "ts": None, "b": None},
    {"a": 0, "i": 1, "t": "", "u": "", "m": Decimal("0.00"), "n": Decimal("0.0000"), "s": Decimal("0.000"),
     "d": date(2024, 12, 30), "e": date(2024, 1, 1), "ts": datetime(2024, 12, 30, 0, 0, 1), "b": True},
    {"a": -(2**63), "i": -1, "t": "İıẞ ǅ", "u": "b", "m": Decimal("0.05"), "n": Decimal("0.0500"), "s": Decimal("999999.999"),
     "d": date(2021, 1, 3), "e": date(2020, 2, 29), "ts": datetime(2021, 1, 3, 12, 0), "b": False},
]  # fmt: skip
PUSHED = [
    # arithmetic, exact
    "m + n", "m - n", "m * n", "m * s", "a + 1", "a - i", "a * i", "a * a", "i + i", "-m", "m % n", "a % i", "a // i",
    "mod(a, i)", "a // 2", "m / n", "m / 3", "a / i", "i / 7", "s / 3", "m + 1", "1.5 * i", "m * 0.077",
    # casts
    "cast(m as decimal(10,1))", "cast(n as decimal(18,2))", "cast(n as bigint)", "cast(s as integer)", "cast(a as integer)",
    "cast(i as bigint)", "cast(i as decimal(18,2))", "cast(a as decimal(10,2))", "cast(a as varchar)", "cast(m as varchar)",
    "cast(b as varchar)", "cast(d as varchar)", "cast(ts as date)", "cast(d as timestamp)", "cast(i as boolean)",
    "cast(b as integer)", "cast(i as double)", "cast(m as double)", "cast(n as double)", "try_cast(a as smallint)",
    "cast(m * n as decimal(18,2))",
    # comparison and logic
    "m > n", "m = n", "a = i", "a <> 7", "t < u", "t >= 'a'", "t = 'Zürich'", "d < e", "d < ts", "d >= '2024-01-31'",
    "m between 0 and 100", "i in (1, 2, null)", "t in ('', 'Zürich')", "not b", "b and m > 0", "b or m > 0", "b is true",
    "b is not false", "m is null", "m is not distinct from n", "t is distinct from u", "d between e and '2024-06-30'",
    "t like 'a%'", "t like '%!_c%' escape '!'", "t like '%\\d%'", "t not like '%ß%'", "b = (i > 0)",
    # conditions
    "case when b then m else n end", "case i when 1 then 'one' when 2 then 'two' end", "case when i = 0 then 0 else a / i end",
    "coalesce(m, n, 0)", "coalesce(t, u, '-')", "nullif(i, 0)", "nullif(t, '')", "if(b, 1, 0)", "try(a // i)",
    "coalesce(try(a / i), -1)", "i <> 0 and a / i > 1", "i = 0 or a % i = 1", "greatest(m, n)", "least(a, i)",
    # text
    "upper(t)", "lower(t)", "trim(t)", "ltrim(t)", "rtrim(t)", "trim(t, 'Z h')", "length(t)", "substring(t, 2, 3)",
    "substr(t, 2)", "left(t, 3)", "right(t, 2)", "t || u", "t || '-' || cast(i as varchar)", "concat(t, '-', u, i)",
    "concat_ws('/', t, u)", "replace(t, 'a', 'bb')", "translate(t, 'ab', 'x')", "contains(t, u)", "starts_with(t, u)",
    "ends_with(t, u)", "strpos(t, u)", "position(u in t)", "split_part(t, ' ', 2)", "lpad(t, 10, '.')", "rpad(t, 3, '.')",
    "md5(t)", "sha256(t)",
    # numbers
    "abs(m)", "round(m, 1)", "round(n, 2)", "round(s, 2)", "round(m)", "floor(m)", "ceil(n)", "trunc(n)", "sign(m)", "sqrt(i)",
    # dates
    "year(d)", "quarter(d)", "month(d)", "week(d)", "day(d)", "isodow(d)", "dayofyear(d)", "hour(ts)", "minute(ts)",
    "second(ts)", "extract(month from d)", "date_part('isoyear', d)", "date_trunc('month', d)", "date_trunc('hour', ts)",
    "date_trunc('quarter', ts)", "date_trunc('week', d)", "date_diff('day', d, e)", "last_day(d)", "last_day(ts)", "d - e",
    "d + 1", "d + interval 1 month", "d - interval 2 week", "ts + interval 90 minute", "d = date '2024-01-31'",
    "ts >= timestamp '2024-01-01 00:00:00'",
]  # fmt: skip


@pytest.fixture
def push_source(db: None) -> None:
    """The rows as a table of native types, gone with the test's transaction."""
    columns = ", ".join(f"{name} {kind}" for name, kind in NATIVE.items())
    places = ", ".join(["%s"] * (len(NATIVE) + 1))
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE push_source (_row_id bigint, {columns}) ON COMMIT DROP")
        for number, row in enumerate(ROWS):
            cursor.execute(f"INSERT INTO push_source VALUES ({places})", [number, *(row[name] for name in NATIVE)])


def ask(sql: str) -> list[Any]:
    """Rows of a statement without parameters."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.mark.parametrize("source", PUSHED)
def test_postgresql_answers_the_same(source: str, push_source: None) -> None:
    ours = evaluate_rows([("x", source)], ROWS, SCHEMA)
    pushed = transpile(source, SCHEMA)
    theirs = ask(f"SELECT {pushed.sql}, {pushed.fault_sql} FROM push_source ORDER BY _row_id")
    for result, (value, fault) in zip(ours, theirs, strict=True):
        assert fault is (not result.ok), (result, value)
        if result.ok:
            assert value == result.values["x"], (result, value)


@pytest.mark.parametrize(
    "source",
    [
        "regexp_matches(t, 'x')", "cast(t as integer)", "strftime(d, '%Y')", "[m, n]", "list_sum([m, n])", "{'a': m}",
        "m ^ 2", "cast(m as double) * 2", "cast(cast(m as double) as decimal(18,2))", "t ilike 'x'", "substring(t, i)",
        "left(t, -1)", "greatest(t, u)", "hash(t)", "cast(ts as varchar)", "ts + interval 1 millisecond", "typeof(m)",
    ],
)  # fmt: skip
def test_what_could_differ_is_refused(source: str) -> None:
    with pytest.raises(NotPushable) as caught:
        transpile(source, SCHEMA)
    assert "PostgreSQL" in caught.value.message
    assert caught.value.remedy


def test_mistakes_are_mistakes() -> None:
    with pytest.raises(ExpressionInvalid):
        transpile("foo", SCHEMA)


REQUEST = CompileRequest(
    Schema((*SCHEMA.fields,)),
    (
        MappedField("id", "INTEGER", "a", nullable=False),
        MappedField("net", "DECIMAL(18,2)", "m * n"),
        MappedField("ratio", "DOUBLE", "a / i"),
        MappedField("name", "VARCHAR", "upper(trim(t))", nullable=False),
        MappedField("day", "DATE", "ts"),
        MappedField("nothing", "DATE", "null"),
    ),
    "t is distinct from ''",
    (Validation("in_order", "d >= e", "Dates are out of order", "day"), Validation("net_small", "mapped.net < 1000")),
)


def test_whole_mapping_gives_the_same_rows(push_source: None) -> None:
    pushed = transpile_select(REQUEST)
    accepted = ask(pushed.over("SELECT * FROM push_source", pushed.accepted_sql + " ORDER BY 1"))
    rejected = ask(pushed.over("SELECT * FROM push_source", pushed.rejected_sql + " ORDER BY 1"))
    table = pa.Table.from_pylist(
        [{"_row_id": number, **row} for number, row in enumerate(ROWS)],
        schema=pa.schema([pa.field("_row_id", pa.int64()), *SCHEMA.to_arrow()]),
    )
    with BatchMapper(REQUEST) as mapper:
        ours = mapper.apply(table)
    assert accepted == [tuple(row.values()) for row in ours.accepted.to_pylist()]
    theirs = {row[0]: json.loads(row[2]) if isinstance(row[2], str) else row[2] for row in rejected}
    assert theirs == {row["row_id"]: row["errors"] for row in rejected_rows(ours)}
    assert accepted
    assert rejected


def test_wide_schemas_can_be_pushed() -> None:
    schema = Schema(tuple(Field(f"c{i}", "BIGINT") for i in range(150)))
    pushed = transpile_select(CompileRequest(schema, (MappedField("x", "BIGINT", "c1", nullable=False),)))
    assert pushed.rejected_sql.count("jsonb_build_object") >= 4

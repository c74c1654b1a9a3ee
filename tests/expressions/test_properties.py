"""One language, one answer: random expressions give the same for one context, in a batch, and in the bare engine."""

# ruff: noqa: E501, DTZ001, PT017 - a table of building blocks; TIMESTAMP is naive by definition

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.expressions.contracts import CompileRequest, Field, MappedField, Schema
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.checking import check_expression
from apps.expressions.services.evaluation import evaluate, evaluate_rows
from apps.expressions.services.parsing import ParseRefused, parse_expression
from apps.expressions.services.pipeline import BatchMapper
from apps.expressions.types import canonical_name, find_type, fit, from_arrow_type, parse_type, to_arrow_type

SCHEMA = Schema((
    Field("a", "BIGINT"), Field("i", "INTEGER"), Field("m", "DECIMAL(18,2)"), Field("n", "DECIMAL(12,4)"),
    Field("t", "VARCHAR"), Field("u", "VARCHAR"), Field("d", "DATE"), Field("ts", "TIMESTAMP"), Field("b", "BOOLEAN"),
    Field("l", "BIGINT[]"),
))  # fmt: skip
ROW = st.fixed_dictionaries({
    "a": st.none() | st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]) | st.integers(-1000, 1000),
    "i": st.none() | st.sampled_from([0, 1, -1, 2**31 - 1]) | st.integers(-50, 50),
    "m": st.none() | st.decimals(-1000, 1000, places=2) | st.just(Decimal("9999999999999999.99")),
    "n": st.none() | st.decimals(-100, 100, places=4) | st.just(Decimal("0.0000")),
    "t": st.none() | st.sampled_from(["", "12", "-3.50", "abc", "2024-02-29", " x ", "ÄÖ", "it's"]),
    "u": st.none() | st.sampled_from(["", "a", "7", "%", "_b"]),
    "d": st.none() | st.dates(date(1990, 1, 1), date(2040, 1, 1)),
    "ts": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(lambda v: v - timedelta(0, 0, v.microsecond)),
    "b": st.none() | st.booleans(),
    "l": st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=4),
})  # fmt: skip


def _grow(children: dict[str, st.SearchStrategy[str]]) -> dict[str, st.SearchStrategy[str]]:
    """One level more of every kind."""
    whole, exact, text, day, truth = (children[kind] for kind in ("whole", "exact", "text", "day", "truth"))
    join = st.builds
    return {
        "whole": whole | st.one_of(
            join("({} {} {})".format, whole, st.sampled_from(["+", "-", "*", "//", "%"]), whole),
            join("length({})".format, text), join("year({})".format, day), join("(- {})".format, whole),
            join("cast({} as integer)".format, exact), join("cast({} as bigint)".format, text),
            join("try_cast({} as bigint)".format, text), join("coalesce({}, {})".format, whole, whole),
            join("case when {} then {} else {} end".format, truth, whole, whole), join("nullif({}, {})".format, whole, whole),
            join("list_sum([x {} {} for x in l])::bigint".format, st.sampled_from(["+", "*"]), whole),
            join("try({})".format, whole),
        ),
        "exact": exact | st.one_of(
            join("({} {} {})".format, exact, st.sampled_from(["+", "-", "*"]), exact),
            join("round({}, {})".format, exact, st.integers(0, 2)), join("abs({})".format, exact),
            join("cast({} as decimal(18,2))".format, text), join("cast({} as decimal(9,1))".format, exact),
            join("if({}, {}, {})".format, truth, exact, exact), join("cast({} / {} as decimal(18,4))".format, exact, exact),
            join("coalesce(try({}), {})".format, exact, exact),
        ),
        "text": text | st.one_of(
            join("upper({})".format, text), join("({} || {})".format, text, text), join("trim({})".format, text),
            join("substring({}, {}, 2)".format, text, st.integers(1, 3)), join("cast({} as varchar)".format, whole),
            join("concat({}, {})".format, text, text), join("replace({}, 'a', 'b')".format, text),
            join("case when {} then {} end".format, truth, text),
        ),
        "day": day | st.one_of(
            join("cast({} as date)".format, text), join("last_day({})".format, day),
            join("cast(date_trunc('month', {}) as date)".format, day), join("cast(ts as date)".format),
            join("({} + {})".format, day, st.integers(-40, 40)),
        ),
        "truth": truth | st.one_of(
            join("({} {} {})".format, whole, st.sampled_from(["<", "=", ">="]), whole),
            join("({} {} {})".format, exact, st.sampled_from(["<", "=", "<>"]), exact),
            join("({} = {})".format, text, text), join("({} < {})".format, day, day), join("({} is null)".format, text),
            join("({} and {})".format, truth, truth), join("({} or {})".format, truth, truth), join("(not {})".format, truth),
            join("({} in ({}, {}))".format, whole, whole, whole), join("({} between {} and {})".format, exact, exact, exact),
            join("({} like {})".format, text, st.sampled_from(["'a%'", "'%_'", "''"])),
            join("({} / {} > 1)".format, whole, whole), join("({} is distinct from {})".format, text, text),
        ),
    }  # fmt: skip


def _expressions() -> st.SearchStrategy[str]:
    level = {
        "whole": st.sampled_from(["a", "i", "1", "0", "-3", "7", "l[1]"]),
        "exact": st.sampled_from(["m", "n", "1.5", "0.00", "cast(i as decimal(18,2))"]),
        "text": st.sampled_from(["t", "u", "''", "'a'", "'12'"]),
        "day": st.sampled_from(["d", "date '2024-02-29'"]),
        "truth": st.sampled_from(["b", "true", "false"]),
    }
    for _ in range(3):
        level = _grow(level)
    return st.one_of(*level.values()).filter(lambda source: len(source) < 1_500)


ENGINE = duckdb.connect(config={"threads": "1"})
ENGINE.execute("SET TimeZone = 'UTC'")


def bare(source: str, row: dict[str, Any]) -> Any:
    """What the engine itself answers to the text as typed; raises when it does."""
    columns = ", ".join(f"CAST(${i} AS {f.type}) AS {f.name}" for i, f in enumerate(SCHEMA, start=1))
    found = ENGINE.execute(f"SELECT {source} FROM (SELECT {columns})", [row[f.name] for f in SCHEMA]).fetchone()
    assert found is not None
    return found[0]


def same(a: Any, b: Any) -> bool:
    """Equal, with NaN equal to itself."""
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=_expressions(), rows=st.lists(ROW, min_size=1, max_size=4))
def test_context_batch_and_engine_agree(source: str, rows: list[dict[str, Any]]) -> None:
    checked = check_expression(source, SCHEMA)
    if not checked.ok or checked.type in {None, '"NULL"'}:
        return
    assert checked.type is not None
    results = evaluate_rows([("x", source)], rows, SCHEMA)
    data = [{"_row_id": number, **row} for number, row in enumerate(rows)]
    table = pa.Table.from_pylist(data, schema=pa.schema([pa.field("_row_id", pa.int64()), *SCHEMA.to_arrow()]))
    with BatchMapper(CompileRequest(SCHEMA, (MappedField("x", checked.type, source),)), threads=1) as mapper:
        mapped = mapper.apply(table)
    accepted = dict(
        zip(mapped.accepted.column("_row_id").to_pylist(), mapped.accepted.column("x").to_pylist(), strict=True)
    )
    for number, (row, result) in enumerate(zip(rows, results, strict=True)):
        assert (number in accepted) is result.ok
        try:
            value = evaluate(source, row, SCHEMA)
        except EvaluationFailed:
            assert not result.ok
            continue
        assert result.ok
        assert same(value, result.values["x"])
        assert same(accepted[number], value)
        if not checked.nullable:
            assert value is not None
        if "try(" not in source and "/" not in source:  # the bare engine knows infinity where we know a fault
            try:
                expected = bare(source, row)
            except duckdb.Error:
                continue  # it evaluates both sides of AND, OR; we stop where the left one decides
            assert same(expected, value)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(source=_expressions(), row=ROW)
def test_a_fault_is_a_fault_of_the_engine_too(source: str, row: dict[str, Any]) -> None:
    if any(word in source for word in (" and ", " or ", "case", "if(", "coalesce", "/", "try(", "not ", "%")):
        return
    checked = check_expression(source, SCHEMA)
    if not checked.ok:
        return
    try:
        evaluate(source, row, SCHEMA)
    except EvaluationFailed:
        if any(value is None and re.search(rf"\b{name}\b", source) for name, value in row.items()):
            return  # beside a NULL the engine leaves the other operand out, and its fault with it
        try:
            bare(source, row)
        except duckdb.Error:
            return
        raise AssertionError(f"the engine has a value for {source}") from None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(source: str) -> None:
    try:
        parse_expression(source)
    except ParseRefused as refused:
        assert 0 <= refused.problem.start <= refused.problem.end <= len(source)


TOKENS = ["a", "t", "(", ")", "[", "]", "{", "}", ",", "+", "-", "*", "/", "'x'", "1", ".", "case", "when", "then", "end",
          "and", "or", "not", "in", "is", "null", "cast", "as", "int", "lambda", "x", ":", "->", "->>", "::", "upper(",
          "interval", "select", "from", "between", "like", "for", "if", "distinct", "over", "filter", '"q"', ";", "--", "/*"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=25).map(" ".join))
def test_any_tokens_are_checked_without_failing(source: str) -> None:
    checked = check_expression(source, SCHEMA)
    for problem in checked.problems:
        assert 0 <= problem.start <= problem.end <= max(len(source), 1)
    assert checked.ok is (checked.type is not None)


SIMPLE = st.sampled_from(["BIGINT", "VARCHAR", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "BOOLEAN", "SMALLINT"]) | st.builds(
    lambda width, scale: f"DECIMAL({width},{min(scale, width)})", st.integers(1, 38), st.integers(0, 38)
)  # fmt: skip
TYPES = st.recursive(
    SIMPLE,
    lambda inner: (
        inner.map(lambda item: f"{item}[]") | st.builds(lambda a, b: f'STRUCT("x y" {a}, "b" {b})', inner, inner)
    ),
    max_leaves=5,
)


@given(TYPES)
def test_type_names_survive_arrow(name: str) -> None:
    assert canonical_name(name) == name
    assert from_arrow_type(to_arrow_type(name)) == name
    assert fit(parse_type(name), parse_type(name))[0] == "same"


@given(st.text(max_size=60))
def test_any_text_is_a_type_or_none(name: str) -> None:
    found = find_type(name)
    assert found is None or canonical_name(str(found)) == str(found)

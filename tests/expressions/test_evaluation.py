"""Values for single contexts and small sets of rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.expressions.choices import RowCode
from apps.expressions.contracts import Schema
from apps.expressions.exceptions import EvaluationFailed, ExpressionInvalid
from apps.expressions.services.evaluation import Named, evaluate, evaluate_rows

# The semantics that the README states, one by one.
SEMANTICS: list[tuple[str, Any]] = [
    ("7 / 2", 3.5),
    ("-7 / 2", -3.5),
    ("7 // 2", 3),
    ("-7 // 2", -3),
    ("7 % 3", 1),
    ("-7 % 3", -1),
    ("0.1 + 0.2", Decimal("0.3")),
    ("0.1 + 0.2 = 0.3", True),
    ("1.10 * 1.10", Decimal("1.2100")),
    ("cast(2.5 as integer)", 3),
    ("cast(-2.5 as integer)", -3),
    ("cast(1.005 as decimal(10,2))", Decimal("1.01")),
    ("round(2.345, 2)", Decimal("2.35")),
    ("round(-2.345, 2)", Decimal("-2.35")),
    ("null + 1", None),
    ("null = null", None),
    ("null is not distinct from null", True),
    ("'a' || null", None),
    ("concat('a', null)", "a"),
    ("true or null", True),
    ("false and null", False),
    ("null in (1)", None),
    ("-2 ^ 2", 4.0),
    ("2 + 3 * 4", 14),
    ("(2 + 3) * 4", 20),
    ("not true or true", True),
    ("1 between 0 and 2 and true", True),
    ("'abc' like 'a%'", True),
    ("'a_c' like 'a!_c' escape '!'", True),
    ("'ABC' ilike 'a%'", True),
    ("'abc'[2]", "b"),
    ("[10, 20, 30][1]", 10),
    ("[10, 20, 30][-1]", 30),
    ("[10, 20, 30][2:3]", [20, 30]),
    ("[10][5]", None),
    ("{'a': {'b': 1}}.a.b", 1),
    ("date '2024-01-31' + interval 1 month", datetime(2024, 2, 29)),  # noqa: DTZ001
    ("date '2024-03-01' - date '2024-02-01'", 29),
    ("cast(timestamptz '2024-07-01 23:30:00-02' as date)", date(2024, 7, 2)),
    ("timestamptz '2024-07-01 10:00:00+02'", datetime(2024, 7, 1, 8, tzinfo=UTC)),
    ("timestamp '2024-07-01 12:00:00' at time zone 'Europe/Zurich'", datetime(2024, 7, 1, 10, tzinfo=UTC)),
    ("case 2 when 1 then 'a' when 2 then 'b' end", "b"),
    ("list_transform([1, 2], x -> x + 1)", [2, 3]),
    ("[x * 2 for x in [1, 2, 3] if x > 1]", [4, 6]),
    ("try(1 / (1 - 1))", None),
    ("try_cast('x' as integer)", None),
    ("false and 1 / (1 - 1) > 0", False),
    ("case when false then cast('x' as integer) else 1 end", 1),
    ("coalesce(1, cast('x' as integer))", 1),
    ("cast(' 12 ' as integer)", 12),
    ("cast('12.50' as decimal(18,2))", Decimal("12.50")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "value"), SEMANTICS, ids=[source for source, _ in SEMANTICS])
def test_semantics(source: str, value: Any) -> None:
    found = evaluate(source, {})
    assert found == value
    assert type(found) is type(value)


FAULTS = [
    ("a / b", {"a": 1, "b": 0}, RowCode.DIVISION_BY_ZERO),
    ("a // b", {"a": 1, "b": 0}, RowCode.DIVISION_BY_ZERO),
    ("a % b", {"a": 1, "b": 0}, RowCode.DIVISION_BY_ZERO),
    ("a + b", {"a": 2**63 - 1, "b": 1}, RowCode.OVERFLOW),
    ("a * b", {"a": 2**62, "b": 4}, RowCode.OVERFLOW),
    ("-a", {"a": -(2**63)}, RowCode.FUNCTION),
    ("cast(a as integer)", {"a": 2**40}, RowCode.OVERFLOW),
    ("cast(t as integer)", {"t": "x"}, RowCode.CONVERSION),
    ("cast(t as date)", {"t": "2024-02-30"}, RowCode.CONVERSION),
    ("strptime(t, '%d.%m.%Y')", {"t": "soon"}, RowCode.CONVERSION),
    ("sqrt(a)", {"a": -1}, RowCode.DOMAIN),
    ("ln(a)", {"a": 0}, RowCode.DOMAIN),
    ("make_date(2024, a, 1)", {"a": 13}, RowCode.FUNCTION),
    ("list_transform(l, lambda x: 1 / x)", {"l": [1, 0]}, RowCode.FUNCTION),
    ("list_transform(l, lambda x: 1 / (x - 1))", {"l": [1, 0]}, RowCode.FUNCTION),
    ("[cast(x as integer) for x in l]", {"l": ["1", "x"]}, RowCode.FUNCTION),
    ("cast(l as integer[])", {"l": ["1", "x"]}, RowCode.CONVERSION),
    ("coalesce(cast(t as integer), 0)", {"t": "x"}, RowCode.CONVERSION),
    ("case when a / b > 1 then 1 else 0 end", {"a": 1, "b": 0}, RowCode.DIVISION_BY_ZERO),
    ("t is null or cast(t as integer) > 0", {"t": "x"}, RowCode.CONVERSION),
]  # fmt: skip


@pytest.mark.parametrize(("source", "inputs", "code"), FAULTS, ids=[source for source, _, _ in FAULTS])
def test_fault_is_named(source: str, inputs: dict[str, Any], code: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        evaluate(source, inputs)
    assert caught.value.facts["row_code"] == code


@pytest.mark.parametrize(
    ("source", "inputs", "value"),
    [
        ("case when b = 0 then 0 else a / b end", {"a": 1, "b": 0}, 0.0),
        ("b <> 0 and a / b > 1", {"a": 1, "b": 0}, False),
        ("b = 0 or a / b > 1", {"a": 1, "b": 0}, True),
        ("coalesce(a, cast(t as bigint))", {"a": 5, "t": "x"}, 5),
        ("coalesce(try(a / b), -1.0)", {"a": 1, "b": 0}, -1.0),
        ("if(t = 'x', 0, cast(t as integer))", {"t": "x"}, 0),
        ("a / b", {"a": None, "b": 0}, None),
        ("try_cast(t as integer)", {"t": None}, None),
    ],
)
def test_only_what_is_evaluated_can_fail(source: str, inputs: dict[str, Any], value: Any) -> None:
    schema = Schema.of(a="BIGINT", b="BIGINT", t="VARCHAR")
    assert evaluate(source, inputs, schema) == value


def test_context_types_are_inferred() -> None:
    context = {"order": {"lines": [{"q": 2, "p": 1.5}, {"q": 1, "p": 3}], "tags": ["a"]}, "empty": {}, "none": None}
    assert evaluate("list_sum([i.q * i.p for i in order.lines])", context) == 6.0
    assert evaluate("list_contains(order.tags, 'a') and none is null", context) is True
    assert evaluate("json_keys(empty)", context) == []


def test_schema_turns_json_into_exact_values() -> None:
    schema = Schema.of(total="DECIMAL(18,2)", day="DATE", at="TIMESTAMPTZ", j="JSON")
    row = {"total": "0.10", "day": "2024-05-17", "at": "2024-05-17T10:00:00+02:00", "j": {"a": [1]}}
    assert evaluate("total * 3", row, schema) == Decimal("0.30")
    assert evaluate("day + 1", row, schema) == date(2024, 5, 18)
    assert evaluate("at", row, schema) == datetime(2024, 5, 17, 8, tzinfo=UTC)
    assert evaluate("j -> '$.a[0]'", row, schema) == "1"


@pytest.mark.parametrize("bad", [{"total": "x"}, {"total": "1.234"}, {"total": "1e30"}, {"total": True}, {"total": []}])
def test_value_outside_of_its_type_is_an_input_fault(bad: dict[str, Any]) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        evaluate("total", bad, Schema.of(total="DECIMAL(18,2)"))
    assert caught.value.facts["row_code"] == RowCode.INPUT


def test_rows_keep_their_faults_apart() -> None:
    schema = Schema.of(a="BIGINT", b="BIGINT")
    rows = [{"a": 6, "b": 3}, {"a": 1, "b": 0}, {"a": "x", "b": 1}, {}]
    results = evaluate_rows([Named("ratio", "a / b"), ("sum", "a + b")], rows, schema)
    assert results[0].values == {"ratio": 2.0, "sum": 9}
    assert [error.name for error in results[1].errors] == ["ratio"]
    assert results[1].values == {"ratio": None, "sum": 1}
    assert {error.code for error in results[2].errors} == {RowCode.INPUT}
    assert results[3].values == {"ratio": None, "sum": None}
    assert results[3].ok


def test_no_rows_no_results() -> None:
    assert evaluate_rows([("x", "1")], [], Schema(())) == []


def test_invalid_expression_is_named() -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        evaluate_rows([("good", "1"), ("bad", "foo")], [{}], Schema(()))
    assert caught.value.problems[0].path == "bad"


def test_text_is_data_never_code() -> None:
    nasty = "'; DROP TABLE x; -- \" $1 {0} %s \\"
    assert evaluate("t", {"t": nasty}) == nasty
    quoted = nasty.replace("'", "''")
    assert evaluate(f"'{quoted}'", {}) == nasty
    assert evaluate('"we; ""ird"', {'we; "ird': 1}) == 1

"""Types, nullability, lineage, and warnings about what a mapping would lose."""

from __future__ import annotations

import pytest

from apps.expressions.choices import Code
from apps.expressions.contracts import Field, Schema
from apps.expressions.exceptions import ExpressionInvalid
from apps.expressions.services.checking import check_expression, ensure_expression

SCHEMA = Schema((
    Field("id", "BIGINT", nullable=False),
    Field("name", "VARCHAR"),
    Field("total", "DECIMAL(18,4)"),
    Field("tax", "DECIMAL(18,2)", nullable=False),
    Field("rate", "DOUBLE"),
    Field("paid", "BOOLEAN"),
    Field("issued", "DATE"),
    Field("changed", "TIMESTAMP"),
    Field("seen", "TIMESTAMPTZ"),
    Field("payload", "JSON"),
    Field("customer", "STRUCT(name VARCHAR, address STRUCT(city VARCHAR, zip INTEGER))"),
    Field("lines", "STRUCT(quantity INTEGER, price DECIMAL(18,2))[]"),
    Field("Mixed Case", "VARCHAR"),
))  # fmt: skip


def codes(source: str, target: str | None = None) -> set[tuple[str, str]]:
    """(severity, code) of all problems."""
    return {(p.severity, p.code) for p in check_expression(source, SCHEMA, target).problems}


@pytest.mark.parametrize(
    ("source", "type_"),
    [
        ("id + 1", "BIGINT"),
        ("total * 2", "DECIMAL(18,4)"),
        ("tax + tax", "DECIMAL(19,2)"),
        ("total / tax", "DOUBLE"),
        ("7 / 2", "DOUBLE"),
        ("7 // 2", "INTEGER"),
        ("upper(name) || 'x'", "VARCHAR"),
        ("customer.address.zip", "INTEGER"),
        ("CUSTOMER.Address.City", "VARCHAR"),
        ('"Mixed Case"', "VARCHAR"),
        ("[i.quantity * i.price for i in lines]", "DECIMAL(18,2)[]"),
        ("list_sum([i.quantity * i.price for i in lines])", "DECIMAL(38,2)"),
        ("lines[1].price", "DECIMAL(18,2)"),
        ("payload ->> '$.a.b'", "VARCHAR"),
        ("issued + interval 1 month", "TIMESTAMP"),
        ("date_trunc('month', issued)", "TIMESTAMP"),
        ("extract(year from issued)", "BIGINT"),
        ("seen at time zone 'Europe/Zurich'", "TIMESTAMP"),
        ("case when paid then 1 else 2.5 end", "DECIMAL(11,1)"),
        ("{'a': id, 'b': name}", 'STRUCT("a" BIGINT, "b" VARCHAR)'),
        ("issued >= '2024-01-31'", "BOOLEAN"),
        ("name in ('a', 'b') and not paid", "BOOLEAN"),
        ("null", '"NULL"'),
    ],
)
def test_result_type(source: str, type_: str) -> None:
    checked = check_expression(source, SCHEMA)
    assert checked.ok, checked.problems
    assert checked.type == type_


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("total - tax", ("total", "tax")),
        ("tax + TAX", ("tax",)),
        ("customer.address.city", ("customer",)),
        ("[i.price * rate for i in lines]", ("rate", "lines")),
        ("list_transform(lines, lambda id: id.price)", ("lines",)),
        ("1 + 1", ()),
    ],
)
def test_lineage(source: str, columns: tuple[str, ...]) -> None:
    assert set(check_expression(source, SCHEMA).columns) == set(columns)


@pytest.mark.parametrize(
    ("source", "nullable"),
    [
        ("id", False),
        ("name", True),
        ("id + tax", False),
        ("id + total", True),
        ("coalesce(name, 'x')", False),
        ("coalesce(name, null)", True),
        ("concat(name, 'x')", False),
        ("nullif(id, 0)", True),
        ("case when paid then 1 end", True),
        ("case when paid then 1 else 0 end", False),
        ("try_cast('1' as integer)", True),
        ("name is null", False),
        ("customer.name", True),
        ("if(paid, id, tax)", False),
    ],
)
def test_nullability(source: str, nullable: bool) -> None:
    assert check_expression(source, SCHEMA).nullable is nullable


@pytest.mark.parametrize(
    ("source", "code", "marked"),
    [
        ("totl + 1", Code.UNKNOWN_COLUMN, "totl"),
        ("tax + customer.adress", Code.UNKNOWN_FIELD, "adress"),
        ("payload.a", Code.UNKNOWN_FIELD, "a"),
        ("id + name", Code.TYPE_MISMATCH, "id + name"),
        ("tax + upper(id)", Code.TYPE_MISMATCH, "upper(id)"),
        ("name = 5", Code.TYPE_MISMATCH, "name = 5"),
        ("name = id", Code.TYPE_MISMATCH, "name = id"),
        ("name between 1 and 2", Code.TYPE_MISMATCH, "name between 1 and 2"),
        ("issued = 'yesterday'", Code.TYPE_MISMATCH, "'yesterday'"),
        ("id in (1, 'x')", Code.TYPE_MISMATCH, "'x'"),
        ("id and paid", Code.TYPE_MISMATCH, "id"),
        ("case when name then 1 end", Code.TYPE_MISMATCH, "name"),
        ("tax // 2", Code.TYPE_MISMATCH, "tax // 2"),
        ("id / 0", Code.DIVISION_BY_ZERO, "0"),
        ("cast(issued as integer)", Code.TYPE_MISMATCH, "issued"),
        ("cast('x' as integer)", Code.TYPE_MISMATCH, "'x'"),
        ("9223372036854775807 + 1", Code.TYPE_MISMATCH, "9223372036854775807 + 1"),
        ("regexp_extract(name, '(')", Code.TYPE_MISMATCH, "'('"),
    ],
)
def test_error_points_at_the_place(source: str, code: str, marked: str) -> None:
    checked = check_expression(source, SCHEMA)
    error = next(p for p in checked.problems if p.severity == "error")
    assert (error.code, source[error.start : error.end]) == (code, marked)
    assert checked.type is None


def test_unknown_column_comes_with_a_hint() -> None:
    assert check_expression("custmer.name", SCHEMA).problems[0].hint == "Did you mean customer?"


def test_every_unknown_column_is_named() -> None:
    assert len(check_expression("foo + bar + tax", SCHEMA).problems) == 2


@pytest.mark.parametrize(
    ("source", "target", "finding"),
    [
        # money: every loss is said when it is designed
        ("total", "DECIMAL(18,2)", ("warning", Code.LOSSY)),
        ("tax", "DECIMAL(18,4)", ("warning", Code.LOSSY)),
        ("tax", "DECIMAL(20,4)", None),
        ("rate", "DECIMAL(18,2)", ("warning", Code.LOSSY)),
        ("tax", "DOUBLE", ("warning", Code.LOSSY)),
        ("tax", "BIGINT", ("warning", Code.LOSSY)),
        ("id", "INTEGER", ("warning", Code.LOSSY)),
        ("id", "DECIMAL(38,2)", None),
        ("id", "DOUBLE", ("warning", Code.LOSSY)),
        ("1", "BIGINT", None),
        # time
        ("changed", "DATE", ("warning", Code.LOSSY)),
        ("issued", "TIMESTAMP", None),
        ("seen", "TIMESTAMP", ("warning", Code.LOSSY)),
        ("issued", "INTEGER", ("error", Code.NOT_ASSIGNABLE)),
        ("paid", "DATE", ("error", Code.NOT_ASSIGNABLE)),
        ("lines", "INTEGER", ("error", Code.NOT_ASSIGNABLE)),
        # text is converted row by row
        ("name", "DECIMAL(18,2)", None),
        ("id", "VARCHAR", None),
        ("id", "NOSUCHTYPE", ("error", Code.UNKNOWN_TYPE)),
        ("customer", "STRUCT(name VARCHAR)", None),
        ("customer", "STRUCT(phone VARCHAR)", ("error", Code.NOT_ASSIGNABLE)),
    ],
)
def test_assignability(source: str, target: str, finding: tuple[str, str] | None) -> None:
    assert codes(source, target) == ({finding} if finding else set())


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("total / tax", ("warning", Code.INEXACT)),
        ("tax * rate", ("warning", Code.INEXACT)),
        ("id / id", ("warning", Code.DIVISION_BY_ZERO)),
        ("mod(id, id)", ("warning", Code.DIVISION_BY_ZERO)),
        ("name = null", ("warning", Code.ALWAYS_NULL)),
    ],
)
def test_warnings(source: str, finding: tuple[str, str]) -> None:
    assert finding in codes(source)
    assert check_expression(source, SCHEMA).ok


@pytest.mark.parametrize("source", ["id / 2", "id // nullif(id, 0)", "tax - total", "id is not distinct from null"])
def test_no_needless_warnings(source: str) -> None:
    assert codes(source) == set()


def test_null_into_a_required_target_is_a_warning() -> None:
    checked = check_expression("name", SCHEMA, "VARCHAR", target_nullable=False)
    assert [p.code for p in checked.problems] == [Code.MAY_BE_NULL]


def test_mapped_targets_are_seen_by_rules() -> None:
    mapped = Schema.of(net="DECIMAL(18,2)")
    checked = check_expression("mapped.net <= total", SCHEMA, "BOOLEAN", mapped=mapped)
    assert checked.ok
    assert checked.columns == ("mapped.net", "total")
    wrong = check_expression("mapped.nett > 0", SCHEMA, "BOOLEAN", mapped=mapped)
    assert wrong.problems[0].hint == "Did you mean mapped.net?"


def test_ensure_names_path_and_offsets() -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        ensure_expression("tax + foo", SCHEMA, path="fields[3].expression")
    problem = caught.value.problems[0]
    assert (problem.path, problem.start, problem.end) == ("fields[3].expression", 6, 9)


def test_wide_schemas_check_fast_enough() -> None:
    wide = Schema(tuple(Field(f"column_{i}", "DECIMAL(18,2)") for i in range(1_500)))
    assert check_expression(" + ".join(f"column_{i}" for i in range(0, 1400, 20)), wide).ok

"""A mapping on batches: accepted, rejected with every broken rule, filtered, counted; nothing lost, nothing doubled."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from apps.expressions.choices import Code, RowCode
from apps.expressions.contracts import CompileRequest, Field, MappedField, Schema, Validation
from apps.expressions.exceptions import ExpressionInvalid
from apps.expressions.services.compilation import compile_select
from apps.expressions.services.pipeline import BatchMapper, rejected_rows
from apps.expressions.services.sandbox import open_sandbox

SOURCE = Schema((
    Field("id", "VARCHAR"),
    Field("total", "VARCHAR"),
    Field("tax", "DECIMAL(18,2)"),
    Field("quantity", "BIGINT"),
    Field("day", "VARCHAR"),
))  # fmt: skip
FIELDS = (
    MappedField("invoice_id", "BIGINT", "id", nullable=False),
    MappedField("net", "DECIMAL(18,2)", "cast(total as decimal(18,2)) - tax"),
    MappedField("each", "DECIMAL(18,4)", "cast(total as decimal(18,2)) / quantity"),
    MappedField("day", "DATE", "day"),
)
RULES = (
    Validation("not_negative", "mapped.net >= 0", "Net must not be negative", "net"),
    Validation("tax_below_total", "tax <= cast(total as decimal(18,2))", "Tax is above the total", "net"),
)
REQUEST = CompileRequest(SOURCE, FIELDS, "quantity is distinct from -1", RULES)


def batch(*rows: dict[str, Any]) -> pa.Table:
    """Source rows with good defaults; `_row_id` counts from 1."""
    good = {"id": "7", "total": "10.00", "tax": Decimal("1.00"), "quantity": 4, "day": "2024-05-17"}
    filled = [{"_row_id": number, **good, **row} for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(filled, schema=pa.schema([pa.field("_row_id", pa.int64()), *SOURCE.to_arrow()]))


def outcome(*rows: dict[str, Any], request: CompileRequest = REQUEST) -> tuple[list[int], dict[int, list[str]], int]:
    """Ids of accepted rows, rules broken by rejected ones, and how many were filtered."""
    with BatchMapper(request) as mapper:
        mapped = mapper.apply(batch(*rows))
    rejected = {row["row_id"]: [error["rule"] for error in row["errors"]] for row in rejected_rows(mapped)}
    assert mapped.rows_read == len(rows) == mapped.accepted.num_rows + len(rejected) + mapped.filtered
    return mapped.accepted.column("_row_id").to_pylist(), rejected, mapped.filtered


def test_good_rows_are_accepted_with_target_types() -> None:
    with BatchMapper(REQUEST) as mapper:
        mapped = mapper.apply(batch({}, {"total": "0.10", "tax": Decimal("0.05"), "quantity": 3}))
    assert mapped.accepted.schema.field("net").type == pa.decimal128(18, 2)
    assert mapped.accepted.to_pylist()[1] == {
        "_row_id": 2,
        "invoice_id": 7,
        "net": Decimal("0.05"),
        "each": Decimal("0.0333"),
        "day": mapped.accepted.column("day")[0].as_py(),
    }
    assert mapped.rejected.num_rows == 0
    assert mapped.rejected.column_names == ["_row_id", "_source", "_errors"]


@pytest.mark.parametrize(
    ("row", "rules"),
    [
        ({"id": "seven"}, ["invoice_id.conversion"]),
        ({"id": None}, ["invoice_id.null"]),
        ({"id": "99999999999999999999"}, ["invoice_id.conversion"]),
        ({"quantity": 0}, ["each.division_by_zero"]),
        ({"day": "2024-02-30"}, ["day.conversion"]),
        ({"tax": Decimal("11.00")}, ["not_negative", "tax_below_total"]),
        ({"total": "ten"}, ["net.conversion", "each.conversion", "tax_below_total.conversion"]),
        ({"id": "x", "quantity": 0, "day": "?"}, ["invoice_id.conversion", "each.division_by_zero", "day.conversion"]),
        ({"total": "9" * 16 + ".00", "tax": Decimal("-9999999999999999.99")}, ["net.overflow", "each.overflow"]),
    ],
)
def test_rejected_row_names_every_broken_rule(row: dict[str, Any], rules: list[str]) -> None:
    accepted, rejected, filtered = outcome({}, row, {})
    assert accepted == [1, 3]
    assert rejected == {2: rules}
    assert filtered == 0


@pytest.mark.parametrize("row", [{"total": None}, {"day": None}, {"tax": None}, {"quantity": None}])
def test_honest_null_is_no_error(row: dict[str, Any]) -> None:
    assert outcome(row) == ([1], {}, 0)


def test_filtered_rows_are_counted_and_nothing_else() -> None:
    assert outcome({"quantity": -1}, {"quantity": -1, "id": "x"}, {}) == ([3], {}, 2)


def test_faulty_filter_rejects_the_row() -> None:
    request = CompileRequest(SOURCE, FIELDS[:1], "10 / quantity > 1")
    assert outcome({"quantity": 0}, {"quantity": 100}, {"quantity": 1}, request=request) == (
        [3],
        {1: ["filter.division_by_zero"]},
        1,
    )


def test_warning_rules_count_and_accept() -> None:
    rule = Validation("round_number", "quantity % 2 = 0", severity="warning")
    with BatchMapper(CompileRequest(SOURCE, FIELDS[:1], None, (rule,))) as mapper:
        mapped = mapper.apply(batch({"quantity": 1}, {"quantity": 2}, {"quantity": 3}, {"id": "x", "quantity": 5}))
    assert mapped.accepted.num_rows == 3
    assert mapped.warnings == {"round_number": 2}


def test_rejected_rows_carry_their_source_exactly() -> None:
    with BatchMapper(REQUEST) as mapper:
        mapped = mapper.apply(batch({"id": "x", "tax": Decimal("1.10")}))
    row = rejected_rows(mapped)[0]
    assert row["source"] == {"id": "x", "total": "10.00", "tax": "1.10", "quantity": 4, "day": "2024-05-17"}
    error = row["errors"][0]
    assert error == {
        "rule": "invoice_id.conversion",
        "field": "invoice_id",
        "code": RowCode.CONVERSION,
        "message": "invoice_id cannot be converted.",
    }


def test_relation_and_batches_agree() -> None:
    rows = [{}, {"id": "x"}, {"quantity": 0}, {"quantity": -1}, {"total": None}, {"tax": Decimal("99.00")}] * 50
    table = batch(*rows)
    with BatchMapper(REQUEST) as mapper, open_sandbox() as sandbox:
        whole = mapper.apply(table)
        parts = [mapper.apply(table.slice(start, 7)) for start in range(0, table.num_rows, 7)]
        with sandbox.relation("src", table):
            streamed = list(mapper.map_relation("SELECT * FROM src", sandbox, batch_rows=2_048))
    for found in (parts, streamed):
        assert pa.concat_tables([part.accepted for part in found]).equals(whole.accepted)
        assert [r for part in found for r in rejected_rows(part)] == rejected_rows(whole)
        assert sum(part.filtered for part in found) == whole.filtered


def test_rows_explained_later_and_together_say_the_same() -> None:
    table = batch(*[{}, {"id": "x"}, {"quantity": 0}, {"quantity": -1}, {"total": None}] * 20)
    with BatchMapper(REQUEST) as mapper:
        whole = mapper.apply(table)
        parts = [mapper.apply(table.slice(start, 7), explain=False) for start in range(0, table.num_rows, 7)]
        waiting = [part.unexplained for part in parts if part.unexplained is not None]
        explained = mapper.explain(pa.concat_tables(waiting))
    assert explained.equals(whole.rejected)
    assert all(part.rejected.num_rows == 0 for part in parts)
    assert sum(part.accepted.num_rows + part.filtered for part in parts) + explained.num_rows == table.num_rows


def test_views_of_the_statement_agree() -> None:
    compiled = compile_select(REQUEST)
    table = batch({}, {"id": "x"}, {"quantity": -1})
    with open_sandbox() as sandbox, sandbox.relation("src", table):
        accepted = sandbox.run(compiled.over("SELECT * FROM src", compiled.accepted_sql))
        rejected = sandbox.run(compiled.over("SELECT * FROM src", compiled.rejected_sql))
    assert accepted.column("_row_id").to_pylist() == [1]
    assert rejected.column("_row_id").to_pylist() == [2]


def test_column_order_types_and_extras_do_not_matter() -> None:
    table = batch({}).append_column("extra", pa.array([1]))
    table = table.select(["day", "extra", "quantity", "_row_id", "id", "total", "tax"])
    table = table.set_column(2, "quantity", table.column("quantity").cast(pa.int32()))
    table = table.set_column(4, "id", table.column("id").cast(pa.large_string()))
    with BatchMapper(REQUEST) as mapper:
        assert mapper.apply(table).accepted.num_rows == 1
        assert mapper.apply(table.combine_chunks().to_batches()[0]).accepted.num_rows == 1


def test_missing_column_is_null() -> None:
    with BatchMapper(REQUEST) as mapper:
        mapped = mapper.apply(batch({}).drop(["day"]))
    assert mapped.accepted.column("day").to_pylist() == [None]


def test_empty_batch() -> None:
    assert outcome() == ([], {}, 0)


def test_a_row_that_the_engine_cannot_read_is_singled_out() -> None:
    # The declared type is JSON; text that is none raises in the cast that no expression is about.
    schema = Schema.of(payload="JSON", n="BIGINT")
    request = CompileRequest(schema, (MappedField("a", "VARCHAR", "payload ->> 'a'"),))
    rows = [{"_row_id": i, "payload": '{"a": "x"}' if i != 5 else "{broken", "n": i} for i in range(9)]
    table = pa.Table.from_pylist(rows)
    with BatchMapper(request) as mapper:
        mapped = mapper.apply(table)
    assert mapped.accepted.column("_row_id").to_pylist() == [0, 1, 2, 3, 4, 6, 7, 8]
    rejected = rejected_rows(mapped)
    assert [row["row_id"] for row in rejected] == [5]
    assert rejected[0]["errors"][0]["code"] == RowCode.FUNCTION
    assert rejected[0]["source"]["payload"] == "{broken"


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        (CompileRequest(SOURCE, (MappedField("a", "BIGINT", "foo"), MappedField("b", "BIGINT", "bar"))),
         ["fields[0].expression", "fields[1].expression"]),
        (CompileRequest(SOURCE, (MappedField("a", "NOPE", "id"),)), ["fields[0].type"]),
        (CompileRequest(SOURCE, (MappedField("a", "BIGINT", "id"), MappedField("A", "BIGINT", "id"))), ["fields[1].target"]),
        (CompileRequest(SOURCE, FIELDS, "quantity"), ["filter"]),
        (CompileRequest(SOURCE, FIELDS, None, (Validation("r", "mapped.nope > 0"),)), ["validations[0].expression"]),
        (CompileRequest(SOURCE, (MappedField("_state", "BIGINT", "id"),)), ["fields[0].target"]),
        (CompileRequest(Schema.of(a="BIGINT", A="BIGINT"), ()), ["schema"]),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_path(request_: CompileRequest, paths: list[str]) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        compile_select(request_)
    assert [problem.path for problem in caught.value.problems] == paths


def test_compiling_tells_warnings_and_lineage() -> None:
    compiled = compile_select(REQUEST)
    assert compiled.columns == {
        "invoice_id": ("id",),
        "net": ("total", "tax"),
        "each": ("total", "quantity"),
        "day": ("day",),
    }
    assert {p.code for p in compiled.problems["fields[2].expression"]} == {
        Code.INEXACT, Code.LOSSY, Code.DIVISION_BY_ZERO,
    }  # fmt: skip


def test_odd_names_are_only_names() -> None:
    schema = Schema(
        (Field('we "ird', "BIGINT"), Field("select", "BIGINT"), Field("_v1", "BIGINT"), Field("mapped", "BIGINT"))
    )
    fields = (MappedField("a'; b", "BIGINT", '"we ""ird" + "select" + _v1 + mapped'),)
    request = CompileRequest(schema, fields, None, (Validation("it's", 'mapped."a\'; b" < 100', "it's wrong"),))
    row = {"_row_id": 1, 'we "ird': 1, "select": 2, "_v1": 3, "mapped": 4}
    with BatchMapper(request) as mapper:
        mapped = mapper.apply(pa.Table.from_pylist([row, {**row, "select": 200}]))
    assert mapped.accepted.column("a'; b").to_pylist() == [10]
    assert rejected_rows(mapped)[0]["errors"][0]["message"] == "it's wrong"


def test_typed_nested_values_pass_through() -> None:
    schema = Schema.of(lines="STRUCT(q BIGINT, p DECIMAL(18,2))[]")
    fields = (
        MappedField("total", "DECIMAL(38,2)", "list_sum([i.q * i.p for i in lines])"),
        MappedField("first", "STRUCT(q BIGINT, p DECIMAL(18,2))", "lines[1]"),
    )
    table = pa.table(
        {"_row_id": [1], "lines": pa.array([[{"q": 2, "p": Decimal("1.50")}]], schema.to_arrow().field(0).type)}
    )
    with BatchMapper(CompileRequest(schema, fields)) as mapper:
        row = mapper.apply(table).accepted.to_pylist()[0]
    assert row == {"_row_id": 1, "total": Decimal("3.00"), "first": {"q": 2, "p": Decimal("1.50")}}


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    with BatchMapper(REQUEST, memory_mb=64) as mapper:
        table = batch(*([{}, {"id": "x"}] * 2_000))
        mapper.apply(table)
        before = pa.total_allocated_bytes()
        for _ in range(30):
            mapper.apply(table)
        assert pa.total_allocated_bytes() <= before + 1_000_000

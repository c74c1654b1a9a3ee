"""Checks of a definition: every mistake has a path, a code and, in expressions, a place."""

from __future__ import annotations

import pyarrow as pa
import pytest

from apps.connectors.contracts import EntitySchema
from apps.integrations.services.validation import validate_definition
from tests.integrations.factories import INVOICES, make_definition, make_source
from tests.integrations.memory import MemoryConnector

FIELDS = "nodes[1].config.fields"
TARGET = "nodes[2].config"


def found(definition, **options):
    """{(path, code)} of everything found."""
    return {(problem.path, problem.code) for problem in validate_definition(definition, **options).problems}


def test_a_good_definition_is_valid(erp):
    check = validate_definition(make_definition())
    assert (check.problems, check.valid, check.source_known) == ((), True, "live")
    assert [(item["target"], item["columns"]) for item in check.fields] == [
        ("invoice_id", ["id"]),
        ("customer", ["customer"]),
        ("total", ["total"]),
    ]
    assert check.source_fields[0] == {"name": "id", "type": "BIGINT", "nullable": False}


def field(target, expression="id", type_="BIGINT", nullable=True):
    return {"target": target, "type": type_, "expression": expression, "nullable": nullable}


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"surprise": 1}, "surprise", "integrations.unknown_key"),
        ({"source__sql": "x"}, "nodes[0].config.sql", "integrations.unknown_key"),
        ({"field0__colour": "red"}, f"{FIELDS}[0].colour", "integrations.unknown_key"),
        ({"load__mode": "sometimes"}, "load.mode", "integrations.invalid_value"),
        ({"load__partitions": 0}, "load.partitions", "integrations.invalid_value"),
        ({"source__entity": ""}, "nodes[0].config.entity", "integrations.invalid_value"),
        ({"edges": []}, "edges", "integrations.not_a_line"),
        ({"edges": [{"from": "source", "to": "nowhere"}]}, "edges[0].to", "integrations.unknown_node"),
        ({"field1__target": "Invoice_ID"}, f"{FIELDS}[1].target", "integrations.duplicate_target"),
        ({"field1__target": "_row_id"}, f"{FIELDS}[1].target", "integrations.reserved_name"),
        ({"map__fields": [], "target__keys": []}, FIELDS, "integrations.nothing_mapped"),
        ({"target__keys": []}, f"{TARGET}.keys", "integrations.keys_missing"),
        ({"target__keys": ["nothing"]}, f"{TARGET}.keys[0]", "integrations.key_not_mapped"),
        ({"target__keys": ["invoice_id"] * 2}, f"{TARGET}.keys[1]", "integrations.duplicate_key"),
        ({"field0__nullable": True}, f"{FIELDS}[0].nullable", "integrations.key_nullable"),
        ({"field1__expression": "uper(customer)"}, f"{FIELDS}[1].expression", "expressions.unknown_function"),
        ({"field1__expression": "custmer"}, f"{FIELDS}[1].expression", "expressions.unknown_column"),
        ({"field1__expression": "customer +"}, f"{FIELDS}[1].expression", "expressions.syntax"),
        ({"field1__type": "TEXTISH"}, f"{FIELDS}[1].type", "expressions.unknown_type"),
        ({"field2__type": "DATE"}, f"{FIELDS}[2].expression", "expressions.not_assignable"),
        ({"field2__type": "DECIMAL(18,1)"}, f"{FIELDS}[2].expression", "expressions.lossy"),
        ({"field2__type": "DOUBLE"}, f"{FIELDS}[2].expression", "expressions.lossy"),
        ({"map__filter": "total"}, "nodes[1].config.filter", "expressions.not_assignable"),
        ({"map__filter": "lines"}, "nodes[1].config.filter", "integrations.not_boolean"),
        ({"load": {"mode": "incremental"}}, "load.cursor", "integrations.cursor_missing"),
        ({"load": {"mode": "incremental", "cursor": "changed"}}, "load.cursor", "integrations.cursor_unknown"),
        ({"load": {"mode": "incremental", "cursor": "paid"}}, "load.cursor", "integrations.cursor_not_orderable"),
        ({"load": {"mode": "incremental", "cursor": "customer"}}, "load.cursor", "integrations.cursor_is_text"),
        ({"load": {"mode": "incremental", "cursor": "due"}}, "load.cursor", "integrations.cursor_nullable"),
        (
            {"load": {"mode": "incremental", "cursor": "id", "lookback_s": 60}},
            "load.lookback_s",
            "integrations.lookback_not_temporal",
        ),
        (
            {"load": {"mode": "incremental", "cursor": "id"}, "target__disposition": "replace"},
            f"{TARGET}.disposition",
            "integrations.replace_by_changes",
        ),
        (
            {
                "load": {"mode": "incremental", "cursor": "updated_at", "lookback_s": 60},
                "target__disposition": "append",
            },
            "load.lookback_s",
            "integrations.append_lookback",
        ),
        ({"load": {"mode": "partitioned"}}, "load.mode", "integrations.cannot_partition"),
        ({"source__connection": "crm"}, "nodes[0].config.connection", "integrations.binding_missing"),
        ({"source__entity": "public.gone"}, "nodes[0].config.entity", "connectors.entity_gone"),
        ({"target__connection": "erp"}, f"{TARGET}.connection", "integrations.cannot_write"),
        (
            {"reconciliation": {"controls": [{"name": "N", "source": "customer", "target": "total"}]}},
            "reconciliation.controls[0].source",
            "integrations.control_not_a_number",
        ),
        (
            {"reconciliation": {"controls": [{"name": "N", "source": "total", "target": "amount"}]}},
            "reconciliation.controls[0].target",
            "expressions.unknown_column",
        ),
        (
            {"reconciliation": {"controls": [{"name": "N", "source": "total", "target": "total"}] * 2}},
            "reconciliation.controls[1].name",
            "integrations.duplicate_name",
        ),
        ({"limits": {"max_reject_share": "1.5"}}, "limits.max_reject_share", "integrations.invalid_value"),
        ({"variables": {"Region": "EU"}}, "variables", "integrations.invalid_value"),
        ({"variables": {"region": "EU"}}, "variables", "integrations.variable_unused"),
        ({"field1__expression": "var.region"}, f"{FIELDS}[1].expression", "expressions.unknown_column"),
    ],
)
def test_every_mistake_is_named_by_its_place(erp, changes, path, code):
    problems = found(make_definition(**changes))
    assert (path, code) in problems, problems


def test_validations_see_source_columns_and_mapped_targets(erp):
    rules = [
        {"id": "a", "expression": "mapped.total >= 0 AND lines > 0", "message": "x"},
        {"id": "b", "expression": "lines", "message": "x"},
        {"id": "a", "expression": "mapped.nothing > 0", "message": "x", "field": "nothing"},
    ]
    problems = found(make_definition(map__validations=rules))
    base = "nodes[1].config.validations"
    assert (f"{base}[0].expression", "expressions.unknown_column") not in problems
    assert (f"{base}[1].expression", "integrations.not_boolean") in problems
    assert (f"{base}[2].id", "integrations.duplicate_rule") in problems
    assert (f"{base}[2].expression", "expressions.unknown_column") in problems
    assert (f"{base}[2].field", "integrations.unknown_target") in problems


def test_an_expression_problem_points_at_the_character(erp):
    check = validate_definition(make_definition(field1__expression="upper(custmer)"))
    (problem,) = check.errors
    assert (problem.start, problem.end) == (6, 13)
    assert problem.hint
    assert "customer" in problem.hint


def test_variables_are_texts_to_be_cast(erp):
    good = make_definition(variables={"floor": "0"}, map__filter="total > CAST(var.floor AS DECIMAL(18,2))")
    assert validate_definition(good).valid
    bad = make_definition(variables={"floor": "0"}, map__filter="total > var.flor")
    assert ("nodes[1].config.filter", "expressions.unknown_field") in found(bad)


def test_a_source_that_does_not_answer_is_a_warning_and_the_contract_is_used(erp):
    MemoryConnector.down = True
    contract = {"fields": [{"name": item.name, "type": item.type} for item in INVOICES.fields]}
    check = validate_definition(make_definition(contract=contract))
    assert check.valid
    assert check.source_known == "contract"
    (warning,) = check.problems
    assert warning.code == "integrations.source_unreachable"
    assert "data contract" in warning.message
    broken = validate_definition(make_definition(contract=contract, field1__expression="custmer"))
    assert ("expressions.unknown_column") in {problem.code for problem in broken.errors}


def test_without_source_and_contract_nothing_can_be_published(erp):
    MemoryConnector.down = True
    check = validate_definition(make_definition())
    assert (check.valid, check.source_known) == (False, "unknown")
    assert ("nodes[0].config.entity", "integrations.source_unknown") in {(p.path, p.code) for p in check.errors}
    syntax = validate_definition(make_definition(field1__expression="upper("))
    assert "expressions.syntax" in {problem.code for problem in syntax.errors}


def test_what_was_known_is_remembered_when_the_source_goes_away(erp):
    validate_definition(make_definition())
    from django.core.cache import cache

    cache.delete_many(_keys(erp, "fresh"))
    MemoryConnector.down = True
    check = validate_definition(make_definition())
    assert (check.source_known, check.valid) == ("cached", True)


def _keys(connection_id, kind):
    import hashlib

    digest = hashlib.sha256(f"{connection_id}|public.invoices".encode()).hexdigest()[:40]
    return [f"integrations.{kind}.{digest}"]


def test_the_source_is_asked_once_a_minute(erp):
    for _ in range(3):
        validate_definition(make_definition())
    assert MemoryConnector.described == 1


def test_autosave_never_asks_the_source(erp):
    check = validate_definition(make_definition(), live=False)
    assert MemoryConnector.described == 0
    assert check.source_known == "unknown"
    assert {problem.severity for problem in check.problems} == {"warning"}


def test_drift_is_reported_against_the_contract(erp):
    fields = [{"name": item.name, "type": item.type} for item in INVOICES.fields]
    fields[2]["type"] = "DECIMAL(10,2)"
    frozen = {"type_change": "freeze", "fields": [*fields, {"name": "gone", "type": "DATE"}], "missing_column": "null"}
    check = validate_definition(make_definition(contract=frozen))
    by_code = {problem.code: problem.severity for problem in check.problems}
    assert by_code == {"quality.type_change": "error", "quality.missing_column": "warning"}


def test_an_existing_target_is_compared(erp):
    target = EntitySchema.of(
        "sink.invoices", [("invoice_id", "BIGINT", False), ("total", "DECIMAL(10,0)"), ("x", "DATE", False)]
    )
    make_source("sink", "memory_sink")
    MemoryConnector.tables["sink.invoices"] = (target, pa.table({"invoice_id": pa.array([], pa.int64())}))
    changed = make_definition(
        target__connection="sink", target__entity="sink.invoices", target__disposition="append", target__keys=[]
    )
    problems = found(changed)
    assert (f"{FIELDS}[2].type", "integrations.lossy_conversion") in problems
    assert (FIELDS, "integrations.required_not_mapped") in problems
    refused = found(make_definition(target__connection="sink", target__entity="sink.invoices"))
    assert (f"{TARGET}.disposition", "integrations.disposition_not_offered") in refused


@pytest.mark.parametrize("value", [[], "text", None, {"nodes": 5}, {"nodes": [None]}, {"nodes": [{"kind": "map"}]}])
def test_nonsense_is_refused_with_problems_not_with_a_crash(erp, value):
    from apps.integrations.shape import find_shape_problems

    assert find_shape_problems(value)

"""Trying a mapping on sample rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

from apps.access.exceptions import PermissionDenied
from apps.connectors.contracts import EntitySchema
from apps.integrations.exceptions import BindingMissing, DefinitionInvalid, SampleUnavailable
from apps.integrations.services.environments import MASK, VariableInput, replace_variables
from apps.integrations.services.preview import preview_mapping
from tests.integrations.factories import BEN, VIEWER, make_definition, make_flow
from tests.integrations.memory import MemoryConnector


def test_preview_shows_accepted_rows_and_every_broken_rule(erp):
    rules = [
        {"id": "positive_total", "expression": "total >= 0", "message": "Total must not be negative", "field": "total"},
        {"id": "has_customer", "expression": "customer IS NOT NULL", "message": "No customer", "field": "customer"},
        {"id": "unpaid", "expression": "paid", "message": "Not paid", "severity": "warning"},
    ]
    flow = make_flow(definition=make_definition(map__validations=rules))
    preview = preview_mapping(flow.pk, actor=BEN)
    assert [row.accepted for row in preview.rows] == [True, True, False, True]
    first = preview.rows[0]
    assert first.target == {"invoice_id": 1, "customer": "ACME", "total": "10.00"}
    assert first.source["total"] == "10.00"
    assert preview.rows[1].warnings == ("unpaid",)
    broken = preview.rows[2]
    assert [error["rule"] for error in broken.errors] == ["positive_total", "has_customer"]
    assert broken.target["total"] == "-5.00"
    assert [field["name"] for field in preview.target_fields] == ["invoice_id", "customer", "total"]
    assert {"name": "total", "type": "DECIMAL(18,2)"} in preview.source_fields


def test_a_division_by_zero_is_an_error_of_its_row(erp):
    flow = make_flow(definition=make_definition(field2__expression="total / lines"))
    rows = preview_mapping(flow.pk, actor=BEN).rows
    assert [row.accepted for row in rows] == [True, True, False, False]
    assert rows[3].errors[0]["field"] == "total"
    assert "zero" in rows[3].errors[0]["message"]


def test_one_wrong_expression_does_not_blind_the_rest(erp):
    flow = make_flow(definition=make_definition(field1__expression="custmer", map__filter="total >"))
    preview = preview_mapping(flow.pk, actor=BEN)
    assert set(preview.rows[0].target) == {"invoice_id", "total"}
    assert {problem.code for problem in preview.problems} == {"expressions.unknown_column", "expressions.syntax"}


def test_filtered_rows_are_shown_as_left_out(erp):
    flow = make_flow(definition=make_definition(map__filter="total > 9"))
    rows = preview_mapping(flow.pk, actor=BEN).rows
    assert [(row.accepted, row.filtered) for row in rows] == [
        (True, False),
        (True, False),
        (False, True),
        (False, True),
    ]


def test_preview_takes_an_unsaved_definition_and_a_limit(erp):
    flow = make_flow()
    preview = preview_mapping(flow.pk, actor=BEN, definition=make_definition(field1__expression="'x'"), limit=2)
    assert [row.target["customer"] for row in preview.rows] == ["x", "x"]


def test_secret_variables_are_masked_in_previews(erp):
    replace_variables("dev", [VariableInput("salt", "s3cret", secret=True), VariableInput("prefix", "EU-")], actor=BEN)
    definition = make_definition(
        variables={"salt": None, "prefix": None, "unset": None},
        field1__expression="var.prefix || var.salt || var.unset || coalesce(customer, '')",
    )
    preview = preview_mapping(make_flow(definition=definition).pk, actor=BEN)
    assert preview.rows[0].target["customer"] == f"EU-{MASK}Acme"
    assert "s3cret" not in str(preview)
    assert "var" not in preview.rows[0].source


def test_an_empty_source_shows_its_columns(erp):
    schema, table = MemoryConnector.tables["public.invoices"]
    MemoryConnector.tables["public.invoices"] = (schema, table.slice(0, 0))
    preview = preview_mapping(make_flow().pk, actor=BEN)
    assert preview.rows == ()
    assert len(preview.source_fields) == 7


def test_json_and_uuid_travel_as_text(erp):
    schema = EntitySchema.of("public.docs", [("id", "UUID", False), ("doc", "JSON")])
    table = pa.table({"id": ["0198c0de-0000-7000-8000-000000000001"], "doc": ['{"a": {"b": 1}}']})
    MemoryConnector.tables["public.docs"] = (schema, table)
    fields = [
        {"target": "id", "type": "UUID", "expression": "id", "nullable": False},
        {"target": "b", "type": "BIGINT", "expression": "doc -> 'a' ->> 'b'"},
    ]
    definition = make_definition(
        source__entity="public.docs", map__fields=fields, map__validations=[], target__keys=["id"], reconciliation={}
    )
    (row,) = preview_mapping(make_flow(definition=definition).pk, actor=BEN).rows
    assert row.accepted, row.errors
    assert row.target["b"] == 1


def test_a_source_that_cannot_be_read_is_said(erp):
    flow = make_flow()
    MemoryConnector.down = True
    with pytest.raises(SampleUnavailable, match="memory does not answer") as refused:
        preview_mapping(flow.pk, actor=BEN)
    assert refused.value.facts["cause"] == "connectors.unavailable"
    with pytest.raises(BindingMissing):
        preview_mapping(flow.pk, actor=BEN, definition=make_definition(source__connection="moon"))
    MemoryConnector.down = False
    with pytest.raises(SampleUnavailable):
        preview_mapping(flow.pk, actor=BEN, definition=make_definition(source__entity="public.gone"))


def test_preview_refuses_a_broken_shape_and_the_unpermitted(erp):
    flow = make_flow()
    with pytest.raises(DefinitionInvalid):
        preview_mapping(flow.pk, actor=BEN, definition={"schema": "flow/2"})
    with pytest.raises(DefinitionInvalid):
        preview_mapping(flow.pk, actor=BEN, definition=make_definition(edges=[]))
    with pytest.raises(PermissionDenied):
        preview_mapping(flow.pk, actor=VIEWER)

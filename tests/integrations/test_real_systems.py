"""Designing a flow against real systems: a CSV file in the tenant's folder, the tenant's own warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from psycopg import sql

from apps.connectors.catalog.files.storage import FOLDERS
from apps.connectors.selectors import find_connection_by_slug
from apps.connectors.services.connections import create_connection
from apps.connectors.services.sessions import build_context, tenant_files_root
from apps.integrations.services.flows import publish_flow
from apps.integrations.services.preview import preview_mapping
from apps.integrations.services.suggestions import suggest_mapping
from apps.integrations.services.validation import validate_definition
from tests.integrations.factories import BEN, make_definition, make_flow

CSV = """InvNo;CustName;TotAmt;InvDt
INV-1;Müller & Söhne;10.50;2026-01-31
INV-2;Acme;-3.00;2026-02-28
INV-3;;7.25;2026-03-01
"""


@pytest.fixture
def csv(as_acme: Any, settings: Any, tmp_path: Any) -> Iterator[Any]:
    """Inside acme: a connection `uploads` to a folder with one file."""
    cache.clear()
    settings.FILES_ROOT = tmp_path
    folder = tenant_files_root(as_acme.id) / FOLDERS / "erp"
    folder.mkdir(parents=True)
    (folder / "invoices.csv").write_text(CSV, encoding="utf-8")
    connection = create_connection(
        "Uploads", "files", config={"location": "folder", "folder": "erp"}, slug="uploads", actor=BEN
    )
    yield connection
    cache.clear()


def from_csv(**changes: Any) -> dict[str, Any]:
    """A definition that reads the file."""
    fields = [
        {"target": "invoice_number", "type": "VARCHAR", "expression": '"InvNo"', "nullable": False},
        {"target": "customer_name", "type": "VARCHAR", "expression": '"CustName"', "nullable": False},
        {"target": "total", "type": "DECIMAL(18,2)", "expression": 'CAST("TotAmt" AS DECIMAL(18,2))'},
    ]
    rule = {"id": "positive", "expression": '"TotAmt" >= 0', "message": "Negative", "field": "total"}
    return make_definition(
        source__connection="uploads", source__entity="invoices.csv", map__fields=fields, map__validations=[rule],
        target__keys=["invoice_number"], reconciliation={}, **changes,
    )  # fmt: skip


def test_a_csv_file_is_designed_previewed_and_published(csv):
    guess = suggest_mapping(csv.id, "invoices.csv", actor=BEN)
    assert [item.target for item in guess.fields] == ["inv_no", "cust_name", "tot_amt", "inv_dt"]
    flow = make_flow(definition=from_csv())
    rows = preview_mapping(flow.pk, actor=BEN).rows
    assert [row.accepted for row in rows] == [True, False, False]
    assert rows[0].target == {"invoice_number": "INV-1", "customer_name": "Müller & Söhne", "total": "10.50"}
    assert rows[1].errors[0]["rule"] == "positive"
    assert rows[2].errors[0]["field"] == "customer_name"
    version = publish_flow(flow.pk, actor=BEN).version
    assert [item["name"] for item in version.definition["contract"]["fields"]] == [
        "InvNo",
        "CustName",
        "TotAmt",
        "InvDt",
    ]


def test_a_file_that_is_not_there_is_said(csv):
    gone = make_definition(source__connection="uploads", source__entity="gone.csv")
    check = validate_definition(gone)
    assert ("nodes[0].config.entity", "connectors.entity_gone") in {(item.path, item.code) for item in check.errors}


def test_the_warehouse_is_compared_when_its_table_exists(committed_acme, unique, settings):
    from apps.tenancy.services.context import tenant_context

    table = unique("inv")
    with tenant_context(committed_acme):
        context = build_context("tests")
        connection = find_connection_by_slug("warehouse")
        assert connection is not None
    place = sql.Identifier(context.warehouse_schema, table)
    with psycopg.connect(context.warehouse_url, autocommit=True) as admin:
        admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(context.warehouse_role)))
        admin.execute(sql.SQL("CREATE TABLE {} (invoice_id bigint PRIMARY KEY, total numeric(10,0))").format(place))
    cache.clear()
    try:
        with tenant_context(committed_acme):
            target = suggest_mapping(connection.id, table, actor=BEN)
            assert target.keys == ("invoice_id",)
            definition = make_definition(
                source__connection="warehouse", source__entity=table, target__entity=f"{table}_copy",
                map__fields=[
                    {"target": "invoice_id", "type": "BIGINT", "expression": "invoice_id", "nullable": False},
                    {"target": "total", "type": "DECIMAL(18,2)", "expression": "total"},
                ],
                map__validations=[],
            )  # fmt: skip
            check = validate_definition(definition)
            assert check.valid, check.problems
            assert check.source_known == "live"
            definition["nodes"][2]["config"]["entity"] = table
            same = validate_definition(definition)
            assert "integrations.same_entity" in {problem.code for problem in same.errors}
            assert "integrations.lossy_conversion" in {problem.code for problem in same.problems}
    finally:
        with psycopg.connect(context.warehouse_url, autocommit=True) as admin:
            admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(context.warehouse_role)))
            admin.execute(sql.SQL("DROP TABLE {}").format(place))

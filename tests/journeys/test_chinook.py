"""Real input that nobody here wrote: the Chinook shop's customers, invoices and lines into the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.tenancy.services.context import tenant_context

SCRIPT = Path(__file__).resolve().parents[3] / "shared" / "samples" / "chinook" / "Chinook_PostgreSql.sql"

pytestmark = [
    pytest.mark.committed,
    pytest.mark.skipif(not SCRIPT.exists(), reason="the Chinook sample is not beside this checkout"),
]

CUSTOMERS = {
    "entity": "public.customer",
    "keys": ["customer_id"],
    "fields": [
        ("customer_id", "BIGINT", "customer_id", False),
        ("name", "VARCHAR", "first_name || ' ' || last_name", False),
        ("country", "VARCHAR", "country", True),
        ("email", "VARCHAR", "lower(email)", False),
    ],
    "controls": [],
}
INVOICES = {
    "entity": "public.invoice",
    "keys": ["invoice_id"],
    "fields": [
        ("invoice_id", "BIGINT", "invoice_id", False),
        ("customer_id", "BIGINT", "customer_id", False),
        ("issued_on", "DATE", "cast(invoice_date as date)", False),
        ("total", "DECIMAL(12,2)", "total", False),
    ],
    "controls": [{"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}],
}
LINES = {
    "entity": "public.invoice_line",
    "keys": ["line_id"],
    "fields": [
        ("line_id", "BIGINT", "invoice_line_id", False),
        ("invoice_id", "BIGINT", "invoice_id", False),
        ("track_id", "BIGINT", "track_id", False),
        ("quantity", "INTEGER", "quantity", False),
        ("amount", "DECIMAL(12,2)", "unit_price * quantity", False),
    ],
    "controls": [],
}


def _script() -> str:
    """The sample's SQL after its `\\c`, which only psql understands."""
    return SCRIPT.read_text(encoding="utf-8").split("\\c chinook;", 1)[1]


def _definition(spec: dict[str, Any], *, source: str, target: str) -> dict[str, Any]:
    fields = [
        {"target": name, "type": type_, "expression": text, "nullable": nullable, "description": ""}
        for name, type_, text, nullable in spec["fields"]
    ]
    return {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": source, "entity": spec["entity"]}},
            {"id": "map", "kind": "map", "config": {"fields": fields, "filter": None, "validations": []}},
            {
                "id": "target",
                "kind": "target",
                "config": {"connection": "warehouse", "entity": target, "disposition": "upsert", "keys": spec["keys"]},
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
        "load": {"mode": "full"},
        "reconciliation": {"controls": spec["controls"]},
    }


def _load(
    api: Any, finished_run: Callable[..., dict[str, Any]], name: str, definition: dict[str, Any]
) -> dict[str, Any]:
    flow = api.post("/api/v2/flows", {"name": name}).json()
    saved = api.patch(f"/api/v2/flows/{flow['id']}", {"draft": definition, "expected_revision": flow["draft_revision"]})
    assert saved.status_code == 200, saved.json()
    version = api.post(f"/api/v2/flows/{flow['id']}/publish", {"note": "first"})
    assert version.status_code in (200, 201), version.json()
    deployed = api.post(
        f"/api/v2/flows/{flow['id']}/deploy", {"environment": "dev", "version": version.json()["number"]}
    )
    assert deployed.status_code in (200, 201), deployed.json()
    run = api.post(f"/api/v2/flows/{flow['id']}/runs", {"environment": "dev"})
    assert run.status_code == 202, run.json()
    return finished_run(api, run.json()["id"])


def test_chinook_arrives_to_the_cent(
    workers: None,
    committed_acme: Any,
    api_for: Callable[..., Any],
    source_database: Callable[[str], dict[str, Any]],
    finished_run: Callable[..., dict[str, Any]],
    unique: Callable[[str], str],
) -> None:
    api = api_for(committed_acme)
    slug = unique("chinook").replace("_", "-")
    created = api.post(
        "/api/v2/connections",
        {"name": slug, "slug": slug, "connector": "postgresql", **source_database(_script())},
    )
    assert created.status_code == 201, created.json()
    check = api.post(f"/api/v2/connections/{created.json()['id']}/check").json()
    assert check["ok"], check

    tables = {name: unique(name) for name in ("customers", "invoices", "lines")}
    for name, spec in (("customers", CUSTOMERS), ("invoices", INVOICES), ("lines", LINES)):
        run = _load(
            api, finished_run, unique(name), _definition(spec, source=created.json()["slug"], target=tables[name])
        )
        assert run["status"] == "succeeded", run
        assert run["reconciliation"]["status"] == "green", run["reconciliation"]
        assert run["progress"]["rows_quarantined"] == 0

    with tenant_context(committed_acme), connection.cursor() as cursor:
        schema = committed_acme.warehouse_schema
        cursor.execute(f'SELECT count(*) FROM "{schema}"."{tables["customers"]}"')
        assert cursor.fetchone() == (59,)
        cursor.execute(f'SELECT count(*), sum(total) FROM "{schema}"."{tables["invoices"]}"')
        assert cursor.fetchone() == (412, Decimal("2328.60"))
        cursor.execute(f'SELECT count(*), sum(amount) FROM "{schema}"."{tables["lines"]}"')
        assert cursor.fetchone() == (2240, Decimal("2328.60"))

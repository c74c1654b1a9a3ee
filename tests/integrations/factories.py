"""Connections, definitions and flows for tests."""

from __future__ import annotations

import copy
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from apps.access.contracts import Actor
from apps.connectors.contracts import EntitySchema
from apps.connectors.services.connections import create_connection
from apps.core.ids import uuid7
from apps.integrations.models import Flow
from apps.integrations.services.flows import create_flow, publish_flow, update_draft
from tests.integrations.memory import MemoryConnector

EVERYTHING = frozenset(
    {
        "flow:view", "flow:edit", "flow:publish", "flow:deploy", "environment:view", "environment:manage",
        "connection:edit", "connection:use", "secret:write", "quarantine:edit",
    }
)  # fmt: skip
BEN = Actor(kind="user", id=uuid7(), name="ben@acme.example", permissions=EVERYTHING)
EVA = Actor(kind="user", id=uuid7(), name="eva@acme.example", permissions=EVERYTHING)
VIEWER = Actor(kind="user", id=uuid7(), name="viewer@acme.example", permissions=frozenset({"flow:view"}))

INVOICES = EntitySchema.of(
    "public.invoices",
    [
        ("id", "BIGINT", False),
        ("customer", "VARCHAR"),
        ("total", "DECIMAL(18,2)"),
        ("lines", "INTEGER"),
        ("due", "DATE"),
        ("updated_at", "TIMESTAMPTZ", False),
        ("paid", "BOOLEAN"),
    ],
    keys=["id"],
)


def invoice_table() -> pa.Table:
    """Four invoices: two fine, one negative, one with no lines (a division by zero)."""
    utc = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.int64()),
            "customer": pa.array(["Acme", "Müller", None, "Zed"]),
            "total": pa.array(
                [Decimal("10.00"), Decimal("20.50"), Decimal("-5.00"), Decimal("8.00")], pa.decimal128(18, 2)
            ),
            "lines": pa.array([2, 1, 1, 0], pa.int32()),
            "due": pa.array([None] * 4, pa.date32()),
            "updated_at": pa.array([datetime(2026, 1, n) for n in (1, 2, 3, 4)], utc),  # noqa: DTZ001 - the type has it
            "paid": pa.array([True, False, None, False]),
        }
    )


def make_source(slug: str = "erp", connector: str = "memory") -> UUID:
    """A connection to the system in memory, which holds the invoices."""
    MemoryConnector.tables = {"public.invoices": (INVOICES, invoice_table())}
    MemoryConnector.down = False
    MemoryConnector.described = 0
    return create_connection(slug.title(), connector, config={}, slug=slug, actor=BEN).id


DEFINITION: dict[str, Any] = {
    "schema": "flow/1",
    "kind": "load",
    "nodes": [
        {"id": "source", "kind": "source", "config": {"connection": "erp", "entity": "public.invoices"}},
        {
            "id": "map",
            "kind": "map",
            "config": {
                "fields": [
                    {"target": "invoice_id", "type": "BIGINT", "expression": "id", "nullable": False},
                    {"target": "customer", "type": "VARCHAR", "expression": "upper(customer)"},
                    {"target": "total", "type": "DECIMAL(18,2)", "expression": "total"},
                ],
                "filter": None,
                "validations": [
                    {
                        "id": "positive_total",
                        "expression": "total >= 0",
                        "message": "Total must not be negative",
                        "field": "total",
                    }
                ],
            },
        },
        {
            "id": "target",
            "kind": "target",
            "config": {
                "connection": "warehouse",
                "entity": "invoices",
                "disposition": "upsert",
                "keys": ["invoice_id"],
            },
        },
    ],
    "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
    "load": {"mode": "full"},
    "reconciliation": {"controls": [{"name": "Total", "source": "total", "target": "total"}]},
}


def make_definition(**paths: Any) -> dict[str, Any]:
    """The definition with changes: `source__connection`, `map__filter`, `load__mode`, `field0__expression` …"""
    data = copy.deepcopy(DEFINITION)
    for path, value in paths.items():
        head, _, rest = path.partition("__")
        if not rest:
            data[head] = value
        elif head.startswith("field"):
            data["nodes"][1]["config"]["fields"][int(head[5:])][rest] = value
        elif head in {"source", "map", "target"}:
            index = ("source", "map", "target").index(head)
            data["nodes"][index]["config"][rest] = value
        else:
            data.setdefault(head, {})[rest] = value
    return data


def make_flow(name: str = "Invoices", definition: dict[str, Any] | None = None) -> Flow:
    """A flow with a complete draft."""
    return create_flow(name, actor=BEN, definition=definition or make_definition())


def make_version(flow: Flow, definition: dict[str, Any] | None = None) -> int:
    """Publish the draft, after saving it if given; its number."""
    if definition is not None:
        flow.refresh_from_db()
        update_draft(flow.pk, definition, expected_revision=flow.draft_revision, actor=BEN)
    return publish_flow(flow.pk, actor=BEN).version.number

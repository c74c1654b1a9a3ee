"""A small ledger that the journeys load: invoices in a PostgreSQL database, two of them with planted mistakes."""

from __future__ import annotations

from typing import Any

ROWS = 60
GOOD_ROWS = ROWS - 2
# Breaks two rules at once: the total is negative and the currency is unknown.
BAD_NUMBER = "INV-0007"
# Breaks one rule.
UNKNOWN_CURRENCY_NUMBER = "INV-0031"

SCRIPT = f"""
    CREATE TABLE invoices (
        id bigint PRIMARY KEY, number text NOT NULL, customer text, currency text NOT NULL, issued_on date NOT NULL,
        net numeric(12,2) NOT NULL, tax numeric(12,2) NOT NULL, total numeric(12,2) NOT NULL,
        updated_at timestamptz NOT NULL
    );
    INSERT INTO invoices
    SELECT n, 'INV-' || lpad(n::text, 4, '0'), 'Customer ' || n % 7, (ARRAY['EUR', 'USD', 'SEK'])[1 + n % 3],
           date '2026-01-01' + n::int, n * 100.10, n * 20.02, n * 120.12, timestamptz '2026-03-01 08:00+00'
    FROM generate_series(1, {ROWS}) AS n;
    UPDATE invoices SET total = -840.84, net = -700.70, tax = -140.14, currency = 'XXX' WHERE number = '{BAD_NUMBER}';
    UPDATE invoices SET currency = '???' WHERE number = '{UNKNOWN_CURRENCY_NUMBER}';
    CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO customers SELECT n, 'Customer ' || n FROM generate_series(0, 6) AS n;
    ANALYZE;
"""

RULES = [
    ("positive_total", "total >= 0", "An invoice must not have a negative total.", "total"),
    ("known_currency", "currency in ('EUR', 'USD', 'SEK')", "The currency is none that we invoice in.", "currency"),
]


def build_definition(*, source: str, target: str) -> dict[str, Any]:
    """The flow that loads the invoices of the connection with the slug `source` into the warehouse's `target`."""
    fields = [
        ("id", "BIGINT", "id", False),
        ("number", "VARCHAR", "number", False),
        ("currency", "VARCHAR", "currency", False),
        ("issued_on", "DATE", "issued_on", False),
        ("total", "DECIMAL(12,2)", "net + tax", False),
    ]
    return {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": source, "entity": "public.invoices"}},
            {
                "id": "map",
                "kind": "map",
                "config": {
                    "fields": [
                        {"target": name, "type": type_, "expression": text, "nullable": nullable, "description": ""}
                        for name, type_, text, nullable in fields
                    ],
                    "filter": None,
                    "validations": [
                        {"id": id_, "expression": text, "message": message, "field": field, "severity": "quarantine"}
                        for id_, text, message, field in RULES
                    ],
                },
            },
            {
                "id": "target",
                "kind": "target",
                "config": {"connection": "warehouse", "entity": target, "disposition": "upsert", "keys": ["id"]},
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
        "load": {"mode": "full"},
        "reconciliation": {
            "controls": [
                {"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}
            ]
        },
    }

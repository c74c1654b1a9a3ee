"""Definitions of the demo's flows: an ERP's customers, invoices, lines and payments into the warehouse."""

from __future__ import annotations

from typing import Any

FlowSpec = dict[str, Any]

# Rejects each of the planted defects (see demo_erp.DEFECTS) by at least one rule.
INVOICE_RULES = [
    (
        "known_customer",
        "customer_id between 1 and 99999999",
        "The customer number has more than eight digits.",
        "customer_id",
    ),
    (
        "known_currency",
        "currency in ('EUR', 'USD', 'GBP', 'SEK')",
        "The currency is none that we invoice in.",
        "currency",
    ),
    ("positive_total", "total_amount >= 0", "An invoice must not have a negative total.", "total_amount"),
    ("total_adds_up", "net_amount + tax_amount = total_amount", "Net plus tax is not the total.", "total_amount"),
    ("due_after_issue", "due_date >= issue_date", "The invoice is due before it was issued.", "due_date"),
    ("plausible_issue_date", "issue_date < date '2030-01-01'", "The issue date lies far in the future.", "issue_date"),
]


def build_flow_specs() -> list[FlowSpec]:
    """The demo as `{slug, name, description, definition}`: loads in the order of their first run, then the process."""
    return [_customers(), _invoices(), _lines(), _payments(), _dunning()]


def _definition(
    *,
    entity: str,
    target: str,
    fields: list[tuple[str, str, str, bool]],
    keys: list[str],
    load: dict[str, Any],
    rules: list[tuple[str, str, str, str]] = (),  # type: ignore[assignment]
    filter_: str | None = None,
    controls: list[tuple[str, str, str]] = (),  # type: ignore[assignment]
    disposition: str = "upsert",
) -> dict[str, Any]:
    return {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": "erp", "entity": entity}},
            {
                "id": "map",
                "kind": "map",
                "config": {
                    "fields": [
                        {
                            "target": name,
                            "type": type_,
                            "expression": expression,
                            "nullable": nullable,
                            "description": "",
                        }
                        for name, type_, expression, nullable in fields
                    ],
                    "filter": filter_,
                    "validations": [
                        {"id": id_, "expression": text, "message": message, "field": field, "severity": "quarantine"}
                        for id_, text, message, field in rules
                    ],
                },
            },
            {
                "id": "target",
                "kind": "target",
                "config": {"connection": "warehouse", "entity": target, "disposition": disposition, "keys": keys},
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
        "load": load,
        "reconciliation": {
            "controls": [
                {"name": name, "source": source, "target": column, "aggregate": "sum", "tolerance": "0.00"}
                for name, source, column in controls
            ]
        },
        "limits": {"max_reject_share": "0.05"},
    }


def _customers() -> FlowSpec:
    return {
        "slug": "customers",
        "name": "Customers",
        "description": "Customer master data from the ERP, kept with its history.",
        "definition": _definition(
            entity="public.customers",
            target="customers",
            fields=[
                ("customer_id", "BIGINT", "id", False),
                ("customer_number", "VARCHAR", "customer_no", False),
                ("name", "VARCHAR", "trim(name)", False),
                ("country", "VARCHAR", "upper(country)", False),
                ("currency", "VARCHAR", "currency", False),
                ("email", "VARCHAR", "lower(email)", True),
                ("credit_limit", "DECIMAL(14,2)", "credit_limit", True),
                ("payment_terms_days", "INTEGER", "payment_terms_days", False),
                ("customer_since", "DATE", "cast(created_at as date)", False),
            ],
            keys=["customer_id"],
            load={"mode": "full"},
            controls=[("Credit limits", "credit_limit", "credit_limit")],
            disposition="scd2",
        ),
    }


def _invoices() -> FlowSpec:
    return {
        "slug": "invoices",
        "name": "Invoices",
        "description": "Issued invoices. Drafts are left out; rows that break a rule wait in quarantine.",
        "definition": _definition(
            entity="public.invoices",
            target="invoices",
            fields=[
                ("invoice_number", "VARCHAR", "nullif(trim(invoice_no), '')", False),
                ("erp_id", "BIGINT", "id", False),
                ("customer_id", "BIGINT", "customer_id", False),
                ("status", "VARCHAR", "upper(status)", False),
                ("currency", "VARCHAR", "upper(trim(currency))", False),
                ("issue_date", "DATE", "issue_date", False),
                ("due_date", "DATE", "due_date", False),
                ("fiscal_period", "VARCHAR", "strftime(issue_date, '%Y-%m')", False),
                ("net_amount", "DECIMAL(18,2)", "net_amount", False),
                ("tax_rate", "DECIMAL(5,2)", "cast(tax_rate as decimal(5,2))", False),
                ("tax_amount", "DECIMAL(18,2)", "tax_amount", False),
                ("total_amount", "DECIMAL(18,2)", "total_amount", False),
                ("purchase_order", "VARCHAR", "po_number", True),
            ],
            keys=["invoice_number"],
            load={"mode": "incremental", "cursor": "updated_at", "lookback_s": 300, "late_commit_guard": True},
            rules=INVOICE_RULES,
            filter_="status <> 'draft'",
            controls=[("Total amount", "total_amount", "total_amount"), ("Tax", "tax_amount", "tax_amount")],
        ),
    }


def _lines() -> FlowSpec:
    return {
        "slug": "invoice-lines",
        "name": "Invoice lines",
        "description": "Every line of every invoice, read in parallel parts.",
        "definition": _definition(
            entity="public.invoice_lines",
            target="invoice_lines",
            fields=[
                ("line_id", "BIGINT", "id", False),
                ("invoice_id", "BIGINT", "invoice_id", False),
                ("line_no", "INTEGER", "line_no", False),
                ("item_code", "VARCHAR", "item_code", False),
                ("description", "VARCHAR", "trim(description)", False),
                ("quantity", "DECIMAL(12,3)", "quantity", False),
                ("unit_price", "DECIMAL(14,4)", "unit_price", False),
                ("line_amount", "DECIMAL(18,2)", "line_amount", False),
            ],
            keys=["line_id"],
            load={"mode": "partitioned", "partitions": 4, "partition_column": "id"},
            controls=[("Line amounts", "line_amount", "line_amount")],
            disposition="replace",
        ),
    }


def _payments() -> FlowSpec:
    return {
        "slug": "payments",
        "name": "Payments",
        "description": "Received payments, each loaded once.",
        "definition": _definition(
            entity="public.payments",
            target="payments",
            fields=[
                ("payment_id", "BIGINT", "id", False),
                ("invoice_id", "BIGINT", "invoice_id", False),
                ("paid_on", "DATE", "paid_on", False),
                ("amount", "DECIMAL(18,2)", "amount", False),
                ("method", "VARCHAR", "upper(replace(method, ' ', '_'))", False),
                ("reference", "VARCHAR", "reference", True),
            ],
            keys=["payment_id"],
            load={"mode": "incremental", "cursor": "updated_at", "lookback_s": 300, "late_commit_guard": True},
            controls=[("Amount received", "amount", "amount")],
        ),
    }


def _dunning() -> FlowSpec:
    """A process over the loads: it brings the invoices up to date, asks the ERP, and decides."""
    overdue = (
        "SELECT count(*) AS invoices, coalesce(sum(total_amount), 0) AS amount FROM invoices"
        " WHERE status = 'sent' AND due_date < current_date"
    )
    found = {"count": "steps.overdue.output.rows[1].invoices", "amount": "steps.overdue.output.rows[1].amount"}
    return {
        "slug": "dunning",
        "name": "Dunning",
        "description": "Loads the invoices, counts what is overdue, and tells other processes when there is something.",
        "definition": {
            "schema": "process/1",
            "kind": "process",
            "steps": [
                {"id": "invoices", "kind": "load", "name": "Load the invoices", "config": {"flow": "invoices"}},
                {
                    "id": "overdue",
                    "kind": "query",
                    "name": "Ask what is overdue",
                    "retry": {"max_attempts": 3},
                    "config": {"connection": "erp", "text": overdue, "limit": 1},
                },
                {
                    "id": "decide",
                    "kind": "branch",
                    "name": "Is anything overdue?",
                    "config": {
                        "cases": [
                            {
                                "name": "yes",
                                "when": f"{found['count']} > 0",
                                "steps": [
                                    {
                                        "id": "tell",
                                        "kind": "publish",
                                        "name": "Tell the reminders",
                                        "config": {"event": "invoices.overdue", "data": found},
                                    }
                                ],
                            }
                        ],
                        "default": [{"id": "calm", "kind": "transform", "config": {"constants": {"overdue": 0}}}],
                    },
                },
            ],
            "output": found,
        },
    }

# ruff: noqa: E501 - the statements read better with a row of a table on a line
"""The demo's "ERP": a PostgreSQL database of generated customers, invoices, lines and payments.

The data is the same on every machine (the seed is fixed) and one invoice in a hundred has a defect of one of ten named
kinds, so that validation, quarantine and reconciliation have something real to find. The column `defect` of the table
`planted_defects` says which is where; no flow reads it, tests compare against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

SCHEMA_VERSION = "3"

DEFECTS: dict[str, str] = {
    "blank_number": "The invoice has no number.",
    "duplicate_number": "Another invoice has the same number.",
    "unknown_customer": "The customer does not exist.",
    "unknown_currency": "The currency is not an ISO code.",
    "negative_total": "An invoice with a negative total.",
    "total_mismatch": "Net plus tax is not the total.",
    "due_before_issue": "Due before it was issued.",
    "issued_in_future": "Issued in a year that has not come.",
    "unreadable_tax_rate": "The tax rate is text that is no number.",
    "absurd_amount": "An amount beyond any field that should hold it.",
}


@dataclass(frozen=True)
class ErpSize:
    """How much to generate: rows of each table, before lines are derived."""

    customers: int = 2_000
    invoices: int = 40_000

    @property
    def fingerprint(self) -> str:
        """Identifies data of this size and shape, so that a second start leaves it alone."""
        return f"v{SCHEMA_VERSION}-{self.customers}-{self.invoices}"


def erp_url(database_url: str, database: str, *, user: str | None = None, password: str | None = None) -> str:
    """The address of another database on the same server, optionally as another user."""
    parts = urlsplit(database_url)
    netloc = parts.netloc
    if user is not None:
        host = netloc.rpartition("@")[2]
        netloc = f"{user}:{password}@{host}" if password else f"{user}@{host}"
    return urlunsplit((parts.scheme, netloc, f"/{database}", parts.query, ""))


def ensure_erp(
    database_url: str,
    *,
    database: str,
    reader: str,
    reader_password: str,
    size: ErpSize = ErpSize(),
    progress: Callable[[str, float], None] = lambda step, share: None,
) -> bool:
    """Create and fill the ERP database unless it already holds data of this size.

    Args:
        database_url: a login on the server that may create databases and roles.
        database: name of the ERP database.
        reader, reader_password: the role that the demo's connection signs in with; it may only read.
        size: rows to generate.
        progress: called with a step's name and the share done, 0 to 1.

    Returns:
        True when data was generated, False when it was there already.

    Raises:
        psycopg.Error: the login may not create databases or roles.
    """
    with psycopg.connect(database_url, autocommit=True) as admin:
        exists = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone()
        if not exists:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        verb = "ALTER" if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (reader,)).fetchone() else "CREATE"
        admin.execute(
            sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(reader), sql.Literal(reader_password))
        )
    with psycopg.connect(erp_url(database_url, database)) as erp:
        if _current_fingerprint(erp) == size.fingerprint:
            return False
        for number, (name, statement) in enumerate(_STATEMENTS):
            progress(name, number / len(_STATEMENTS))
            erp.execute(
                sql.SQL(statement).format(customers=sql.Literal(size.customers), invoices=sql.Literal(size.invoices))
            )
        grants = (
            "GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON customers, invoices, invoice_lines, payments TO {0}"
        )
        erp.execute(sql.SQL(grants).format(sql.Identifier(reader)))
        erp.execute("CREATE TABLE demo_fingerprint (value text)")
        erp.execute("INSERT INTO demo_fingerprint VALUES (%s)", (size.fingerprint,))
    with psycopg.connect(erp_url(database_url, database), autocommit=True) as erp:
        erp.execute("ANALYZE")
    progress("done", 1.0)
    return True


def _current_fingerprint(erp: psycopg.Connection) -> str | None:
    if not erp.execute("SELECT to_regclass('demo_fingerprint')").fetchone()[0]:  # type: ignore[index]
        return None
    row = erp.execute("SELECT value FROM demo_fingerprint").fetchone()
    return row[0] if row else None


_STATEMENTS: list[tuple[str, LiteralString]] = [
    (
        "tables",
        """
        DROP TABLE IF EXISTS payments, invoice_lines, invoices, customers, planted_defects, demo_fingerprint CASCADE;
        SELECT setseed(0.42);
        CREATE TABLE customers (
            id bigint PRIMARY KEY, customer_no text NOT NULL UNIQUE, name text NOT NULL, country char(2) NOT NULL,
            currency text NOT NULL, email text, credit_limit numeric(14,2), payment_terms_days int NOT NULL,
            created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
        CREATE TABLE invoices (
            id bigint PRIMARY KEY, invoice_no text, customer_id bigint NOT NULL, status text NOT NULL,
            currency text NOT NULL, issue_date date NOT NULL, due_date date NOT NULL, net_amount numeric(20,2) NOT NULL,
            tax_rate text NOT NULL, tax_amount numeric(20,2) NOT NULL, total_amount numeric(20,2) NOT NULL,
            po_number text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
        CREATE TABLE invoice_lines (
            id bigint PRIMARY KEY, invoice_id bigint NOT NULL, line_no int NOT NULL, item_code text NOT NULL,
            description text NOT NULL, quantity numeric(12,3) NOT NULL, unit_price numeric(14,4) NOT NULL,
            line_amount numeric(18,2) NOT NULL);
        CREATE TABLE payments (
            id bigint PRIMARY KEY, invoice_id bigint NOT NULL, paid_on date NOT NULL, amount numeric(18,2) NOT NULL,
            method text NOT NULL, reference text, updated_at timestamptz NOT NULL);
        CREATE TABLE planted_defects (invoice_id bigint PRIMARY KEY, defect text NOT NULL);
        """,
    ),
    (
        "customers",
        """
        INSERT INTO customers
        SELECT n, 'C' || lpad(n::text, 6, '0'),
               (ARRAY['Northwind','Alpine','Baltic','Harbour','Summit','Meridian','Cobalt','Juniper','Sterling','Lakeside'])[1 + n % 10]
               || ' ' ||
               (ARRAY['Trading','Foods','Logistics','Instruments','Textiles','Energy','Papers','Optics','Tools','Chemicals'])[1 + (n / 10) % 10]
               || ' ' || (ARRAY['Ltd','GmbH','Inc','S.A.','AB','B.V.'])[1 + n % 6] || ' ' || n,
               (ARRAY['GB','DE','US','FR','SE','NL'])[1 + n % 6],
               (ARRAY['GBP','EUR','USD','EUR','SEK','EUR'])[1 + n % 6],
               CASE WHEN n % 17 = 0 THEN NULL ELSE 'accounts' || n || '@customer.example' END,
               (1 + n % 40) * 2500, (ARRAY[14, 30, 30, 45, 60])[1 + n % 5],
               timestamptz '2019-01-01' + n * interval '7 hours', timestamptz '2024-01-01' + n * interval '3 hours'
        FROM generate_series(1, {customers}) AS n;
        """,
    ),
    (
        "lines",
        """
        INSERT INTO invoice_lines
        SELECT row_number() OVER (), invoice, line, 'ITEM-' || lpad((1 + (invoice * 7 + line * 13) % 900)::text, 4, '0'),
               (ARRAY['Consulting day','Licence, annual','Support hour','Sensor unit','Spare part','Freight','Training seat'])
                   [1 + (invoice + line) % 7],
               quantity, unit_price, round(quantity * unit_price, 2)
        FROM generate_series(1, {invoices}) AS invoice
        CROSS JOIN LATERAL generate_series(1, 1 + invoice % 5) AS line
        CROSS JOIN LATERAL (SELECT (1 + (invoice * line) % 12)::numeric(12,3) AS quantity,
                                   round((5 + random() * 900)::numeric, 4) AS unit_price) AS drawn;
        """,
    ),
    (
        "invoices",
        """
        INSERT INTO invoices
        SELECT n, 'INV-' || to_char(issued, 'YYYY') || '-' || lpad(n::text, 7, '0'), 1 + (n * 7919) % {customers},
               CASE WHEN n % 11 = 0 THEN 'draft' WHEN n % 5 = 0 THEN 'sent' WHEN n % 37 = 0 THEN 'cancelled' ELSE 'paid' END,
               c.currency, issued, issued + c.payment_terms_days, net,
               rate::text, round(net * rate / 100, 2), net + round(net * rate / 100, 2),
               CASE WHEN n % 3 = 0 THEN 'PO-' || (100000 + n) END,
               issued + interval '9 hours', issued + interval '9 hours' + (n % 40) * interval '1 day'
        FROM (SELECT invoice_id AS n, sum(line_amount) AS net, date '2022-01-03' + (invoice_id * 1400 / {invoices})::int AS issued
              FROM invoice_lines GROUP BY invoice_id) AS totals
        JOIN customers AS c ON c.id = 1 + (n * 7919) % {customers}
        CROSS JOIN LATERAL (SELECT (ARRAY[0, 7, 19, 20, 25])[1 + n % 5]::numeric(5,2) AS rate) AS tax;
        """,
    ),
    (
        "defects",
        """
        INSERT INTO planted_defects
        SELECT id, (ARRAY['blank_number','duplicate_number','unknown_customer','unknown_currency','negative_total',
                          'total_mismatch','due_before_issue','issued_in_future','unreadable_tax_rate','absurd_amount'])
                   [1 + (id / 100) % 10]
        FROM invoices WHERE id % 100 = 57;
        UPDATE invoices AS i SET
            invoice_no = CASE defect WHEN 'blank_number' THEN '  ' WHEN 'duplicate_number' THEN
                (SELECT twin.invoice_no FROM invoices AS twin WHERE twin.id = i.id - 1) ELSE invoice_no END,
            customer_id = CASE defect WHEN 'unknown_customer' THEN 900000000 + i.id ELSE customer_id END,
            currency = CASE defect WHEN 'unknown_currency' THEN 'EURO' ELSE currency END,
            net_amount = CASE defect WHEN 'negative_total' THEN -net_amount WHEN 'absurd_amount' THEN 99999999999999999.99
                ELSE net_amount END,
            tax_amount = CASE defect WHEN 'negative_total' THEN -tax_amount WHEN 'absurd_amount' THEN 0 ELSE tax_amount END,
            total_amount = CASE defect WHEN 'negative_total' THEN -total_amount WHEN 'total_mismatch' THEN total_amount + 1.37
                WHEN 'absurd_amount' THEN 99999999999999999.99 ELSE total_amount END,
            due_date = CASE defect WHEN 'due_before_issue' THEN issue_date - 10 ELSE due_date END,
            issue_date = CASE defect WHEN 'issued_in_future' THEN date '2099-12-31' ELSE issue_date END,
            tax_rate = CASE defect WHEN 'unreadable_tax_rate' THEN 'n/a' ELSE tax_rate END
        FROM planted_defects AS d WHERE d.invoice_id = i.id;
        CREATE INDEX ON invoices (updated_at);
        CREATE INDEX ON invoice_lines (invoice_id);
        """,
    ),
    (
        "payments",
        """
        INSERT INTO payments
        SELECT row_number() OVER (), id, due_date - (id % 20)::int, total_amount,
               (ARRAY['transfer','card','direct debit'])[1 + id % 3], 'RF' || lpad(id::text, 10, '0'),
               updated_at + interval '1 day'
        FROM invoices WHERE status = 'paid' AND id % 100 <> 57;
        """,
    ),
]

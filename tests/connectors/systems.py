"""Real systems for the connectors' tests: a database of its own on the test server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

INVOICES_DDL = """
CREATE TABLE sales.invoices (
  id bigint PRIMARY KEY, number text NOT NULL UNIQUE, customer_id integer, currency char(3), net numeric(18,2),
  total numeric(18,2), rate numeric, status sales.status, tags text[], attributes jsonb, token uuid, note text,
  issued_on date, paid boolean, weight double precision, updated_at timestamptz NOT NULL DEFAULT now());
INSERT INTO sales.invoices
SELECT i, 'INV-' || lpad(i::text, 6, '0'), i % 50, 'EUR', i * 1.01, i * 1.19, i / 8.0,
  (ARRAY['open','paid'])[1 + i % 2]::sales.status, ARRAY['a', i::text], jsonb_build_object('n', i, 'x', 0.10),
  gen_random_uuid(), CASE WHEN i % 10 = 0 THEN NULL ELSE 'Grüße ' || i END, date '2024-01-01' + i % 300,
  i % 3 = 0, i / 3.0, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 minute'
FROM generate_series(1, 1000) i;
CREATE VIEW sales.open_invoices AS SELECT id, total, updated_at FROM sales.invoices WHERE status = 'open';
CREATE TABLE sales.big WITH (autovacuum_enabled = false) AS
SELECT i AS id, repeat('x', 700) AS filler, (i * 1.19)::numeric(18,2) AS total
FROM generate_series(1, 400000) i;
CREATE TABLE public.plain (a integer, b text);
CREATE TABLE public.empty (id integer PRIMARY KEY, updated_at timestamptz);
"""


def server() -> dict[str, Any]:
    """Where the test server is: parts of its conninfo."""
    return dict(conninfo_to_dict(os.environ["DATABASE_URL"]))


@contextmanager
def source_database() -> Iterator[dict[str, Any]]:
    """A database with a small sales schema and a log-in of its own; both are dropped afterwards.

    Yields:
        Settings of the `postgresql` connector, plus `admin`: conninfo of its owner.
    """
    where = server()
    name = f"src_{uuid4().hex[:12]}"
    reader = f"reader_{uuid4().hex[:12]}"
    admin = make_conninfo(**{**where, "dbname": "postgres"})
    with psycopg.connect(admin, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'let me read'").format(sql.Identifier(reader)))
    own = make_conninfo(**{**where, "dbname": name})
    try:
        with psycopg.connect(own, autocommit=True) as session:
            session.execute("CREATE SCHEMA sales")
            session.execute("CREATE TYPE sales.status AS ENUM ('open', 'paid')")
            session.execute(INVOICES_DDL)
            session.execute("ANALYZE")
            for schema in ("sales", "public"):
                statement = sql.SQL(
                    "GRANT USAGE, CREATE ON SCHEMA {0} TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}"
                )
                session.execute(statement.format(sql.Identifier(schema), sql.Identifier(reader)))
        yield {
            "host": str(where.get("host") or "127.0.0.1"),
            "port": int(where.get("port") or 5432),
            "database": name,
            "user": reader,
            "admin": own,
        }
    finally:
        with psycopg.connect(admin, autocommit=True) as session:
            for attempt in range(20):
                try:
                    session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
                    break
                except psycopg.errors.InsufficientPrivilege:
                    # An autovacuum worker is in it, which only a superuser may end; it leaves by itself.
                    if attempt == 19:
                        raise
                    time.sleep(0.5)
            session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(reader)))

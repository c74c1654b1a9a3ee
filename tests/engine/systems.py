"""Source systems of the engine's tests: tables in the test database, reached through a real connection."""

from __future__ import annotations

import itertools
import os
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from apps.connectors.services.connections import create_connection
from apps.tenancy.models import Tenant
from tests.engine.factories import SYSTEM
from tests.processes import database_url

_numbers = itertools.count(1)
INVOICES = "id bigint PRIMARY KEY, number text, total numeric(18,2), issued_on date, updated_at timestamp"


def unique_name(stem: str) -> str:
    """A table or connection name that no other test uses; the `e` tells it from the names of the fixture `unique`."""
    return f"{stem}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}_e{next(_numbers)}"


def execute(statement: str, parameters: Any = None, *, role: str = "") -> list[tuple[Any, ...]]:
    """One statement as the owner of the database or as a tenant's role, committed."""
    with psycopg.connect(database_url(), autocommit=True) as session:
        if role:
            session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        found = session.execute(statement, parameters)  # type: ignore[arg-type]
        return found.fetchall() if found.description else []


def make_source_table(rows: int = 0, *, columns: str = INVOICES, shared: bool = False) -> str:
    """A table of invoices in schema public: total = id / 100, one invoice a minute; returns its name.

    A `shared` one may be read by the tenants' roles, too, so that a load can be pushed down.
    """
    name = unique_name("src")
    execute(f"CREATE TABLE public.{name} ({columns})")
    if shared:
        execute(f"GRANT SELECT ON public.{name} TO PUBLIC")
    if rows:
        add_invoices(name, 1, rows)
    return name


def add_invoices(table: str, first: int, last: int) -> None:
    """Invoices `first` to `last`."""
    execute(
        f"INSERT INTO public.{table} (id, number, total, issued_on, updated_at)"
        " SELECT i, 'INV-' || i, (i / 100.0)::numeric(18,2), date '2026-01-01' + (i % 300)::int,"
        " timestamp '2026-01-01' + i * interval '1 minute'"
        f" FROM generate_series({first}, {last}) i"
    )
    execute(f"ANALYZE public.{table}")


def drop_table(table: str) -> None:
    """Remove a source table."""
    execute(f"DROP TABLE IF EXISTS public.{table}")


def make_database_connection(slug: str = "") -> Any:
    """A connection to the test database itself, as a foreign ERP would be reached."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url())
    slug = slug or unique_name("erp").replace("_", "-")
    return create_connection(
        name=slug,
        slug=slug,
        connector="postgresql",
        config={
            "host": str(parts["host"]),
            "port": int(str(parts["port"])),
            "database": str(parts["dbname"]),
            "user": str(parts["user"]),
        },
        secrets={"password": str(parts.get("password") or "trusted")},
        actor=SYSTEM,
    )


def target_rows(tenant: Tenant, entity: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
    """Rows of a warehouse table."""
    table = sql.Identifier(tenant.warehouse_schema, entity).as_string()
    return execute(f"SELECT {columns} FROM {table} ORDER BY {order}", role=tenant.db_role)


def target_exists(tenant: Tenant, entity: str) -> bool:
    """Whether the warehouse has that table."""
    return bool(
        execute("SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s", (tenant.warehouse_schema, entity))
    )


def staging_tables(tenant: Tenant, run_id: UUID) -> list[str]:
    """Names of the run's staging tables that are there; other tests of this database leave their own."""
    found = execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND starts_with(tablename, %s)",
        (tenant.warehouse_schema, f"_aip_s_{run_id.hex}"),
    )
    return [row[0] for row in found]

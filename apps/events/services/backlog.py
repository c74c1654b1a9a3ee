"""Which tenants have events that nobody numbered: one query for a hundred tenants, however many subscribers."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from psycopg import sql

from apps.tenancy.selectors import list_active_tenants
from apps.tenancy.services.context import public_context

CHUNK = 100


def list_tenants_with_backlog() -> list[UUID]:
    """Ids of served tenants with unnumbered events."""
    tenants = list_active_tenants()
    found: list[UUID] = []
    for start in range(0, len(tenants), CHUNK):
        parts = [
            sql.SQL("SELECT {id}::uuid WHERE EXISTS (SELECT 1 FROM {table} WHERE position IS NULL)").format(
                id=sql.Literal(str(tenant.id)), table=sql.Identifier(tenant.schema_name, "events_event")
            )
            for tenant in tenants[start : start + CHUNK]
        ]
        # In the public scope the session has the login role, which owns every tenant's tables.
        with public_context(), connection.cursor() as cursor:
            cursor.execute(sql.SQL(" UNION ALL ").join(parts))
            found += [row[0] for row in cursor.fetchall()]
    return found

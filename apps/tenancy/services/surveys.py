"""Asking the same question of every tenant's schema: one statement for a hundred tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from psycopg import sql

from apps.tenancy.models import Tenant
from apps.tenancy.selectors import list_active_tenants
from apps.tenancy.services.context import public_context

CHUNK = 100

__all__ = ["survey_tenants"]


def survey_tenants(question: Callable[[Tenant], sql.Composable]) -> list[tuple[Any, ...]]:
    """Rows of a SELECT over all served tenants, for sweepers, relays and metrics; never for what a tenant sees.

    In the public scope the session has the login role, which owns every tenant's tables.

    Args:
        question: the SELECT for one tenant; tables named with `sql.Identifier(tenant.schema_name, "…")`.
    """
    tenants = list_active_tenants()
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(tenants), CHUNK):
        parts = [question(tenant) for tenant in tenants[start : start + CHUNK]]
        with public_context(), connection.cursor() as cursor:
            cursor.execute(sql.SQL(" UNION ALL ").join(parts))
            found += cursor.fetchall()
    return found

"""How many runs are under way, over all tenants."""

from __future__ import annotations

from psycopg import sql

from apps.engine.choices import ACTIVE_RUN_STATUSES
from apps.tenancy.models import Tenant
from apps.tenancy.services.surveys import survey_tenants


def count_active_runs() -> dict[str, int]:
    """Runs of all served tenants by status, for those that have not ended; reads an index that holds few of them."""
    statuses = [str(status) for status in ACTIVE_RUN_STATUSES]

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL("SELECT status, count(*) FROM {table} WHERE status = ANY({statuses}) GROUP BY status").format(
            table=sql.Identifier(tenant.schema_name, "engine_run"), statuses=sql.Literal(statuses)
        )

    counts = dict.fromkeys(statuses, 0)
    for status, count in survey_tenants(question):
        counts[status] += count
    return counts

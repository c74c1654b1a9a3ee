"""Figures of all tenants' change captures together, for the operators' metrics."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from apps.connectors.choices import CaptureStatus
from apps.tenancy.models import Tenant
from apps.tenancy.services.surveys import survey_tenants


@dataclass(frozen=True)
class CaptureCensus:
    """How change captures are.

    Attributes:
        by_status: number of captures by status.
        alarmed: captures with a warning or worse.
        lag_s: the most seconds that a running one is behind.
        lag_bytes: the most log that a running one has still to read.
        retained_bytes: the most log that a source keeps for one.
    """

    by_status: dict[str, int]
    alarmed: int
    lag_s: int
    lag_bytes: int
    retained_bytes: int


def count_captures() -> CaptureCensus:
    """The figures as last measured."""

    def question(tenant: Tenant) -> sql.Composable:
        return sql.SQL(
            "SELECT status, count(*), count(*) FILTER (WHERE alarm <> 'ok'), "
            "max((health->>'lag_s')::bigint), max((health->>'lag_bytes')::bigint), "
            "max((health->>'retained_bytes')::bigint) FROM {table} GROUP BY status"
        ).format(table=sql.Identifier(tenant.schema_name, "connectors_changecapture"))

    by_status = {status.value: 0 for status in CaptureStatus}
    alarmed = lag_s = lag_bytes = retained = 0
    for status, count, alarms, seconds, behind, kept in survey_tenants(question):
        by_status[status] += count
        alarmed += alarms
        retained = max(retained, kept or 0)
        if status == CaptureStatus.RUNNING:
            lag_s, lag_bytes = max(lag_s, seconds or 0), max(lag_bytes, behind or 0)
    return CaptureCensus(by_status, alarmed, lag_s, lag_bytes, retained)

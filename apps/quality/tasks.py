"""Celery tasks of the quality app."""

from __future__ import annotations

from celery import shared_task

from apps.quality.services.retention import purge_decided_rows
from apps.tenancy.celery import TenantTask
from apps.tenancy.selectors import list_active_tenants


@shared_task(base=TenantTask, name="quality.purge_quarantine")
def purge_quarantine() -> int:
    """Remove the tenant's decided rows that are past their retention."""
    return purge_decided_rows()


@shared_task(name="quality.purge_all")
def purge_all() -> int:
    """Beat's daily entry: one `purge_quarantine` per tenant."""
    tenants = list_active_tenants()
    for tenant in tenants:
        purge_quarantine.delay_for(tenant)
    return len(tenants)

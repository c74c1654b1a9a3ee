"""Celery tasks of the connectors app."""

from __future__ import annotations

from celery import shared_task

from apps.connectors.services.staging import collect_spill, collect_warehouse_staging
from apps.tenancy.celery import TenantTask
from apps.tenancy.selectors import list_active_tenants


@shared_task(base=TenantTask, name="connectors.collect_staging")
def collect_staging() -> int:
    """Drop the tenant's staging tables and temporary files that nobody will finish any more; returns how many."""
    return len(collect_warehouse_staging()) + collect_spill()


@shared_task(name="connectors.collect_staging_all")
def collect_staging_all() -> int:
    """Beat's daily entry: one `collect_staging` per tenant."""
    tenants = list_active_tenants()
    for tenant in tenants:
        collect_staging.delay_for(tenant)
    return len(tenants)

"""Platform tasks: they work on tenants from outside, so they carry no tenant."""

from __future__ import annotations

from celery import shared_task

from apps.tenancy.exceptions import ProvisioningBusy
from apps.tenancy.selectors import get_tenant_by_id, list_stalled_tenants
from apps.tenancy.services.tenants import PROVISION_TASK, continue_provisioning, start_provisioning


@shared_task(name=PROVISION_TASK)
def provision_registered_tenant(tenant_id: str) -> None:
    """Provision a registered tenant; a second copy of the message finds it busy or done."""
    tenant = get_tenant_by_id(tenant_id)
    try:
        continue_provisioning(tenant)
    except ProvisioningBusy:
        return


@shared_task(name="tenancy.resume_stalled_provisioning")
def resume_stalled_provisioning() -> int:
    """Ring again for provisionings whose process died, or whose first message was lost; returns how many."""
    stalled = list_stalled_tenants()
    for tenant in stalled:
        start_provisioning(tenant)
    return len(stalled)

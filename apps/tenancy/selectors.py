"""Reads of tenants and domains. They run in the public schema, whatever scope the caller is in."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from apps.core.clock import now
from apps.tenancy.choices import ProvisioningStatus, TenantStatus
from apps.tenancy.contracts import PUBLIC, current_scope
from apps.tenancy.exceptions import TenantNotFound
from apps.tenancy.models import Tenant

STALLED_AFTER = timedelta(minutes=2)
MAX_ATTEMPTS = 5
LATELY_S = 1.0
LATELY_KEPT = 200
_lately: dict[str, tuple[float, Tenant]] = {}


def _one(**where: object) -> Tenant | None:
    token = current_scope.set(PUBLIC)
    try:
        return Tenant.objects.filter(**where).first()
    finally:
        current_scope.reset(token)


def find_tenant(slug: str) -> Tenant | None:
    """The tenant with that slug, or None."""
    return _one(slug=slug)


def get_tenant(slug: str) -> Tenant:
    """The tenant with that slug.

    Raises:
        TenantNotFound: there is none.
    """
    tenant = _one(slug=slug)
    if tenant is None:
        raise TenantNotFound(f"There is no tenant {slug!r}.", value=slug)
    return tenant


def get_tenant_by_id(tenant_id: UUID | str) -> Tenant:
    """The tenant with that id.

    Raises:
        TenantNotFound: there is none.
    """
    tenant = _one(id=tenant_id)
    if tenant is None:
        raise TenantNotFound("There is no tenant with that id.", value=tenant_id)
    return tenant


def get_tenant_lately(tenant_id: str) -> Tenant:
    """As `get_tenant_by_id`; an active one may be a second old. For workers, who take many messages in that time.

    Raises:
        TenantNotFound: there is none.
    """
    known = _lately.get(tenant_id)
    if known is not None and time.monotonic() - known[0] < LATELY_S:
        return known[1]
    tenant = get_tenant_by_id(tenant_id)
    if tenant.status == TenantStatus.ACTIVE:
        if len(_lately) >= LATELY_KEPT:
            _lately.clear()
        _lately[tenant_id] = (time.monotonic(), tenant)
    return tenant


def forget_tenant(tenant_id: object) -> None:
    """The tenant has changed in this process: the next look is at its row."""
    _lately.pop(str(tenant_id), None)


def list_tenants() -> QuerySet[Tenant]:
    """Every tenant with its domains and progress; a query set for paging in the public schema."""
    return Tenant.objects.select_related("provisioning").prefetch_related("domains")


def list_active_tenants() -> list[Tenant]:
    """Tenants whose hosts are served, oldest first."""
    token = current_scope.set(PUBLIC)
    try:
        return list(Tenant.objects.filter(status=TenantStatus.ACTIVE).order_by("id"))
    finally:
        current_scope.reset(token)


def list_stalled_tenants() -> list[Tenant]:
    """Tenants whose provisioning is not finished and has shown no sign of life for two minutes.

    One that failed five times waits for a person: `manage.py provision_tenant <slug>` continues it.
    """
    silent_since = now() - STALLED_AFTER
    token = current_scope.set(PUBLIC)
    try:
        return list(
            Tenant.objects.filter(provisioning__attempts__lt=MAX_ATTEMPTS)
            .exclude(provisioning__status=ProvisioningStatus.DONE)
            .filter(
                Q(provisioning__heartbeat_at__lt=silent_since)
                | Q(provisioning__heartbeat_at=None, provisioning__created_at__lt=silent_since)
            )
            .order_by("id")
        )
    finally:
        current_scope.reset(token)

"""Reads of tenants and domains. They run in the public schema, whatever scope the caller is in."""

from __future__ import annotations

from uuid import UUID

from apps.tenancy.choices import TenantStatus
from apps.tenancy.contracts import PUBLIC, current_scope
from apps.tenancy.exceptions import TenantNotFound
from apps.tenancy.models import Tenant


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


def list_active_tenants() -> list[Tenant]:
    """Tenants whose hosts are served, oldest first."""
    token = current_scope.set(PUBLIC)
    try:
        return list(Tenant.objects.filter(status=TenantStatus.ACTIVE).order_by("id"))
    finally:
        current_scope.reset(token)

"""Entering and asking for the tenant whose data is being worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apps.tenancy.contracts import PUBLIC, Scope, current_scope
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import list_active_tenants

if TYPE_CHECKING:
    from apps.tenancy.contracts import TenantLike

__all__ = ["current_tenant", "each_tenant", "owner_context", "public_context", "require_tenant", "tenant_context"]


@contextmanager
def _scope(scope: Scope) -> Iterator[None]:
    token = current_scope.set(scope)
    try:
        yield
    finally:
        current_scope.reset(token)


@contextmanager
def tenant_context(tenant: Tenant) -> Iterator[Tenant]:
    """Work in one tenant's schema with that tenant's database role; the former scope returns at the end.

    Follows `await` and `sync_to_async`; a thread started inside does not inherit it and must enter on its own.
    """
    with _scope(Scope(tenant.schema_name, tenant.db_role, tenant)):
        yield tenant


@contextmanager
def public_context() -> Iterator[None]:
    """Work in the public schema with the login role (tenants, domains, platform staff)."""
    with _scope(PUBLIC):
        yield


@contextmanager
def owner_context(tenant: TenantLike, *, include_public: bool = True) -> Iterator[None]:
    """Work in a tenant's schema with the rights of its owner, for migrations and grants only."""
    with _scope(Scope(tenant.schema_name, None, tenant, include_public)):
        yield


def current_tenant() -> Tenant | None:
    """The tenant entered, or None in public."""
    tenant = current_scope.get().tenant
    return tenant if isinstance(tenant, Tenant) else None


def require_tenant() -> Tenant:
    """The tenant entered.

    Raises:
        TenantContextMissing: none is.
    """
    tenant = current_tenant()
    if tenant is None:
        raise TenantContextMissing()
    return tenant


def each_tenant() -> Iterator[Tenant]:
    """Every served tenant in turn, entered while the loop body runs; for sweepers and relays."""
    for tenant in list_active_tenants():
        with tenant_context(tenant):
            yield tenant

"""Celery tasks that run inside one tenant, named in the message and never guessed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from celery import Task
from celery.canvas import Signature
from celery.result import AsyncResult

from apps.tenancy.choices import TenantStatus
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import get_tenant_lately
from apps.tenancy.services.context import current_tenant, public_context, tenant_context

log = structlog.get_logger(__name__)

HEADER = "tenant_id"


def _id_of(tenant: Tenant | UUID | str) -> str:
    return str(tenant.id) if isinstance(tenant, Tenant) else str(tenant)


class TenantTask(Task):
    """Base of tasks that touch a tenant's data.

    Sent by `delay_for(tenant, …)`; the message carries the tenant's id and no other tenant data than ids. A message
    without it fails with `TenantContextMissing`, both when it is sent and when it is run. A suspended tenant's messages
    are dropped, in other processes within a second.
    """

    abstract = True

    def delay_for(self, tenant: Tenant | UUID | str, *args: Any, **kwargs: Any) -> AsyncResult:
        """Send the task for a tenant.

        Args:
            tenant: the tenant or its id.
            args, kwargs: ids and other small JSON values.
        """
        return self.apply_for(tenant, args=args, kwargs=kwargs)

    def apply_for(
        self, tenant: Tenant | UUID | str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult:
        """As `delay_for`, with Celery's options (`countdown`, `queue`, …)."""
        headers = {**(options.pop("headers", None) or {}), HEADER: _id_of(tenant)}
        return self.apply_async(args=args, kwargs=kwargs, headers=headers, **options)

    def signature_for(self, tenant: Tenant | UUID | str, *args: Any, **kwargs: Any) -> Signature:
        """A signature for canvases (chains, groups) that carries the tenant."""
        return self.signature(args, kwargs).set(headers={HEADER: _id_of(tenant)})

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        """Send the message; refused without a tenant."""
        if not (options.get("headers") or {}).get(HEADER):
            raise TenantContextMissing(f"{self.name} was sent without a tenant.")
        return super().apply_async(args, kwargs, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body inside the message's tenant; a direct call uses the tenant already entered."""
        tenant_id = (self.request.headers or {}).get(HEADER) or self.request.get(HEADER)
        if tenant_id is None:
            if self.request.called_directly and current_tenant() is not None:
                return super().__call__(*args, **kwargs)
            raise TenantContextMissing(f"{self.name} was run without a tenant.")
        # A worker child is reused for every tenant: begin from public, so that nothing of the last message remains.
        with public_context():
            tenant = get_tenant_lately(str(tenant_id))
            if tenant.status == TenantStatus.SUSPENDED:
                # Messages only ring doorbells; what is to be done stands in the tenant's tables and is found again
                # by the sweeper once the tenant is resumed.
                log.info("task_of_suspended_tenant_dropped", task=self.name, tenant=tenant.slug)
                return None
            with tenant_context(tenant):
                return super().__call__(*args, **kwargs)

"""REST v2 of tenants: on the platform's own host, for its staff."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.api.inputs import read_input
from apps.core.exceptions import Conflict
from apps.tenancy.api.permissions import PlatformStaffOnly
from apps.tenancy.api.serializers import DomainInput, TenantChange, TenantInput, TenantSerializer
from apps.tenancy.choices import TenantStatus
from apps.tenancy.contracts import StaffMember
from apps.tenancy.exceptions import TenantNotFound
from apps.tenancy.models import Tenant
from apps.tenancy.selectors import find_tenant, list_tenants
from apps.tenancy.services.addresses import add_domain, remove_domain
from apps.tenancy.services.tenants import (
    register_tenant,
    rename_tenant,
    resume_tenant,
    start_provisioning,
    suspend_tenant,
)


def _who(request: Request) -> StaffMember:
    return StaffMember(name=request.user.get_username())


def _get(tenant_id: UUID) -> Tenant:
    tenant = list_tenants().filter(pk=tenant_id).first()
    if tenant is None:
        raise TenantNotFound(value=tenant_id)
    return tenant


class TenantListView(ListAPIView):
    """Tenants of this portal."""

    permission_classes = [PlatformStaffOnly]
    serializer_class = TenantSerializer

    def get_queryset(self) -> QuerySet[Tenant]:
        """Tenants, newest first."""
        return list_tenants()

    @extend_schema(operation_id="tenant_create", request=TenantInput, responses={202: TenantSerializer})
    def post(self, request: Request) -> Response:
        """Register a tenant and start its provisioning; poll the tenant for progress."""
        wanted = read_input(TenantInput, request.data)
        if find_tenant(wanted["slug"]) is not None:
            raise Conflict(f"There is a tenant {wanted['slug']!r} already.", field="slug", value=wanted["slug"])
        domain = wanted.get("domain")
        with transaction.atomic():
            tenant = register_tenant(
                wanted["slug"],
                wanted["name"],
                domains=[domain] if domain else [],
                owner_email=wanted["owner_email"],
                actor=_who(request),
            )
            start_provisioning(tenant)
        return Response(TenantSerializer(_get(tenant.id)).data, status=status.HTTP_202_ACCEPTED)


class TenantView(APIView):
    """One tenant."""

    permission_classes = [PlatformStaffOnly]

    @extend_schema(operation_id="tenant_get", responses=TenantSerializer)
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """The tenant with the progress of its provisioning."""
        return Response(TenantSerializer(_get(tenant_id)).data)

    @extend_schema(operation_id="tenant_update", request=TenantChange, responses=TenantSerializer)
    def patch(self, request: Request, tenant_id: UUID) -> Response:
        """Rename, suspend or resume the tenant."""
        wanted, tenant, who = read_input(TenantChange, request.data), _get(tenant_id), _who(request)
        if "name" in wanted:
            rename_tenant(tenant, wanted["name"], actor=who)
        if wanted.get("status") == TenantStatus.SUSPENDED:
            suspend_tenant(tenant, reason=wanted["suspended_reason"], actor=who)
        elif wanted.get("status") == TenantStatus.ACTIVE:
            resume_tenant(tenant, actor=who)
        return Response(TenantSerializer(_get(tenant_id)).data)


class TenantDomainsView(APIView):
    """Host names of one tenant."""

    permission_classes = [PlatformStaffOnly]

    @extend_schema(operation_id="tenant_domain_add", request=DomainInput, responses={201: TenantSerializer})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Let a host name lead to the tenant."""
        wanted = read_input(DomainInput, request.data)
        add_domain(_get(tenant_id), wanted["domain"], primary=wanted["is_primary"], actor=_who(request))
        return Response(TenantSerializer(_get(tenant_id)).data, status=status.HTTP_201_CREATED)


class TenantDomainView(APIView):
    """One host name of one tenant."""

    permission_classes = [PlatformStaffOnly]

    @extend_schema(operation_id="tenant_domain_remove", responses={204: None})
    def delete(self, request: Request, tenant_id: UUID, domain: str) -> Response:
        """Stop the host name from leading to the tenant."""
        remove_domain(_get(tenant_id), domain, actor=_who(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

"""Shapes of tenants in REST v2."""

from __future__ import annotations

from rest_framework import serializers

from apps.tenancy.choices import ProvisioningStatus, TenantStatus
from apps.tenancy.contracts import MAX_SLUG_CHARS
from apps.tenancy.models import Domain, Provisioning, Tenant


class ProvisioningSerializer(serializers.ModelSerializer):
    """How far the making of a tenant has come."""

    status = serializers.ChoiceField(choices=ProvisioningStatus.choices)
    done = serializers.IntegerField(source="steps_done")
    total = serializers.IntegerField(source="steps_total")

    class Meta:
        model = Provisioning
        fields = ["status", "step", "done", "total", "attempts", "error", "finished_at"]
        read_only_fields = fields


class DomainSerializer(serializers.ModelSerializer):
    """A host name of a tenant."""

    class Meta:
        model = Domain
        fields = ["domain", "is_primary"]
        read_only_fields = fields


class TenantSerializer(serializers.ModelSerializer):
    """A tenant, as the platform's staff sees it."""

    status = serializers.ChoiceField(choices=TenantStatus.choices)
    domains = DomainSerializer(many=True)
    provisioning = ProvisioningSerializer(allow_null=True)

    class Meta:
        model = Tenant
        fields = ["id", "slug", "name", "status", "suspended_reason", "domains", "provisioning", "created_at"]
        read_only_fields = fields


class TenantInput(serializers.Serializer):
    """A new tenant."""

    slug = serializers.CharField(max_length=MAX_SLUG_CHARS)
    name = serializers.CharField(max_length=120)
    domain = serializers.CharField(max_length=253, required=False)
    owner_email = serializers.EmailField(required=False, allow_null=True, default=None)


class TenantChange(serializers.Serializer):
    """Changes of a tenant; fields left out stay."""

    name = serializers.CharField(max_length=120, required=False)
    status = serializers.ChoiceField(choices=[TenantStatus.ACTIVE, TenantStatus.SUSPENDED], required=False)
    suspended_reason = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")


class DomainInput(serializers.Serializer):
    """A further host name."""

    domain = serializers.CharField(max_length=253)
    is_primary = serializers.BooleanField(required=False, default=False)

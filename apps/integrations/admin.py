"""Read-only admin pages of versions and deployments: what was published, what runs where, since when."""

from __future__ import annotations

from django.contrib import admin

from apps.integrations.models import Deployment, FlowVersion
from apps.tenancy.services.admin_scope import ReadOnlyAdmin


@admin.register(FlowVersion)
class FlowVersionAdmin(ReadOnlyAdmin):
    """Published versions."""

    list_display = ["flow", "number", "published_by_name", "published_at", "content_hash"]
    list_select_related = ["flow"]
    list_filter = ["published_at"]
    search_fields = ["flow__name", "content_hash", "published_by_name"]
    ordering = ["-published_at"]
    show_full_result_count = False


@admin.register(Deployment)
class DeploymentAdmin(ReadOnlyAdmin):
    """Deployments, active and retired."""

    list_display = ["flow", "version", "environment", "status", "deployed_by_name", "deployed_at", "retired_at"]
    list_select_related = ["flow", "version", "environment"]
    list_filter = ["status", "environment"]
    search_fields = ["flow__name", "deployed_by_name"]
    ordering = ["-deployed_at"]
    show_full_result_count = False

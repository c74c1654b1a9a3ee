"""The audit log in the admin: to read, never to change."""

from __future__ import annotations

from django.contrib import admin

from apps.audit.models import AuditEntry
from apps.tenancy.services.admin_scope import ReadOnlyAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("number", "at", "actor_name", "action", "target_type", "target_id", "summary")
    list_filter = ("actor_kind", "target_type")
    search_fields = ("summary", "actor_name", "action", "target_id")
    date_hierarchy = "at"
    ordering = ("-id",)

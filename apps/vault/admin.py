"""Read-only view of what the vault holds: names and keys' states, never a value."""

from __future__ import annotations

from django.contrib import admin

from apps.tenancy.services.admin_scope import ReadOnlyAdmin
from apps.vault.models import DataKey, Secret


@admin.register(Secret)
class SecretAdmin(ReadOnlyAdmin):
    list_display = ("owner_type", "owner_id", "field", "key_version", "updated_at")
    list_filter = ("owner_type",)
    search_fields = ("owner_id", "field")
    exclude = ("ciphertext",)


@admin.register(DataKey)
class DataKeyAdmin(ReadOnlyAdmin):
    list_display = ("version", "status", "kek_id", "created_at", "destroyed_at")
    exclude = ("wrapped_key",)

"""Read-only view of what the vault holds: names and keys' states, never a value."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.vault.models import DataKey, Secret


class ReadOnlyAdmin(admin.ModelAdmin):
    """Lists rows; nothing can be added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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

"""Where a model admin exists: on tenants' hosts or on the platform's own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.tenancy.contracts import current_scope


class TenantsHostOnly:
    """Mixin, before `ModelAdmin`: for tables that the public schema does not have."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Shown in the index."""
        return not current_scope.get().is_public and bool(super().has_module_permission(request))  # type: ignore[misc]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May look; with it go the list, its search and its filters."""
        return not current_scope.get().is_public and bool(super().has_view_permission(request, obj))  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May change: Django lets those look who may change."""
        return not current_scope.get().is_public and bool(
            super().has_change_permission(request, obj)  # type: ignore[misc]
        )


class ReadOnlyAdmin(TenantsHostOnly, admin.ModelAdmin):  # type: ignore[type-arg] # not generic at run time
    """Lists a tenant's rows; nothing can be added, changed or deleted here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a row here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes a row here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody removes a row here."""
        return False

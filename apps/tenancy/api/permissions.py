"""Who may govern tenants."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.tenancy.contracts import current_scope


class PlatformStaffOnly(BasePermission):
    """Platform staff on the platform's own host; nobody on a tenant's host, whatever their roles."""

    message = "Only the platform's staff may govern tenants."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the request is on the public host and its user works for the platform."""
        user = request.user
        return current_scope.get().is_public and bool(user and user.is_authenticated and user.is_staff)

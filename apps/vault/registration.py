"""What the vault tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions

register_permissions([("secret:write", "Enter and replace secrets")])

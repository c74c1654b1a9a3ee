"""The one check of what an actor may do."""

from __future__ import annotations

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied

__all__ = ["check_permission"]


def check_permission(actor: Actor, permission: str) -> None:
    """Refuse an actor who lacks a permission.

    Args:
        actor: who asks.
        permission: code such as `flow:edit`.

    Raises:
        PermissionDenied: the actor lacks it; `facts["permission"]` names it.
    """
    if not actor.has(permission):
        raise PermissionDenied(f"This needs the permission {permission}.", permission=permission)

"""Roles: the built-in ones follow the code, a tenant's own are its administrators' business."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.text import slugify

from apps.access.choices import BuiltinRole
from apps.access.contracts import Actor
from apps.access.exceptions import BuiltinRoleFixed, RoleInUse, RoleNotFound, RoleTaken, ScopeNotHeld, UnknownPermission
from apps.access.models import Role
from apps.access.registries import audit_sink, builtin_role_permissions, permissions
from apps.access.services.permissions import check_permission
from apps.core.exceptions import ValidationFailed

__all__ = ["create_role", "delete_role", "ensure_builtin_roles", "provision_builtin_roles", "update_role"]

DESCRIPTIONS = {
    BuiltinRole.VIEWER: "Sees everything, changes nothing.",
    BuiltinRole.BUILDER: "Builds connections and flows and publishes them.",
    BuiltinRole.OPERATOR: "Runs and deploys flows and works through the quarantine.",
    BuiltinRole.APPROVER: "Signs reconciliations and answers tasks.",
    BuiltinRole.ADMIN: "Does everything, including members, roles and keys.",
}


def ensure_builtin_roles() -> None:
    """Make the built-in roles of the current schema what the installed apps define; safe to repeat."""
    for role in BuiltinRole:
        Role.objects.update_or_create(
            slug=role.value,
            defaults={
                "name": role.label,
                "description": DESCRIPTIONS[role],
                "builtin": True,
                "permissions": sorted(builtin_role_permissions(role)),
            },
        )


def provision_builtin_roles(_tenant: Any, _wanted: Any) -> None:
    """Provisioning step: the built-in roles."""
    ensure_builtin_roles()


def _check_codes(codes: list[str], actor: Actor) -> list[str]:
    for code in codes:
        if code not in permissions:
            raise UnknownPermission(f"There is no permission {code!r}.", field="permissions", value=code)
        if not actor.has(code):
            raise ScopeNotHeld(f"You do not have {code} yourself.", field="permissions", value=code, permission=code)
    return sorted(set(codes))


def _get_custom(slug: str) -> Role:
    role = Role.objects.select_for_update().filter(slug=slug).first()
    if role is None:
        raise RoleNotFound(f"There is no role {slug!r}.", value=slug)
    if role.builtin:
        raise BuiltinRoleFixed(value=slug)
    return role


@transaction.atomic
def create_role(
    name: str, *, permission_codes: list[str], slug: str | None = None, description: str = "", actor: Actor
) -> Role:
    """Make a role.

    Args:
        name: shown name.
        permission_codes: what it allows; nobody can put in what they do not hold.
        slug: stable name; made from `name` when absent.
        description: one sentence.
        actor: needs `role:manage`.

    Raises:
        PermissionDenied, UnknownPermission, ScopeNotHeld, RoleTaken, ValidationFailed.
    """
    check_permission(actor, "role:manage")
    slug = slug or slugify(name)[:50]
    if not slug:
        raise ValidationFailed("The name needs at least one letter or digit.", field="name", value=name)
    codes = _check_codes(permission_codes, actor)
    role, created = Role.objects.get_or_create(
        slug=slug, defaults={"name": name, "description": description, "permissions": codes}
    )
    if not created:
        raise RoleTaken(f"There is a role {slug!r} already.", field="slug", value=slug)
    _record(actor, "created", role)
    return role


@transaction.atomic
def update_role(
    slug: str,
    *,
    name: str | None = None,
    description: str | None = None,
    permission_codes: list[str] | None = None,
    actor: Actor,
) -> Role:
    """Change a tenant's own role; None leaves a field as it is.

    Raises:
        PermissionDenied, RoleNotFound, BuiltinRoleFixed, UnknownPermission, ScopeNotHeld.
    """
    check_permission(actor, "role:manage")
    role = _get_custom(slug)
    if name is not None:
        role.name = name
    if description is not None:
        role.description = description
    if permission_codes is not None:
        added = [code for code in permission_codes if code not in role.permissions]
        _check_codes(added, actor)
        role.permissions = sorted(set(permission_codes))
    role.save()
    _record(actor, "updated", role)
    return role


@transaction.atomic
def delete_role(slug: str, *, actor: Actor) -> None:
    """Remove a tenant's own role that no member has.

    Raises:
        PermissionDenied, RoleNotFound, BuiltinRoleFixed, RoleInUse.
    """
    check_permission(actor, "role:manage")
    role = _get_custom(slug)
    members = role.users.count()
    if members:
        raise RoleInUse(f"{members} members still have the role {role.name}.", value=slug)
    _record(actor, "deleted", role)
    role.delete()


def _record(actor: Actor, verb: str, role: Role) -> None:
    audit_sink.record(
        actor=actor,
        action=f"access.role.{verb}",
        target_type="role",
        target_id=role.id,
        summary=f"{verb.capitalize()} role {role.name}",
        facts={"slug": role.slug, "permissions": role.permissions},
    )

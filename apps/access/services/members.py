"""Members of a tenant and their roles. Nobody hands out more than they hold, and one administrator always stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.db import transaction

from apps.access.choices import BuiltinRole
from apps.access.contracts import Actor
from apps.access.exceptions import AlreadyMember, LastAdministrator, MemberNotFound
from apps.access.models import Role, User
from apps.access.registries import audit_sink
from apps.access.services.invitations import create_invitation
from apps.access.services.permissions import check_permission
from apps.access.services.role_grants import check_grantable, resolve_roles
from apps.access.services.sessions import end_all_sessions
from apps.core.clock import now
from apps.tenancy.contracts import current_scope

__all__ = ["create_member", "provision_owner", "remove_member", "update_member"]


def _check_administrator_remains(leaving: User) -> None:
    if current_scope.get().is_public:
        staff = User.objects.select_for_update().filter(is_platform_staff=True, is_active=True).order_by("id")
        if leaving.pk in {member.pk for member in staff} and len(staff) == 1:
            raise LastAdministrator(value=leaving.email)
        return
    # The row of the admin role is the lock: two administrators who remove each other at once are put in order.
    admin = Role.objects.select_for_update().get(slug=BuiltinRole.ADMIN)
    is_admin = leaving.is_active and leaving.roles.filter(pk=admin.pk).exists()
    if is_admin and not admin.users.filter(is_active=True).exclude(pk=leaving.pk).exists():
        raise LastAdministrator(value=leaving.email)


def _get_locked(member_id: UUID) -> User:
    member = User.objects.select_for_update().filter(id=member_id, removed_at=None).first()
    if member is None:
        raise MemberNotFound(value=member_id)
    return member


@transaction.atomic
def create_member(
    email: str, *, roles: Sequence[str], actor: Actor, name: str = "", password: str | None = None, **profile: Any
) -> User:
    """Make an account without an invitation (commands, demo data, directory sync); its address counts as verified.

    Args:
        email: address; must be new in this tenant.
        roles: role slugs.
        actor: needs `member:manage`.
        name: shown name.
        password: None leaves the account without a way in until a password is set.
        profile: timezone, locale, theme.

    Raises:
        PermissionDenied, RoleNotFound, ScopeNotHeld, AlreadyMember.
    """
    check_permission(actor, "member:manage")
    found = resolve_roles(roles, actor=actor)
    email = email.strip().lower()
    if User.objects.filter(email=email).exists():
        raise AlreadyMember(f"{email} is a member already.", field="email", value=email)
    member = User.objects.create_user(email, password, name=name, **profile)
    member.roles.set(found)
    EmailAddress.objects.create(user=member, email=email, verified=True, primary=True)
    _record(actor, "created", member, {"roles": sorted(roles)})
    return member


@transaction.atomic
def update_member(
    member_id: UUID, *, roles: Sequence[str] | None = None, is_active: bool | None = None, actor: Actor
) -> User:
    """Change a member's roles, or close and reopen the account; None leaves a field as it is.

    A closed account's sessions and API keys stop working at once.

    Raises:
        PermissionDenied, MemberNotFound, RoleNotFound, ScopeNotHeld, LastAdministrator.
    """
    check_permission(actor, "member:manage")
    member = _get_locked(member_id)
    facts: dict[str, Any] = {}
    if roles is not None:
        before = {role.slug: role for role in member.roles.all()}
        added = resolve_roles([slug for slug in roles if slug not in before], actor=actor)
        for slug, role in before.items():
            if slug not in roles:
                check_grantable(role, actor)
        if BuiltinRole.ADMIN in before and BuiltinRole.ADMIN not in roles:
            _check_administrator_remains(member)
        member.roles.set([*added, *(role for slug, role in before.items() if slug in roles)])
        facts["roles"] = sorted(roles)
    if is_active is not None and is_active != member.is_active:
        for role in member.roles.all():
            check_grantable(role, actor)
        if not is_active:
            _check_administrator_remains(member)
            end_all_sessions(member)
        member.is_active = is_active
        member.save(update_fields=["is_active", "updated_at"])
        facts["is_active"] = is_active
    if facts:
        _record(actor, "updated", member, facts)
    return member


@transaction.atomic
def remove_member(member_id: UUID, *, actor: Actor) -> None:
    """Take a person out of the tenant.

    The row stays for what refers to it, without its address, which is free for a new invitation.

    Raises:
        PermissionDenied, MemberNotFound, ScopeNotHeld, LastAdministrator.
    """
    check_permission(actor, "member:manage")
    member = _get_locked(member_id)
    for role in member.roles.all():
        check_grantable(role, actor)
    _check_administrator_remains(member)
    _record(actor, "removed", member, {})
    end_all_sessions(member)
    EmailAddress.objects.filter(user=member).delete()
    member.roles.clear()
    member.name = member.get_full_name()
    member.email = f"{member.id}@removed.invalid"
    member.is_active = False
    member.removed_at = now()
    member.set_unusable_password()
    member.save()


def provision_owner(_tenant: Any, wanted: Any) -> None:
    """Provisioning step: invite the first administrator, if one was named and is not there yet."""
    if not wanted.owner_email or User.objects.filter(email=wanted.owner_email.lower()).exists():
        return
    create_invitation(
        wanted.owner_email, roles=[BuiltinRole.ADMIN], actor=Actor.system("provisioning"), replace_open=True
    )


def _record(actor: Actor, verb: str, member: User, facts: dict[str, Any]) -> None:
    audit_sink.record(
        actor=actor,
        action=f"access.member.{verb}",
        target_type="member",
        target_id=member.id,
        summary=f"{verb.capitalize()} member {member.email}",
        facts=facts,
    )

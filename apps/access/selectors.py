"""Reads of access, as query sets that the API pages."""

from __future__ import annotations

from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Exists, OuterRef, QuerySet

from apps.access.exceptions import MemberNotFound, RoleNotFound
from apps.access.models import ApiKey, Invitation, Role, User


def list_members() -> QuerySet[User]:
    """Members of the current tenant with their roles and whether they have a second factor."""
    second_factor = Authenticator.objects.filter(user=OuterRef("pk")).exclude(type=Authenticator.Type.RECOVERY_CODES)
    return User.objects.filter(removed_at=None).prefetch_related("roles").annotate(mfa_enabled=Exists(second_factor))


def get_member(member_id: UUID) -> User:
    """One member, as in `list_members`.

    Raises:
        MemberNotFound: there is none with that id.
    """
    member = list_members().filter(pk=member_id).first()
    if member is None:
        raise MemberNotFound(value=member_id)
    return member


def list_roles() -> QuerySet[Role]:
    """Roles of the current tenant."""
    return Role.objects.all()


def get_role(slug: str) -> Role:
    """The role with that slug.

    Raises:
        RoleNotFound: there is none.
    """
    role = Role.objects.filter(slug=slug).first()
    if role is None:
        raise RoleNotFound(f"There is no role {slug!r}.", value=slug)
    return role


def list_invitations() -> QuerySet[Invitation]:
    """Every invitation of the current tenant with its roles."""
    return Invitation.objects.prefetch_related("roles")


def list_api_keys() -> QuerySet[ApiKey]:
    """Every API key of the current tenant with its creator."""
    return ApiKey.objects.select_related("created_by")


def list_sessions(user: User) -> QuerySet[UserSession]:
    """Where a person is signed in."""
    return UserSession.objects.filter(user=user)

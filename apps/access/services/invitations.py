"""Invitations: a link by e-mail that works once, for a while, and is stored as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string

from apps.access.contracts import Actor
from apps.access.exceptions import AlreadyMember, InvitationInvalid, InvitationNotFound, InvitationOpen
from apps.access.models import Invitation, Role, User
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.access.services.role_grants import resolve_roles
from apps.core.clock import now
from apps.tenancy.services.addresses import absolute_url
from apps.tenancy.services.context import current_tenant

__all__ = ["accept_invitation", "create_invitation", "find_open_invitation", "resend_invitation", "revoke_invitation"]

LIFETIME = timedelta(days=7)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@transaction.atomic
def create_invitation(email: str, *, roles: Sequence[str], actor: Actor, replace_open: bool = False) -> Invitation:
    """Invite somebody; the message goes out after commit.

    Args:
        email: address.
        roles: slugs of the roles that the person will have; the actor must hold their permissions.
        actor: needs `member:manage`.
        replace_open: revoke an open invitation to the same address instead of refusing.

    Raises:
        PermissionDenied, RoleNotFound, ScopeNotHeld, AlreadyMember, InvitationOpen.
    """
    check_permission(actor, "member:manage")
    email = email.strip().lower()
    found = resolve_roles(roles, actor=actor)
    if User.objects.filter(email=email).exists():
        raise AlreadyMember(f"{email} is a member already.", field="email", value=email)
    waiting = Invitation.objects.select_for_update().filter(email=email, accepted_at=None, revoked_at=None)
    if not replace_open and any(invitation.is_open for invitation in waiting):
        raise InvitationOpen(f"{email} has an open invitation already.", field="email", value=email)
    waiting.update(revoked_at=now())
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=email,
        token_hash=_hash(token),
        invited_by_id=actor.user_id,
        invited_by_name=actor.name,
        expires_at=now() + LIFETIME,
    )
    invitation.roles.set(found)
    _record(actor, "created", invitation, {"roles": sorted(roles)})
    _send_on_commit(invitation, token)
    return invitation


@transaction.atomic
def resend_invitation(invitation_id: UUID, *, actor: Actor) -> Invitation:
    """Send a fresh link and start its time anew; the former link stops working.

    Raises:
        PermissionDenied, InvitationNotFound, InvitationInvalid.
    """
    check_permission(actor, "member:manage")
    invitation = _get_locked(invitation_id)
    if invitation.accepted_at is not None or invitation.revoked_at is not None:
        raise InvitationInvalid(f"This invitation is {invitation.status}.", remedy="Make a new invitation.")
    token = secrets.token_urlsafe(32)
    invitation.token_hash = _hash(token)
    invitation.expires_at = now() + LIFETIME
    invitation.save(update_fields=["token_hash", "expires_at"])
    _record(actor, "resent", invitation, {})
    _send_on_commit(invitation, token)
    return invitation


@transaction.atomic
def revoke_invitation(invitation_id: UUID, *, actor: Actor) -> None:
    """Take an invitation back; doing it again changes nothing.

    Raises:
        PermissionDenied, InvitationNotFound, InvitationInvalid: it was accepted already.
    """
    check_permission(actor, "member:manage")
    invitation = _get_locked(invitation_id)
    if invitation.accepted_at is not None:
        raise InvitationInvalid("This invitation was accepted already.", remedy="Remove the member instead.")
    if invitation.revoked_at is None:
        invitation.revoked_at = now()
        invitation.save(update_fields=["revoked_at"])
        _record(actor, "revoked", invitation, {})


def find_open_invitation(token: str) -> Invitation | None:
    """The invitation of a link, or None when it is unknown, used, revoked or expired."""
    invitation = Invitation.objects.filter(token_hash=_hash(token)).first()
    return invitation if invitation is not None and invitation.is_open else None


@transaction.atomic
def accept_invitation(invitation_id: UUID, *, user: User) -> None:
    """Use an invitation up: the new user gets its roles. Of two who try at once, one is refused.

    Raises:
        InvitationInvalid: it is not open any more, or is for another address.
    """
    invitation = Invitation.objects.select_for_update().filter(id=invitation_id).first()
    if invitation is None or not invitation.is_open or invitation.email != user.email:
        raise InvitationInvalid()
    invitation.accepted_at = now()
    invitation.accepted_by = user
    invitation.save(update_fields=["accepted_at", "accepted_by"])
    roles = list(Role.objects.filter(pk__in=invitation.roles.values("pk")))
    user.roles.set(roles)
    actor = Actor(kind="user", id=user.id, name=user.email, user_id=user.id)
    _record(actor, "accepted", invitation, {"roles": sorted(role.slug for role in roles)})


def _get_locked(invitation_id: UUID) -> Invitation:
    invitation = Invitation.objects.select_for_update().filter(id=invitation_id).first()
    if invitation is None:
        raise InvitationNotFound(value=invitation_id)
    return invitation


def _send_on_commit(invitation: Invitation, token: str) -> None:
    tenant = current_tenant()
    context = {
        "tenant_name": tenant.name if tenant is not None else "the platform",
        "invited_by": "" if invitation.invited_by_id is None else invitation.invited_by_name,
        "accept_url": absolute_url(tenant, f"/accounts/invitations/{token}/"),
        "expires_at": invitation.expires_at,
    }
    body = render_to_string("access/email/invitation.txt", context)
    subject = " ".join(render_to_string("access/email/invitation_subject.txt", context).split())

    def deliver() -> None:
        send_mail(subject, body, settings.DEFAULT_FROM_EMAIL, [invitation.email])
        Invitation.objects.filter(pk=invitation.pk).update(sent_at=now())

    # Robust: a mail server that is down must not undo the invitation; it stays without `sent_at` and can be resent.
    transaction.on_commit(deliver, robust=True)


def _record(actor: Actor, verb: str, invitation: Invitation, facts: dict[str, object]) -> None:
    audit_sink.record(
        actor=actor,
        action=f"access.invitation.{verb}",
        target_type="invitation",
        target_id=invitation.id,
        summary=f"{verb.capitalize()} invitation of {invitation.email}",
        facts=facts,
    )

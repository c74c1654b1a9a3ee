"""Sign-ins, failed ones and changes of how a person signs in, as entries of the audit trail."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from django.contrib.auth import signals as auth
from django.dispatch import receiver

from apps.access.contracts import Actor
from apps.access.models import User
from apps.access.registries import audit_sink

__all__ = ["record_sign_in_act"]


def record_sign_in_act(user: User, action: str, summary: str, **facts: Any) -> None:
    """Write the entry: to the tenant's trail, on the platform's host to the platform's.

    Args:
        user: whose account it is; also the actor.
        action: dotted, past tense.
        summary: one sentence.
        facts: details; never a secret.
    """
    # No permissions: at this moment nobody has been let in to anything yet.
    actor = Actor("user", user.pk, user.email, frozenset())
    audit_sink.record(
        actor=actor, action=action, target_type="user", target_id=user.pk, summary=summary, facts=facts or None
    )


@receiver(account.user_logged_in, dispatch_uid="access.audit.signed_in")
def _signed_in(user: User, **_: Any) -> None:
    record_sign_in_act(user, "access.sign_in.succeeded", f"{user.email} signed in")


@receiver(auth.user_logged_out, dispatch_uid="access.audit.signed_out")
def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record_sign_in_act(user, "access.sign_in.ended", f"{user.email} signed out")


@receiver(auth.user_login_failed, dispatch_uid="access.audit.failed")
def _failed(credentials: dict[str, Any], **_: Any) -> None:
    given = str(credentials.get("email") or credentials.get("username") or credentials.get("login") or "")
    # What is no account here is left out: a password typed into the wrong field must not end up in a log.
    user = User.objects.filter(email__iexact=given).first() if given else None
    if user is not None:
        record_sign_in_act(user, "access.sign_in.failed", f"A sign-in as {user.email} failed")


@receiver(account.password_changed, dispatch_uid="access.audit.password_changed")
@receiver(account.password_set, dispatch_uid="access.audit.password_set")
def _password_changed(user: User, **_: Any) -> None:
    record_sign_in_act(user, "access.password.changed", f"{user.email} changed the password")


@receiver(account.password_reset, dispatch_uid="access.audit.password_reset")
def _password_reset(user: User, **_: Any) -> None:
    record_sign_in_act(user, "access.password.reset", f"{user.email} chose a new password by a link")


@receiver(mfa.authenticator_added, dispatch_uid="access.audit.factor_added")
def _factor_added(user: User, authenticator: Any, **_: Any) -> None:
    _factor(user, "access.factor.added", "added", authenticator)


@receiver(mfa.authenticator_removed, dispatch_uid="access.audit.factor_removed")
def _factor_removed(user: User, authenticator: Any, **_: Any) -> None:
    _factor(user, "access.factor.removed", "removed", authenticator)


@receiver(mfa.authenticator_reset, dispatch_uid="access.audit.factor_reset")
def _factor_reset(user: User, authenticator: Any, **_: Any) -> None:
    _factor(user, "access.factor.reset", "made anew", authenticator)


def _factor(user: User, action: str, verb: str, authenticator: Any) -> None:
    record_sign_in_act(
        user, action, f"{user.email}: second factor {verb} ({authenticator.type})", type=str(authenticator.type)
    )

"""Signed-in sessions of a person: where they are, and ending them."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction

from apps.access.contracts import Actor
from apps.access.exceptions import SessionNotFound
from apps.access.models import User
from apps.access.registries import audit_sink

__all__ = ["end_all_sessions", "end_other_sessions", "end_session"]


def _end(sessions: list[UserSession]) -> int:
    Session.objects.filter(session_key__in=[session.session_key for session in sessions]).delete()
    UserSession.objects.filter(pk__in=[session.pk for session in sessions]).delete()
    return len(sessions)


def end_all_sessions(user: User) -> int:
    """Sign a person out everywhere; used when the account is closed."""
    return _end(list(UserSession.objects.filter(user=user)))


@transaction.atomic
def end_session(session_id: int, *, user: User, actor: Actor) -> None:
    """Sign one of a person's own sessions out.

    Raises:
        SessionNotFound: the person has no such session.
    """
    session = UserSession.objects.filter(pk=session_id, user=user).first()
    if session is None:
        raise SessionNotFound(value=session_id)
    _end([session])
    _record(actor, user, "Ended a session", 1)


@transaction.atomic
def end_other_sessions(*, user: User, keep_session_key: str | None, actor: Actor) -> int:
    """Sign a person out everywhere else.

    Args:
        user: whose sessions.
        keep_session_key: the session that stays.
        actor: for the audit trail.

    Returns:
        Number of sessions ended.
    """
    others = list(UserSession.objects.filter(user=user).exclude(session_key=keep_session_key or ""))
    ended = _end(others)
    _record(actor, user, "Signed out elsewhere", ended)
    return ended


def _record(actor: Actor, user: User, summary: str, ended: int) -> None:
    audit_sink.record(
        actor=actor,
        action="access.session.ended",
        target_type="member",
        target_id=user.id,
        summary=summary,
        facts={"sessions": ended},
    )

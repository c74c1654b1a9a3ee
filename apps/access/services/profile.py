"""A person's own profile."""

from __future__ import annotations

import zoneinfo

from django.conf import settings
from django.db import transaction
from django.utils.translation import get_supported_language_variant

from apps.access.choices import Theme
from apps.access.contracts import Actor
from apps.access.exceptions import MemberNotFound, PermissionDenied
from apps.access.models import User
from apps.access.registries import audit_sink
from apps.core.exceptions import ValidationFailed

__all__ = ["update_profile"]


@transaction.atomic
def update_profile(
    *,
    actor: Actor,
    name: str | None = None,
    timezone: str | None = None,
    locale: str | None = None,
    theme: str | None = None,
) -> User:
    """Change one's own name and preferences; None leaves a field as it is.

    Args:
        actor: a person; API keys have no profile.
        name: shown name.
        timezone: IANA name (`Europe/Vienna`).
        locale: language code (`en`, `de-at`).
        theme: `system`, `light` or `dark`.

    Raises:
        PermissionDenied: the actor is not a person.
        ValidationFailed: unknown time zone, language or theme.
    """
    if actor.kind != "user" or actor.id is None:
        raise PermissionDenied("Only a person has a profile.")
    user = User.objects.select_for_update().filter(pk=actor.id).first()
    if user is None:
        raise MemberNotFound(value=actor.id)
    changes: dict[str, str] = {}
    if name is not None:
        changes["name"] = name.strip()
    if timezone is not None:
        changes["timezone"] = _check_timezone(timezone)
    if locale is not None:
        changes["locale"] = _check_locale(locale)
    if theme is not None:
        if theme not in Theme.values:
            raise ValidationFailed(f"There is no theme {theme!r}.", field="theme", value=theme)
        changes["theme"] = theme
    for field, value in changes.items():
        setattr(user, field, value)
    if changes:
        user.save(update_fields=[*changes, "updated_at"])
        audit_sink.record(
            actor=actor,
            action="access.profile.updated",
            target_type="member",
            target_id=user.id,
            summary="Changed own profile",
            facts={"fields": sorted(changes)},
        )
    return user


def _check_timezone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValidationFailed(
            f"There is no time zone {name!r}.", field="timezone", value=name, remedy="Use a name such as Europe/Vienna."
        )
    return name


def _check_locale(code: str) -> str:
    try:
        get_supported_language_variant(code)
    except LookupError as error:
        known = ", ".join(code for code, _ in settings.LANGUAGES[:5])
        raise ValidationFailed(
            f"There is no language {code!r}.", field="locale", value=code, remedy=f"Use a code such as {known}."
        ) from error
    return code.lower()

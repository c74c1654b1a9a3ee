"""The durable trail of what is done to tenants from outside: by the platform's staff, and by commands."""

from __future__ import annotations

from typing import Any, Protocol

import structlog
from django.db import transaction

from apps.tenancy.models import PlatformAct
from apps.tenancy.services.context import public_context

__all__ = ["Initiator", "record_act"]

log = structlog.get_logger(__name__)


class Initiator(Protocol):
    """Whoever asks; `apps.access.contracts.Actor` is one."""

    @property
    def name(self) -> str:
        """Shown name."""


def record_act(
    action: str, *, actor: Initiator, target: str, summary: str, facts: dict[str, Any] | None = None
) -> None:
    """Write an act down, in the transaction of the change it describes.

    Args:
        action: dotted, past tense (`tenant.suspended`).
        actor: who did it.
        target: `tenant:<slug>`, or `<type>:<id>` for what belongs to the platform itself.
        summary: one sentence for a person.
        facts: JSON-able details. Never put a secret here.
    """
    with public_context(), transaction.atomic():
        PlatformAct.objects.create(
            actor_name=actor.name[:254],
            action=action,
            target=target[:160],
            summary=summary[:500],
            facts=facts or {},
            request_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
        )
    log.info("platform_act", action=action, target=target, actor=actor.name, facts=facts or {})

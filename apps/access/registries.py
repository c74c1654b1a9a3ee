"""Plug-in points of access: permission codes, and where audit entries go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import structlog

from apps.access.choices import BuiltinRole
from apps.access.contracts import Actor
from apps.tenancy.contracts import current_scope
from apps.tenancy.services.acts import record_act

log = structlog.get_logger(__name__)


class PermissionRegistry:
    """Every permission code with its description, in order of registration."""

    def __init__(self) -> None:
        self._descriptions: dict[str, str] = {}

    def register(self, code: str, description: str) -> None:
        """Add a code; the first description stays.

        Raises:
            ValueError: the code is not `<noun>:<verb>`.
        """
        noun, _, verb = code.partition(":")
        if not noun.isidentifier() or not verb.isidentifier():
            raise ValueError(f"A permission is `<noun>:<verb>`, not {code!r}.")
        self._descriptions.setdefault(code, description)

    def all(self) -> dict[str, str]:
        """Descriptions by code."""
        return dict(self._descriptions)

    def codes(self) -> frozenset[str]:
        """Every code."""
        return frozenset(self._descriptions)

    def __contains__(self, code: object) -> bool:
        return code in self._descriptions


permissions = PermissionRegistry()


def register_permissions(definitions: Iterable[tuple[str, str]]) -> None:
    """Register an app's permission codes; call it in `AppConfig.ready()`.

    Args:
        definitions: (code, description) pairs, such as ("flow:view", "See flows").
    """
    for code, description in definitions:
        permissions.register(code, description)


_BUILDER = {
    "connection:edit",
    "connection:use",
    "capture:edit",
    "connection:control",
    "secret:write",
    "flow:edit",
    "flow:publish",
    "environment:manage",
    "run:start",
    "webhook:edit",
    "consumer:edit",
    "event:define",
    "event:publish",
    "task:answer",
}
_OPERATOR = {
    "run:start",
    "run:control",
    "quarantine:edit",
    "flow:deploy",
    "connection:use",
    "connection:control",
    "event:replay",
    "webhook:inspect",
    "consumer:inspect",
    "task:answer",
}


def builtin_role_permissions(role: str) -> frozenset[str]:
    """Permissions of a built-in role, out of those that the installed apps registered."""
    known = permissions.codes()
    if role == BuiltinRole.ADMIN:
        return known
    viewer = {code for code in known if code.endswith(":view")} | {"expression:use"}
    extra = {
        BuiltinRole.VIEWER: set(),
        BuiltinRole.BUILDER: _BUILDER,
        BuiltinRole.OPERATOR: _OPERATOR,
        BuiltinRole.APPROVER: {"reconciliation:sign", "task:answer"},
    }[BuiltinRole(role)]
    return known & (viewer | extra)


class AuditSink(Protocol):
    """Writes an audit entry inside the caller's transaction."""

    def __call__(
        self,
        *,
        actor: Actor,
        action: str,
        target_type: str,
        target_id: object,
        summary: str,
        facts: dict[str, Any] | None = None,
    ) -> object:
        """Record that `actor` did `action` to the target."""


class AuditSinkRegistry:
    """Holds the one audit implementation. Audit is a layer above access, so it registers itself here."""

    def __init__(self) -> None:
        self._sink: AuditSink | None = None

    def register(self, sink: AuditSink) -> None:
        """Set the implementation; called once, in the audit app's `ready()`."""
        self._sink = sink

    def record(
        self,
        *,
        actor: Actor,
        action: str,
        target_type: str,
        target_id: object,
        summary: str,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Hand an entry to the tenant's audit trail; what concerns the platform's own staff, to the platform's."""
        if current_scope.get().is_public:
            record_act(action, actor=actor, target=f"{target_type}:{target_id}", summary=summary, facts=facts)
        elif self._sink is not None:
            self._sink(
                actor=actor,
                action=action,
                target_type=target_type,
                target_id=target_id,
                summary=summary,
                facts=facts,
            )
        else:
            log.info("audit", action=action, actor=actor.name, target=f"{target_type}:{target_id}", summary=summary)


audit_sink = AuditSinkRegistry()

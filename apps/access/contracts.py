"""Plain data of access that may cross apps. No Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID


@dataclass(frozen=True)
class Actor:
    """Who does something: a person, an API key, or the portal itself.

    Attributes:
        kind: `user`, `api_key` or `system`.
        id: row of the user or key; None for the system.
        name: shown in logs and the audit trail.
        permissions: codes that the actor holds; ignored for the system, which may do everything.
        user_id: the person behind it: the user, or the creator of the key.
    """

    kind: Literal["user", "api_key", "system"]
    id: UUID | None
    name: str
    permissions: frozenset[str] = field(default_factory=frozenset)
    user_id: UUID | None = None

    @classmethod
    def system(cls, reason: str) -> Actor:
        """The portal acting on its own.

        Args:
            reason: why, for the audit trail ("provisioning", "sweeper").
        """
        return cls(kind="system", id=None, name=f"system: {reason}")

    def has(self, permission: str) -> bool:
        """Whether the actor may do what the permission names."""
        return self.kind == "system" or permission in self.permissions

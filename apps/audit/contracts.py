"""What crosses the audit log's door."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.audit.choices import Damage


@dataclass(frozen=True)
class Anchor:
    """The head of a tenant's chain at one moment, kept outside the database.

    Attributes:
        tenant_id: whose chain.
        number: number of the last entry; 0 for an empty log.
        hash: its hash, hexadecimal.
        at: when the anchor was taken, UTC.
    """

    tenant_id: str
    number: int
    hash: str
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """As one line of the anchor file."""
        return {"tenant_id": self.tenant_id, "number": self.number, "hash": self.hash, "at": self.at.isoformat()}


@dataclass(frozen=True)
class Finding:
    """Damage at one place of the chain."""

    kind: Damage
    number: int | None
    entry_id: str | None = None

    def __str__(self) -> str:
        place = f"entry {self.number}" if self.number is not None else f"entry {self.entry_id}"
        return f"{place}: {self.kind.label}"


@dataclass(frozen=True)
class ChainReport:
    """Result of a verification.

    Attributes:
        entries: how many entries were read.
        head_number, head_hash: the last entry seen.
        findings: damage, in the order of the chain; at most 100 are kept.
        anchors_checked: anchors of this tenant that were compared.
    """

    entries: int
    head_number: int
    head_hash: str
    findings: tuple[Finding, ...] = field(default=())
    anchors_checked: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

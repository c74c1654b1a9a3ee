"""How many webhooks each endpoint took and refused, by the hour: gathered in memory, written once a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from apps.core.ids import uuid7
from apps.tenancy.contracts import TenantRef

REASON_CHARS = 200

ADD: LiteralString = """
    WITH refusals AS (
        UPDATE events_inboundendpoint
        SET rejected = rejected + %(refused)s, last_rejected_at = clock_timestamp(), last_rejection = %(reason)s
        WHERE id = %(endpoint)s AND %(refused)s > 0
    )
    INSERT INTO events_inboundtally AS known (id, endpoint_id, hour, accepted, duplicates, refused)
    VALUES (%(id)s, %(endpoint)s, date_trunc('hour', clock_timestamp(), 'UTC'),
            %(accepted)s, %(duplicates)s, %(refused)s)
    ON CONFLICT (endpoint_id, hour) DO UPDATE SET accepted = known.accepted + EXCLUDED.accepted,
        duplicates = known.duplicates + EXCLUDED.duplicates, refused = known.refused + EXCLUDED.refused
"""


@dataclass
class Tally:
    """What became of an endpoint's webhooks since it was last written."""

    tenant: TenantRef
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    reason: str = ""

    def refuse(self, reason: str) -> None:
        """Count a refusal."""
        self.refused, self.reason = self.refused + 1, reason

    def store(self, *, duplicate: bool) -> None:
        """Count a webhook that was committed, or that was there before."""
        if duplicate:
            self.duplicates += 1
        else:
            self.accepted += 1

    def parameters(self, endpoint_id: UUID) -> dict[str, Any]:
        """Of the statement `ADD`."""
        return {
            "id": uuid7(),
            "endpoint": endpoint_id,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "reason": self.reason[:REASON_CHARS],
        }

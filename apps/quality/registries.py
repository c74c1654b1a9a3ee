"""Where higher apps add what quality must know about a row and may not look up itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from apps.core.registries import Registry
from apps.quality.contracts import BrokenRule


class RowChecker(ABC):
    """Checks one source row against the current rules of its flow (integrations registers the one for flows)."""

    type: str

    @abstractmethod
    def check_row(
        self, *, flow_id: UUID, flow_version_id: UUID | None, environment_id: UUID, values: Mapping[str, Any]
    ) -> Sequence[BrokenRule] | None:
        """Every rule the row breaks now.

        Args:
            flow_id, environment_id: where the row belongs.
            flow_version_id: version that rejected it; None for a draft.
            values: source row as JSON values (decimals as strings).

        Returns:
            Broken rules, empty when the row is fine; None when this checker does not know the flow.
        """


row_checkers: Registry[RowChecker] = Registry("row checker", RowChecker)  # type: ignore[type-abstract]

"""Events of the integrations app: types and payloads."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

FLOW_CREATED = "flow.created.v1"
FLOW_PUBLISHED = "flow.published.v1"
FLOW_DEPLOYED = "flow.deployed.v1"
FLOW_RETIRED = "flow.retired.v1"
FLOW_ARCHIVED = "flow.archived.v1"
FLOW_RESTORED = "flow.restored.v1"
FLOW_PAUSED = "flow.paused.v1"
FLOW_RESUMED = "flow.resumed.v1"


@dataclass(frozen=True)
class FlowCreated:
    """A flow was made."""

    flow_id: UUID
    name: str
    kind: str
    by: str


@dataclass(frozen=True)
class FlowPublished:
    """A draft became a version."""

    flow_id: UUID
    name: str
    version: int
    version_id: UUID
    content_hash: str
    by: str


@dataclass(frozen=True)
class FlowDeployed:
    """A version became the active one of an environment; `replaced_version` was active before."""

    flow_id: UUID
    name: str
    version: int
    environment: str
    content_hash: str
    by: str
    replaced_version: int | None = None


@dataclass(frozen=True)
class FlowRetired:
    """A flow was taken out of an environment."""

    flow_id: UUID
    name: str
    version: int
    environment: str
    by: str


@dataclass(frozen=True)
class FlowArchived:
    """A flow was taken out of use."""

    flow_id: UUID
    name: str
    by: str


@dataclass(frozen=True)
class FlowRestored:
    """An archived flow was brought back."""

    flow_id: UUID
    name: str
    by: str


@dataclass(frozen=True)
class FlowPauseChanged:
    """A flow was paused (nothing starts a run of it) or resumed."""

    flow_id: UUID
    name: str
    reason: str
    by: str

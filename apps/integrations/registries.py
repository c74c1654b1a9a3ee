"""Where higher apps add their knowledge about flows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from apps.core.exceptions import Problem
from apps.core.registries import Registry
from apps.integrations.contracts import DeploymentRequest


class FlowFacts(ABC):
    """Facts about many flows at once, merged into the flows list (the engine adds `last_run`)."""

    type: str
    names: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def facts_for(self, flow_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, Any]]:
        """Facts of those flows in a fixed number of queries.

        Args:
            flow_ids: flows of one page, at most 200.

        Returns:
            {flow id: {name: JSON value}}; names are those of `names`. A flow without facts may be left out.
        """


class DeploymentCheck(ABC):
    """An opinion on a deployment, asked in the deploying transaction before anything changes."""

    type: str

    @abstractmethod
    def check(self, request: DeploymentRequest) -> Sequence[Problem]:
        """Findings; one of severity `error` refuses the deployment, warnings are recorded with it."""


flow_facts: Registry[FlowFacts] = Registry("flow facts", FlowFacts)  # type: ignore[type-abstract]
deployment_checks: Registry[DeploymentCheck] = Registry("deployment check", DeploymentCheck)  # type: ignore[type-abstract]

"""The deployment checks that come with the product. Governance adds its own to the same registry."""

from __future__ import annotations

from collections.abc import Sequence

from apps.core.exceptions import Problem
from apps.integrations.contracts import DeploymentRequest
from apps.integrations.models import Deployment, Variable
from apps.integrations.registries import DeploymentCheck
from apps.integrations.selectors import find_binding


class BindingsComplete(DeploymentCheck):
    """Every connection slot leads to a connection in the environment."""

    type = "integrations.bindings"

    def check(self, request: DeploymentRequest) -> Sequence[Problem]:
        """One error per slot that leads nowhere."""
        return [
            Problem(
                path=f"bindings.{slot}",
                code="integrations.binding_missing",
                message=f"the connection slot {slot!r} leads nowhere in {request.environment.name}.",
                hint=f"Bind {slot!r} to a connection under Settings, Environments.",
            )
            for slot in request.version.definition.slots
            if find_binding(request.environment.id, slot) is None
        ]


class VariablesComplete(DeploymentCheck):
    """Every declared variable without a default has a value in the environment."""

    type = "integrations.variables"

    def check(self, request: DeploymentRequest) -> Sequence[Problem]:
        """One error per variable without a value."""
        needed = [name for name, default in request.version.definition.variables.items() if default is None]
        if not needed:
            return []
        known = set(
            Variable.objects.filter(environment_id=request.environment.id, name__in=needed).values_list(
                "name", flat=True
            )
        )
        return [
            Problem(
                path=f"variables.{name}",
                code="integrations.variable_missing",
                message=f"the variable {name!r} has no value in {request.environment.name}.",
                hint=f"Set {name!r} under Settings, Environments, or give it a default in the flow.",
            )
            for name in needed
            if name not in known
        ]


class PromotedInOrder(DeploymentCheck):
    """A protected environment takes only versions that were deployed to an unprotected one before."""

    type = "integrations.promotion"

    def check(self, request: DeploymentRequest) -> Sequence[Problem]:
        """An error when nobody ever ran this version where it could do no harm."""
        if not request.environment.protected:
            return []
        tried = Deployment.objects.filter(version_id=request.version.id, environment__protected=False).exists()
        if tried:
            return []
        return [
            Problem(
                path="environment",
                code="integrations.not_promoted",
                message=f"version {request.version.number} was never deployed to an unprotected environment.",
                hint="Deploy it to dev or test first.",
            )
        ]

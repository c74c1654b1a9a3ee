"""`load/pushdown`: source and target are one database, so one statement does what the parts would do."""

from __future__ import annotations

from apps.connectors.base import ConnectorBase
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.services.loads.plans import LoadPlan
from apps.integrations.contracts import FlowDefinition


def find_obstacle(
    context: StepContext, plan: LoadPlan, definition: FlowDefinition, source: ConnectorBase, target: ConnectorBase
) -> str | None:
    """Why the load cannot run inside the database; None when it can."""
    here = source.pushdown_url()
    if here is None or here != target.pushdown_url():
        return "source and target are not one database"
    return "not available"


class PushdownLoad(StepType):
    """Maps inside the database."""

    type = "load.pushdown"

    def execute(self, context: StepContext) -> StepOutcome:
        """Stage accepted rows and fetch rejected ones, both in the database."""
        raise NotImplementedError

"""Opened systems of a load, shared by the steps of one visit, and the writer that every step agrees on."""

from __future__ import annotations

from uuid import UUID

from apps.connectors.base import ConnectorBase, Writer
from apps.connectors.choices import Disposition
from apps.connectors.contracts import WriteRequest
from apps.connectors.services.sessions import open_connection
from apps.engine.contracts import ResourceBag, RunFacts, StepContext
from apps.engine.services.loads.plans import LoadPlan


def use_connector(context: StepContext, connection_id: UUID, purpose: str) -> ConnectorBase:
    """The connected system, opened once per visit and purpose, closed at the visit's end."""
    connector: ConnectorBase = context.resources.get(
        f"connector.{purpose}",
        str(connection_id),
        lambda: open_connection(connection_id, purpose),
        lambda opened: opened.disconnect(),
    )
    return connector


def use_writer(context: StepContext, plan: LoadPlan) -> Writer:
    """The run's writer; every step of a run asks with the same request, so all speak of one staging area."""
    connector = use_connector(context, plan.target_connection, "write")
    writer: Writer = context.resources.get(
        "writer", str(context.run.id), lambda: connector.open_writer(write_request(context.run, plan))
    )
    return writer


def write_request(run: RunFacts, plan: LoadPlan) -> WriteRequest:
    """What the target is asked for this run."""
    return WriteRequest(
        entity=plan.target_entity,
        schema=plan.target_schema,
        run_id=run.id,
        disposition=Disposition(plan.disposition),
        keys=plan.keys,
        description=f"{run.flow_name} ({run.environment or run.environment_id})",
    )


def drop_staging(run: RunFacts, plan: LoadPlan) -> None:
    """Drop what an abandoned run staged; safe to repeat."""
    bag = ResourceBag()
    try:
        connector = bag.get(
            "connector",
            str(plan.target_connection),
            lambda: open_connection(plan.target_connection, "write"),
            lambda opened: opened.disconnect(),
        )
        connector.open_writer(write_request(run, plan)).abort()
    finally:
        bag.close()

"""Triggers of deployed processes for the engine's tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from apps.engine.models import Firing, Run, Trigger
from apps.engine.services.triggers.editing import create_trigger
from apps.events.contracts import EventRecord
from apps.events.models import Event
from apps.events.selectors import to_record
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, value

DEFINITION = process(value("a", x="1"))
LATE = 10**12  # a place in the log behind everything


def deployed(definition: Any = None, *, name: str = "") -> Any:
    """A flow whose first version is deployed to dev."""
    flow = make_flow(definition or DEFINITION, name=name)
    publish_flow(flow.pk, actor=SYSTEM)
    deploy_version(flow.pk, environment="dev", version=1, actor=SYSTEM)
    return flow


def schedule(flow: Any = None, **settings: Any) -> Trigger:
    """A schedule of a deployed process: each hour in Zurich."""
    flow = flow or deployed()
    settings = {"name": "hourly", "cron": "0 * * * *", "zone": "Europe/Zurich", **settings}
    return create_trigger(flow.pk, "dev", kind="schedule", actor=SYSTEM, **settings)


def on_event(*types: str, flow: Any = None, **settings: Any) -> Trigger:
    """An event trigger of a deployed process."""
    flow = flow or deployed()
    return create_trigger(
        flow.pk, "dev", kind="event", actor=SYSTEM, **{"name": "on", "types": list(types), **settings}
    )


def make_overdue(trigger: Trigger, hours: float) -> None:
    """As if nothing had fired for so long."""
    Trigger.objects.filter(pk=trigger.pk).update(next_due_at=Now() - timedelta(hours=hours))


def runs_of(trigger: Trigger) -> list[Run]:
    return list(Run.objects.filter(flow_id=trigger.flow_id).order_by("id"))


def firings_of(trigger: Trigger) -> list[tuple[str, int]]:
    """Status and number of missed moments, oldest moment first."""
    return list(Firing.objects.filter(trigger=trigger).order_by("due_at", "id").values_list("status", "missed"))


def numbered(event_id: Any) -> EventRecord:
    """A published event as the relay hands it over."""
    return replace(to_record(Event.objects.get(pk=event_id)), position=LATE)

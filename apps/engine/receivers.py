"""What the engine hears on the event bus: events that parked steps wait for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from django.db.models import Q

from apps.connectors.events import CIRCUIT_CLOSED
from apps.engine.choices import StepStatus
from apps.engine.models import StepResult, Waiter
from apps.engine.services.advancing import advance_locked, lock_run
from apps.engine.services.circuits import CIRCUIT, list_runs_waiting_for
from apps.engine.services.processes.waits import correlations_of, name_of, signal_of
from apps.engine.services.triggers.firing import fire_events
from apps.events.contracts import EventRecord, Subscriber
from apps.events.registries import subscribers
from apps.tenancy.contracts import TenantRef


class WakeWaiters(Subscriber):
    """Hands an event to every step that waits for its name and correlation, and rings their runs."""

    name: ClassVar[str] = "engine.waiters"
    types: ClassVar[tuple[str, ...]] = ("*",)
    from_beginning: ClassVar[bool] = False
    in_batches: ClassVar[bool] = True

    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """One indexed query for an event that nobody waits for."""
        meant = Q(correlation__isnull=True) | Q(correlation__in=correlations_of(event))
        for waiter in Waiter.objects.filter(meant, event=name_of(event)).order_by("run_id"):
            run = lock_run(waiter.run_id)
            step = StepResult.objects.filter(pk=waiter.step_id, status=StepStatus.PARKED, signal__isnull=True).first()
            if step is not None:
                step.signal = signal_of(event)
                step.save(update_fields=["signal", "updated_at"])
                advance_locked(run)

    def handle_batch(self, tenant: TenantRef, events: Sequence[EventRecord]) -> None:
        """One query for a whole visit when nobody waits for any of its events."""
        names = {name_of(event) for event in events}
        waited = set(Waiter.objects.filter(event__in=names).values_list("event", flat=True))
        for event in events:
            if name_of(event) in waited:
                self.handle(tenant, event)


class FireTriggers(Subscriber):
    """Starts one run for each event that a trigger of the tenant wants."""

    name: ClassVar[str] = "engine.triggers"
    types: ClassVar[tuple[str, ...]] = ("*",)
    ordered: ClassVar[bool] = False
    from_beginning: ClassVar[bool] = False
    in_batches: ClassVar[bool] = True

    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """One event."""
        fire_events([event])

    def handle_batch(self, tenant: TenantRef, events: Sequence[EventRecord]) -> None:
        """One query for a whole visit when the tenant has no such trigger."""
        fire_events(events)


class CallAgain(Subscriber):
    """Rings the runs whose steps wait for a connection that is called again, before their own moment comes."""

    name: ClassVar[str] = "engine.circuits"
    types: ClassVar[tuple[str, ...]] = (CIRCUIT_CLOSED,)
    ordered: ClassVar[bool] = False
    from_beginning: ClassVar[bool] = False

    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """One query, and one short lock for each waiting run."""
        connection_id = str(event.data["connection_id"])
        for run_id in list_runs_waiting_for(UUID(connection_id)):
            run = lock_run(run_id)
            StepResult.objects.filter(
                run_id=run_id, status=StepStatus.PARKED, wait__kind=CIRCUIT, wait__facts__connection=connection_id
            ).update(due_at=run.db_now)
            advance_locked(run)


subscribers.register(CallAgain())
subscribers.register(WakeWaiters())
subscribers.register(FireTriggers())

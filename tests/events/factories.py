"""Event types and subscribers for tests; each test registers what it needs and takes it away again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.events.contracts import DeliveryResult, EventRecord, EventType, RetryPolicy, Subscriber
from apps.events.registries import event_types, subscribers
from apps.events.services.delivery import deliver_events


@dataclass(frozen=True)
class ProbeSent:
    """Payload of the test events."""

    number: int
    producer: str = ""


PROBE = EventType("probe.sent.v1", ProbeSent, "A test sent a probe.")
ALARM = EventType("alarm.raised.v1", ProbeSent, "A test raised an alarm.")
event_types.register(PROBE)
event_types.register(ALARM)


class Recorder(Subscriber):
    """Remembers what it is given; `fault` may raise instead."""

    types = ("probe.*",)
    retry = RetryPolicy(base_s=0.05, attempts=3, jitter=0)

    def __init__(self, name: str, fault: Callable[[EventRecord], None] | None = None, **options: Any) -> None:
        self.name = name  # type: ignore[misc]
        self.fault = fault
        self.seen: list[tuple[UUID, EventRecord]] = []
        for option, value in options.items():
            setattr(self, option, value)

    def handle(self, tenant: Any, event: EventRecord) -> None:
        if self.fault is not None:
            self.fault(event)
        self.seen.append((tenant.id, event))

    @property
    def numbers(self) -> list[int]:
        return [event.data["number"] for _, event in self.seen]

    def numbers_of(self, tenant: Any) -> list[int]:
        return [event.data["number"] for tenant_id, event in self.seen if tenant_id == tenant.id]

    def count_by_id(self) -> Counter[UUID]:
        return Counter(event.id for _, event in self.seen)


def visit(item: Subscriber, **options: Any) -> DeliveryResult:
    """A visit with time enough on a busy machine."""
    return deliver_events(item, **{"visit_s": 30.0, **options})


@contextmanager
def registered(*items: Subscriber) -> Iterator[None]:
    """The subscribers are registered inside the block."""
    for item in items:
        subscribers.register(item)
    try:
        yield
    finally:
        for item in items:
            subscribers._items.pop(item.type, None)

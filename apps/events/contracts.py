"""What crosses the event bus's door: types, records, subscribers. No Django."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, ClassVar, TypeAlias
from uuid import UUID

from apps.tenancy.contracts import TenantRef

TYPE_PREFIX = "com.analytics-portal."
SPEC_VERSION = "1.0"
PayloadType: TypeAlias = type[Any]


def to_full_type(type_: str) -> str:
    """`run.completed.v1` as `com.analytics-portal.run.completed.v1`; a full type stays as it is."""
    return type_ if type_.startswith(TYPE_PREFIX) else TYPE_PREFIX + type_


@dataclass(frozen=True)
class EventType:
    """A kind of event: what happened, and the shape of what it says.

    Attributes:
        type: short form, noun, past tense, version (`run.completed.v1`), or the full reverse-DNS form.
        payload: dataclass of the data; its fields and annotations are the contract.
        description: one sentence for the catalogue.
        hint_kind: singular noun of the object that browsers should re-read (`run`); None sends no hint.
        hint_facts: names of data fields that go with the hint.
    """

    type: str
    payload: PayloadType
    description: str
    hint_kind: str | None = None
    hint_facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", to_full_type(self.type))


@dataclass(frozen=True)
class EventRecord:
    """One event as it was published.

    Attributes:
        id: deduplicate on it (with `source`): delivery is at least once.
        position: place in the tenant's log, from 1 without gaps; None until the relay has numbered it.
        type: full type.
        source: URI of the publishing tenant.
        subject: what it is about (`run/<id>`).
        time: when it was published, UTC.
        key: events with the same key are delivered in order.
        data: JSON object, fields of the type's payload.
    """

    id: UUID
    position: int | None
    type: str
    source: str
    subject: str
    time: datetime
    key: str
    data: dict[str, Any]

    @property
    def subject_id(self) -> str:
        """The part of the subject after its last slash."""
        return self.subject.rpartition("/")[2]

    def to_cloudevent(self) -> dict[str, Any]:
        """CloudEvents 1.0, JSON format; `sequence` and `partitionkey` are its documented extensions."""
        event: dict[str, Any] = {
            "specversion": SPEC_VERSION,
            "id": str(self.id),
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": self.time.isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "dataschema": f"urn:portal:event:{self.type}",
            "partitionkey": self.key,
            "data": self.data,
        }
        if self.position is not None:
            # Zero-padded, as the `sequence` extension wants: compared as text.
            event["sequence"] = f"{self.position:020d}"
        return event


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when an event that failed is tried again.

    Attributes:
        base_s, cap_s: first and longest delay, seconds.
        attempts: attempts in all, after which the event is dead.
        jitter: share of the delay that is random, 0 to 1.
    """

    base_s: float = 2.0
    cap_s: float = 300.0
    attempts: int = 8
    jitter: float = 0.2

    def delay_s(self, failures: int) -> float:
        """Delay after that many failures (1 or more): base × 2^(failures-1), capped, give or take the jitter.

        For the defaults: 2, 4, 8, 16, 32, 64, 128 s, each ± 20 %.
        """
        full = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 30))
        return full * (1 - self.jitter + 2 * self.jitter * random.random())


class Subscriber(ABC):
    """Code that wants events. Registered in `apps.events.registries.subscribers`, usually in an app's `receivers.py`.

    `handle` runs in the relay, inside the tenant's context and a transaction that also moves the subscriber's offset:
    what it writes to the database happens exactly once, everything else at least once. It must be quick (ring a
    doorbell, send a task on commit); long work belongs to Celery.
    """

    name: ClassVar[str]
    """Unique and never changed: the offset of each tenant is stored under it."""
    types: ClassVar[tuple[str, ...]]
    """Full or short types; `*` matches any part (`run.*`)."""
    ordered: ClassVar[bool] = True
    """Whether a failed event holds back later ones of its key until it is handled or redriven."""
    writes: ClassVar[bool] = True
    """Whether `handle` uses the database. One that does not is spared a savepoint for each event."""
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    from_beginning: ClassVar[bool] = True
    """Whether a new subscriber gets what was published before it was first seen."""
    in_batches: ClassVar[bool] = False
    """Whether `handle_batch` takes the new events of a visit together."""

    @property
    def type(self) -> str:
        """The name under which the registry files it."""
        return self.name

    def wants(self, type_: str) -> bool:
        """Whether the full type matches one of `types`; a lone `*` also takes the tenants' own types."""
        return "*" in self.types or any(fnmatchcase(type_, to_full_type(pattern)) for pattern in self.types)

    @abstractmethod
    def handle(self, tenant: TenantRef, event: EventRecord) -> None:
        """Take one event.

        Raises:
            TransientError: what the subscriber depends on is away: the whole subscriber backs off for this tenant, and
                no event is skipped.
            Exception: this event is at fault: it is parked and tried again by `retry`, other keys go on.
        """

    def handle_batch(self, tenant: TenantRef, events: Sequence[EventRecord]) -> None:
        """Take several events, in order; used when `in_batches`. All of it counts, or nothing.

        Raises:
            TransientError: as `handle`.
            Exception: one of them is at fault: each is then given to `handle` alone.
        """
        for event in events:
            self.handle(tenant, event)


@dataclass(frozen=True)
class LiveKind:
    """A kind of object that browsers may watch.

    Attributes:
        type: singular noun (`run`), the `kind` of `send_hint`.
        permission: code that the person needs (`run:view`).
        plural: name by which the whole list is watched; `<type>s` when empty.
    """

    type: str
    permission: str
    plural: str = ""

    def __post_init__(self) -> None:
        if not self.plural:
            object.__setattr__(self, "plural", f"{self.type}s")


@dataclass(frozen=True)
class DeliveryResult:
    """What one visit of the relay at one subscriber did.

    Attributes:
        delivered: events handled.
        parked: events put aside after a failure, or behind one.
        lagging: more events are waiting right now.
        retry_in_s: seconds until something is due again; None when nothing is.
        busy: somebody else was at this subscriber.
    """

    delivered: int = 0
    parked: int = 0
    lagging: bool = False
    retry_in_s: float | None = None
    busy: bool = False


@dataclass(frozen=True)
class OutgoingMessage:
    """One attempt to hand an event to a subscription's target.

    Attributes:
        delivery_id: the delivery; `attempt` counts its attempts from 1.
        event: what is delivered.
        config: the target's settings, as `DeliveryTarget.check_config` returned them.
        signing_secrets: `whsec_…` texts, newest first; several while a rotation overlaps.
    """

    delivery_id: UUID
    attempt: int
    event: EventRecord
    config: dict[str, Any]
    signing_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class SendResult:
    """What an attempt came to.

    Attributes:
        ok: the target has taken the event.
        response_status: HTTP status, where there is one.
        error: why it failed, for people.
        excerpt: beginning of the answer.
        retry_after_s: the target asked to be left alone for so long.
        gone: the target wants nothing more, ever.
        duration_ms: how long it took.
    """

    ok: bool
    response_status: int | None = None
    error: str = ""
    excerpt: str = ""
    retry_after_s: float | None = None
    gone: bool = False
    duration_ms: int = 0


class DeliveryTarget(ABC):
    """A kind of place that subscriptions deliver to. Registered in `apps.events.registries.delivery_targets`."""

    type: ClassVar[str]
    """Name that subscriptions store (`webhook`)."""
    title: ClassVar[str]
    is_signed: ClassVar[bool] = False
    """Whether each subscription has signing secrets in the vault."""

    @abstractmethod
    def check_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, checked and complete.

        Raises:
            SubscriptionInvalid: something in them cannot be used.
        """

    @abstractmethod
    async def send(self, session: Any, message: OutgoingMessage) -> SendResult:
        """Make one attempt. Faults are results, never exceptions.

        Args:
            session: the process's open `EgressSession`, the only way out.
            message: what to deliver.
        """


@dataclass(frozen=True)
class Consumer:
    """Who gets events of a type.

    Attributes:
        kind: `subscription` (a tenant's), `flow` (a process that waits for it or publishes it) or `subscriber` (code).
        id: of the subscription or flow; None for code.
        name: shown.
        reads: changed fields that its filter or key names.
    """

    kind: str
    id: UUID | None
    name: str
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConsumerFinder:
    """An app's answer to who uses an event type.

    Attributes:
        type: name of the finder.
        find: full event type -> those who use it, in the current tenant.
    """

    type: str
    find: Callable[[str], Iterable[Consumer]]

"""Reads of the event log."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Now

from apps.events.choices import DeliveryStatus, EndpointStatus, SubscriptionStatus
from apps.events.contracts import EventRecord
from apps.events.exceptions import (
    ContractNotFound,
    DeliveryNotFound,
    EndpointNotFound,
    EventNotFound,
    MessageNotFound,
    SubscriptionNotFound,
)
from apps.events.models import (
    ContractVersion,
    Delivery,
    Event,
    EventContract,
    EventSubscription,
    InboundEndpoint,
    InboundMessage,
    InboundTally,
    ParkedEvent,
    StreamHead,
    Subscription,
)


def to_record(event: Event) -> EventRecord:
    """The row as plain data."""
    return EventRecord(
        id=event.id,
        position=event.position,
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=event.time,
        key=event.key,
        data=event.data,
    )


def list_events() -> QuerySet[Event]:
    """Events of the current tenant, newest first."""
    return Event.objects.order_by("-id")


def list_range(after: int, *, limit: int, types: list[str] | None = None, up_to: int | None = None) -> list[Event]:
    """Numbered events after a position, in order; for delivery and replay.

    Args:
        after: position that was handled last.
        limit: most events to return.
        types: full types; None for all.
        up_to: last position to return.
    """
    events = Event.objects.filter(position__gt=after)
    if up_to is not None:
        events = events.filter(position__lte=up_to)
    if types is not None:
        events = events.filter(type__in=types)
    return list(events.order_by("position")[:limit])


def get_head_position() -> int:
    """Number of the last numbered event of the current tenant."""
    return StreamHead.objects.values_list("position", flat=True).get()


def list_subscriptions() -> QuerySet[Subscription]:
    """Every subscriber's state in the current tenant."""
    return Subscription.objects.order_by("name")


def list_parked(name: str | None = None) -> QuerySet[ParkedEvent]:
    """Parked events of the current tenant, of one subscriber or of all, oldest first."""
    parked = ParkedEvent.objects.select_related("event", "subscription").order_by("position")
    return parked.filter(subscription__name=name) if name else parked


def get_event(event_id: UUID) -> Event:
    """One event of the current tenant.

    Raises:
        EventNotFound: there is none.
    """
    found: Event | None = Event.objects.filter(id=event_id).first()
    if found is None:
        raise EventNotFound(value=event_id)
    return found


def list_event_subscriptions() -> QuerySet[EventSubscription]:
    """What the current tenant wants delivered, newest first, without what is archived; with counts of deliveries."""
    rows: QuerySet[EventSubscription] = EventSubscription.objects.exclude(status=SubscriptionStatus.ARCHIVED)
    return _counted(rows).order_by("-id")


def get_event_subscription(subscription_id: UUID) -> EventSubscription:
    """One of them.

    Raises:
        SubscriptionNotFound: there is none, or it is archived.
    """
    found = list_event_subscriptions().filter(id=subscription_id).first()
    if found is None:
        raise SubscriptionNotFound(value=subscription_id)
    return found


def list_deliveries() -> QuerySet[Delivery]:
    """Deliveries of the current tenant with their events, newest first."""
    return Delivery.objects.select_related("event", "subscription").order_by("-id")


def get_delivery(delivery_id: UUID) -> Delivery:
    """One delivery with its event and its attempts.

    Raises:
        DeliveryNotFound: there is none.
    """
    found = list_deliveries().prefetch_related("attempt_rows").filter(id=delivery_id).first()
    if found is None:
        raise DeliveryNotFound(value=delivery_id)
    return found


def list_inbound_endpoints() -> QuerySet[InboundEndpoint]:
    """Addresses for other systems' webhooks, newest first, without what is archived; with the tallies of a day."""
    latest = InboundMessage.objects.filter(endpoint=OuterRef("pk")).order_by("-id").values("received_at")[:1]
    rows = InboundEndpoint.objects.exclude(status=EndpointStatus.ARCHIVED)
    day = InboundTally.objects.filter(endpoint=OuterRef("pk"), hour__gt=Now() - timedelta(hours=24)).values("endpoint")
    sums = {
        f"{name}_24h": Coalesce(Subquery(day.annotate(total=Sum(name)).values("total")), 0)
        for name in ("accepted", "duplicates", "refused")
    }
    found: QuerySet[InboundEndpoint] = rows.annotate(last_received_at=Subquery(latest), **sums).order_by("-id")
    return found


def get_inbound_endpoint(endpoint_id: UUID) -> InboundEndpoint:
    """One of them.

    Raises:
        EndpointNotFound: there is none, or it is archived.
    """
    found = list_inbound_endpoints().filter(id=endpoint_id).first()
    if found is None:
        raise EndpointNotFound(value=endpoint_id)
    return found


def list_inbound_messages() -> QuerySet[InboundMessage]:
    """Webhooks that were taken, newest first, without their bodies."""
    rows: QuerySet[InboundMessage] = InboundMessage.objects.defer("body").order_by("-id")
    return rows


def get_inbound_message(message_id: UUID) -> InboundMessage:
    """One of them, with its body.

    Raises:
        MessageNotFound: there is none.
    """
    found: InboundMessage | None = InboundMessage.objects.filter(id=message_id).first()
    if found is None:
        raise MessageNotFound(value=message_id)
    return found


def list_event_contracts() -> QuerySet[EventContract]:
    """Types of events that the tenant defined, newest first, with their latest version."""
    latest = ContractVersion.objects.filter(contract=OuterRef("pk")).order_by("-number")
    found: QuerySet[EventContract] = EventContract.objects.annotate(
        latest_number=Subquery(latest.values("number")[:1]), latest_schema=Subquery(latest.values("schema")[:1])
    ).order_by("-id")
    return found


def is_event_defined(type_: str) -> bool:
    """Whether the tenant defined events of this full type."""
    found: bool = EventContract.objects.filter(type=type_).exists()
    return found


def get_event_contract(contract_id: UUID) -> EventContract:
    """One of them.

    Raises:
        ContractNotFound: there is none.
    """
    found = list_event_contracts().filter(id=contract_id).first()
    if found is None:
        raise ContractNotFound(value=contract_id)
    return found


def list_contract_versions(contract_id: UUID) -> QuerySet[ContractVersion]:
    """Versions of a contract, newest first.

    Raises:
        ContractNotFound: there is no such contract.
    """
    get_event_contract(contract_id)
    rows: QuerySet[ContractVersion] = ContractVersion.objects.filter(contract_id=contract_id).order_by("-id")
    return rows


def _counted(rows: QuerySet[EventSubscription]) -> QuerySet[EventSubscription]:
    waiting = Q(deliveries__status__in=(DeliveryStatus.PENDING, DeliveryStatus.DELIVERING))
    return rows.annotate(
        waiting_count=Count("deliveries", filter=waiting),
        failed_count=Count("deliveries", filter=Q(deliveries__status=DeliveryStatus.FAILED)),
        dead_count=Count("deliveries", filter=Q(deliveries__status=DeliveryStatus.DEAD)),
    )

"""Tables of the event bus, in the tenant's own schema."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.events.choices import (
    OPEN_DELIVERIES,
    Compatibility,
    DeliveryStatus,
    EndpointStatus,
    ParkedStatus,
    SignatureScheme,
    SubscriptionStatus,
)
from apps.tenancy.models import TenantModel


class Event(TenantModel):
    """One published event (CloudEvents 1.0). Append-only: a trigger lets nothing change but the number it is given."""

    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]
    arrival = models.BigIntegerField(
        editable=False, help_text="Drawn when it was inserted; orders what is not numbered."
    )
    position = models.BigIntegerField(null=True, unique=True, help_text="Place in the log, from 1, without gaps.")
    type = models.CharField(max_length=150)
    source = models.CharField(max_length=200)
    subject = models.CharField(max_length=200)
    time = models.DateTimeField()
    key = models.CharField(max_length=200, help_text="Events of one key are delivered in order.")
    data = models.JSONField()

    class Meta:
        db_table = "events_event"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["arrival"], condition=Q(position__isnull=True), name="events_event_unnumbered"),
            models.Index(fields=["type", "-id"], name="events_event_type"),
            models.Index(fields=["subject", "-id"], name="events_event_subject"),
            models.Index(fields=["time"], name="events_event_time"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class StreamHead(models.Model):
    """The one row per tenant that holds the last number of the log; locked while events are numbered."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    position = models.BigIntegerField(default=0)
    purged_to = models.BigIntegerField(default=0, help_text="Events up to here were removed by retention.")

    class Meta:
        db_table = "events_streamhead"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="events_streamhead_single")]

    def __str__(self) -> str:
        return f"Head at {self.position}"


class Subscription(TenantModel):
    """How far one subscriber is in this tenant's log."""

    name = models.CharField(max_length=100, unique=True)
    position = models.BigIntegerField(default=0, help_text="Everything up to here is handled or parked.")
    failures = models.PositiveIntegerField(default=0, help_text="Transient failures in a row.")
    retry_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)
    delivered = models.BigIntegerField(default=0)

    class Meta:
        db_table = "events_subscription"
        ordering = ["name"]

    def __str__(self) -> str:
        return f"{self.name} at {self.position}"


class ParkedEvent(TenantModel):
    """An event that a subscriber could not take, or that waits behind such a one of its key."""

    subscription = models.ForeignKey(Subscription, on_delete=models.CASCADE, related_name="parked")
    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="+")
    position = models.BigIntegerField()
    key = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=ParkedStatus.choices, default=ParkedStatus.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True, blank=True, help_text="Empty for an event that waits behind another.")
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        db_table = "events_parkedevent"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["subscription", "event"], name="events_parked_once"),
        ]
        indexes = [
            models.Index(fields=["subscription", "key", "position"], name="events_parked_key"),
            models.Index(
                fields=["subscription", "retry_at"], condition=Q(status=ParkedStatus.WAITING), name="events_parked_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position} {self.status}"


class EventSubscription(TenantModel):
    """What a tenant wants delivered where: types, filter, order, target, and how the target is doing."""

    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    types = ArrayField(models.CharField(max_length=150), help_text="Full or short types; `*` matches any part.")
    filter = models.TextField(blank=True, help_text="SQL condition over the CloudEvent; empty lets all through.")
    ordered = models.BooleanField(default=True, help_text="Whether events of one key wait for each other.")
    key_expression = models.TextField(blank=True, help_text="What is one key; empty for the event's own.")
    block_on_dead = models.BooleanField(default=False, help_text="Whether a dead letter holds back its key.")
    target = models.CharField(max_length=30)
    config = models.JSONField(default=dict)
    status = models.CharField(max_length=10, choices=SubscriptionStatus.choices, default=SubscriptionStatus.ACTIVE)
    status_reason = models.CharField(max_length=200, blank=True)
    start_position = models.BigIntegerField(default=0, help_text="Head of the log when it was created.")
    disabled_position = models.BigIntegerField(null=True, help_text="Head of the log when it was disabled.")
    signing_keys = models.JSONField(default=list, help_text="[{field, created_at, expires_at}], newest first.")
    secret_revision = models.PositiveIntegerField(default=0)
    delivered = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0, help_text="Failed attempts since the last good one.")
    failing_since = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)
    hold_until = models.DateTimeField(null=True, help_text="The target asked for a pause (Retry-After).")

    class Meta:
        db_table = "events_eventsubscription"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=~Q(status=SubscriptionStatus.ARCHIVED), name="events_eventsubscription_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"


class Replay(TenantModel):
    """A range of the log that somebody had delivered again."""

    subscription = models.ForeignKey(EventSubscription, on_delete=models.CASCADE, related_name="replays")
    first_position = models.BigIntegerField()
    last_position = models.BigIntegerField()
    types = ArrayField(models.CharField(max_length=150), default=list)
    count = models.PositiveIntegerField()
    requested_by = models.CharField(max_length=300)

    class Meta:
        db_table = "events_replay"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.first_position} to {self.last_position}"


class Delivery(TenantModel):
    """One event on its way to one subscription. The lanes' order is `number`; the first open one of a lane is due."""

    created_at = models.DateTimeField(db_default=models.functions.Now())
    updated_at = None  # type: ignore[assignment]
    number = models.BigIntegerField(editable=False, help_text="Drawn at the insert.")
    subscription = models.ForeignKey(EventSubscription, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    replay = models.ForeignKey(Replay, null=True, on_delete=models.SET_NULL, related_name="deliveries")
    lane = models.CharField(max_length=200, blank=True, help_text="Empty: in no order.")
    status = models.CharField(max_length=10, choices=DeliveryStatus.choices, default=DeliveryStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0, help_text="Also the fencing token of the attempt under way.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed attempts of this round of the schedule.")
    next_attempt_at = models.DateTimeField(
        null=True, help_text="Database time. Empty: waits behind another. While delivering: end of the lease."
    )
    response_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "events_delivery"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["subscription", "event", "replay"], nulls_distinct=False, name="events_delivery_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["subscription", "next_attempt_at", "number"],
                condition=Q(status__in=OPEN_DELIVERIES, next_attempt_at__isnull=False),
                name="events_delivery_due",
            ),
            models.Index(
                fields=["subscription", "lane", "number"],
                condition=Q(status__in=[*OPEN_DELIVERIES, DeliveryStatus.DEAD]),
                name="events_delivery_lane",
            ),
            models.Index(fields=["subscription", "status", "-id"], name="events_delivery_list"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.status}"


class DeliveryAttempt(TenantModel):
    """One attempt and what came of it."""

    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempt_rows")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    ok = models.BooleanField()
    response_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    excerpt = models.CharField(max_length=1000, blank=True, help_text="Beginning of the answer.")

    class Meta:
        db_table = "events_deliveryattempt"
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="events_attempt_once")]

    def __str__(self) -> str:
        return f"Attempt {self.number}"


class InboundEndpoint(TenantModel):
    """An address at which another system's webhooks are taken, and how they are verified."""

    name = models.CharField(max_length=100)
    public_id = models.CharField(max_length=40, unique=True, help_text="Last part of the address; hard to guess.")
    scheme = models.CharField(max_length=20, choices=SignatureScheme.choices)
    config = models.JSONField(default=dict, help_text="Header names and forms of the `hmac` scheme.")
    event_type = models.CharField(max_length=150)
    tolerance_s = models.PositiveIntegerField(default=300)
    max_bytes = models.PositiveIntegerField(default=256 * 1024)
    rate_per_s = models.PositiveIntegerField(null=True, blank=True, help_text="Webhooks a second; NULL = as installed.")
    burst = models.PositiveIntegerField(null=True, blank=True, help_text="Webhooks at once after a rest.")
    status = models.CharField(max_length=10, choices=EndpointStatus.choices, default=EndpointStatus.ACTIVE)
    signing_keys = models.JSONField(default=list, help_text="[{field, created_at, expires_at}], newest first.")
    secret_revision = models.PositiveIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    last_rejected_at = models.DateTimeField(null=True)
    last_rejection = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "events_inboundendpoint"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=~Q(status=EndpointStatus.ARCHIVED), name="events_inboundendpoint_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.scheme})"


class InboundMessage(TenantModel):
    """A verified webhook, as it came. Its id within the endpoint is taken once; a second one is a duplicate."""

    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]
    endpoint = models.ForeignKey(InboundEndpoint, on_delete=models.CASCADE, related_name="messages")
    event_id = models.UUIDField(help_text="The event that was published; retention may have removed it.")
    message_id = models.CharField(max_length=256)
    content_type = models.CharField(max_length=200, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    size_bytes = models.PositiveIntegerField()
    received_at = models.DateTimeField()

    class Meta:
        db_table = "events_inboundmessage"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["endpoint", "message_id"], name="events_inboundmessage_once")]
        indexes = [models.Index(fields=["endpoint", "-id"], name="events_inboundmessage_list")]

    def __str__(self) -> str:
        return self.message_id


class InboundTally(TenantModel):
    """What an endpoint took and refused in one hour, added once a second by each web process."""

    created_at = None  # type: ignore[assignment]
    updated_at = None  # type: ignore[assignment]
    endpoint = models.ForeignKey(InboundEndpoint, on_delete=models.CASCADE, related_name="tallies")
    hour = models.DateTimeField(help_text="Its beginning, UTC.")
    accepted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)

    class Meta:
        db_table = "events_inboundtally"
        constraints = [models.UniqueConstraint(fields=["endpoint", "hour"], name="events_inboundtally_hour")]

    def __str__(self) -> str:
        return f"{self.endpoint_id} {self.hour:%Y-%m-%d %H}"


class EventContract(TenantModel):
    """A type of event that the tenant defined; its schema is the latest of its versions."""

    type = models.CharField(max_length=150, unique=True)
    description = models.CharField(max_length=500, blank=True)
    compatibility = models.CharField(max_length=10, choices=Compatibility.choices, default=Compatibility.FULL)

    class Meta:
        db_table = "events_eventcontract"
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.type


class ContractVersion(TenantModel):
    """One JSON Schema of a contract's data; never changed."""

    updated_at = None  # type: ignore[assignment]
    contract = models.ForeignKey(EventContract, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    schema = models.JSONField()
    note = models.CharField(max_length=500, blank=True)
    published_by = models.CharField(max_length=300)

    class Meta:
        db_table = "events_contractversion"
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["contract", "number"], name="events_contractversion_once")]

    def __str__(self) -> str:
        return f"{self.contract_id} {self.number}"


class Publication(models.Model):
    """The id that a program gave an event: publishing it again changes nothing."""

    client_id = models.CharField(primary_key=True, max_length=200)
    event_id = models.UUIDField()
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=models.functions.Now(), db_index=True)

    class Meta:
        db_table = "events_publication"

    def __str__(self) -> str:
        return self.client_id

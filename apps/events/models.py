"""Tables of the event bus, in the tenant's own schema."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.events.choices import ParkedStatus
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

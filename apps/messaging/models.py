"""Tables of the messaging app."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.messaging.choices import ConsumerStatus, LetterStatus, MessageFormat
from apps.tenancy.models import TenantModel


class Consumer(TenantModel):
    """What takes messages from a queue, stream or topic and publishes each as an event."""

    name = models.CharField(max_length=100)
    environment = models.ForeignKey("integrations.Environment", on_delete=models.PROTECT, related_name="+")
    connection = models.CharField(max_length=63, help_text="Slot or short name, resolved in the environment.")
    source = models.CharField(max_length=300, help_text="Queue, stream[/subject], topic, or topic filter.")
    from_start = models.BooleanField(default=False, help_text="Whether it began with what was there already.")
    format = models.CharField(max_length=16, choices=MessageFormat.choices, default=MessageFormat.JSON)
    event_type = models.CharField(max_length=150)
    filter = models.TextField(blank=True, default="")
    key_expression = models.TextField(blank=True, default="")
    max_per_second = models.PositiveIntegerField(default=200)
    status = models.CharField(max_length=10, choices=ConsumerStatus.choices, default=ConsumerStatus.ACTIVE)
    status_reason = models.CharField(max_length=200, blank=True, default="")
    created_by_name = models.CharField(max_length=300, blank=True, default="")

    fence = models.BigIntegerField(default=0, help_text="Fencing number: rises with every claim, pause and change.")
    lease_owner = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True, help_text="By the database's clock.")
    next_attempt_at = models.DateTimeField(null=True, blank=True, help_text="By the database's clock.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed attempts since the last good one.")
    last_error = models.JSONField(null=True, blank=True)
    last_failed_at = models.DateTimeField(null=True, blank=True)

    connected_at = models.DateTimeField(null=True, blank=True)
    last_message_at = models.DateTimeField(null=True, blank=True)
    position = models.CharField(max_length=300, blank=True, default="")
    lag = models.BigIntegerField(null=True, blank=True)
    received = models.BigIntegerField(default=0)
    published = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    filtered = models.BigIntegerField(default=0)

    class Meta:
        db_table = "messaging_consumer"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=~Q(status=ConsumerStatus.DELETED), name="messaging_consumer_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"

    @property
    def broker_name(self) -> str:
        """Its name at the broker: group, durable or session."""
        return f"portal-{self.id.hex}"


class SeenMessage(models.Model):
    """A message that was taken: its id, or its place in the broker's log, is taken once."""

    id = models.BigAutoField(primary_key=True)
    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="+")
    message_key = models.CharField(max_length=200)
    received_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        db_table = "messaging_seenmessage"
        constraints = [models.UniqueConstraint(fields=["consumer", "message_key"], name="messaging_seen_once")]

    def __str__(self) -> str:
        return self.message_key


class DeadLetter(TenantModel):
    """A message that could not become an event, with the reason."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="letters")
    status = models.CharField(max_length=12, choices=LetterStatus.choices, default=LetterStatus.DEAD)
    code = models.CharField(max_length=100)
    reason = models.CharField(max_length=500)
    source = models.CharField(max_length=300)
    message_id = models.CharField(max_length=200, blank=True)
    position = models.CharField(max_length=300, blank=True)
    key = models.CharField(max_length=200, blank=True)
    content_type = models.CharField(max_length=200, blank=True)
    headers = models.JSONField(default=dict)
    sent_at = models.DateTimeField(null=True, blank=True)
    body = models.BinaryField()
    size_bytes = models.PositiveBigIntegerField()
    event_id = models.UUIDField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        db_table = "messaging_deadletter"
        ordering = ["-id"]
        indexes = [models.Index(fields=["consumer", "status", "-id"], name="messaging_letter_list")]

    def __str__(self) -> str:
        return f"{self.code} ({self.status})"

    @property
    def is_complete(self) -> bool:
        """Whether the whole body is kept."""
        return len(self.body) == self.size_bytes

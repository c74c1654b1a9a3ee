"""Tables of the integrations app: flows, their immutable versions, and where they run."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.integrations.choices import DeploymentStatus, FlowKind
from apps.tenancy.models import TenantModel


class Flow(TenantModel):
    """One integration: a draft that people edit, and published versions that runs use."""

    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=63)
    description = models.TextField(blank=True, default="")
    kind = models.CharField(max_length=10, choices=FlowKind.choices, default=FlowKind.LOAD)
    draft = models.JSONField(help_text="Definition being edited; may be incomplete.")
    draft_revision = models.PositiveIntegerField(default=1, help_text="Grows with every saved draft.")
    draft_problems_count = models.PositiveIntegerField(default=0, help_text="Errors found when the draft was saved.")
    draft_saved_by = models.UUIDField(null=True, blank=True)
    draft_saved_by_name = models.CharField(max_length=200, blank=True, default="")
    draft_saved_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="While set, nothing starts a run of it.")
    pause_reason = models.CharField(max_length=200, blank=True, default="")
    created_by = models.UUIDField(null=True, blank=True)

    class Meta:
        db_table = "integrations_flow"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["slug"], condition=Q(archived_at__isnull=True), name="integrations_flow_slug_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class FlowVersion(TenantModel):
    """One published definition. A trigger of the database refuses every change of it."""

    flow = models.ForeignKey(Flow, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField()
    content_hash = models.CharField(max_length=64, help_text="SHA-256 of the canonical behaviour fields, hex.")
    note = models.TextField(blank=True, default="")
    published_by = models.UUIDField(null=True, blank=True)
    published_by_name = models.CharField(max_length=200, blank=True, default="")
    published_at = models.DateTimeField()

    class Meta:
        db_table = "integrations_flow_version"
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["flow", "number"], name="integrations_version_number_once"),
            models.UniqueConstraint(fields=["flow", "content_hash"], name="integrations_version_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.flow_id} v{self.number}"


class Environment(TenantModel):
    """A place where flows run: dev, test or prod, made when the tenant is provisioned."""

    slug = models.SlugField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    position = models.PositiveSmallIntegerField(help_text="Order of promotion, dev first.")
    protected = models.BooleanField(default=False, help_text="Takes only published, warning-free deployments.")

    class Meta:
        db_table = "integrations_environment"
        ordering = ["position"]

    def __str__(self) -> str:
        return self.slug


class ConnectionBinding(TenantModel):
    """Which connection a slot means in one environment. An unbound slot means the connection of that short name."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="bindings")
    slot = models.CharField(max_length=63)
    connection = models.ForeignKey("connectors.Connection", on_delete=models.PROTECT, related_name="+")

    class Meta:
        db_table = "integrations_connection_binding"
        ordering = ["slot"]
        constraints = [models.UniqueConstraint(fields=["environment", "slot"], name="integrations_binding_slot_once")]

    def __str__(self) -> str:
        return self.slot


class Variable(TenantModel):
    """A text that expressions read as `var.<name>`. The value of a secret one is in the vault, never here."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="variables")
    name = models.CharField(max_length=63)
    value = models.TextField(blank=True, default="")
    secret = models.BooleanField(default=False)

    class Meta:
        db_table = "integrations_variable"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="integrations_variable_name_once"),
            models.CheckConstraint(
                condition=Q(secret=False) | Q(value=""), name="integrations_variable_secret_not_here"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Deployment(TenantModel):
    """One version made current in one environment. The history stays; rolling back deploys an older version."""

    flow = models.ForeignKey(Flow, on_delete=models.PROTECT, related_name="deployments")
    version = models.ForeignKey(FlowVersion, on_delete=models.PROTECT, related_name="deployments")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="deployments")
    status = models.CharField(max_length=10, choices=DeploymentStatus.choices, default=DeploymentStatus.ACTIVE)
    note = models.TextField(blank=True, default="")
    deployed_by = models.UUIDField(null=True, blank=True)
    deployed_by_name = models.CharField(max_length=200, blank=True, default="")
    deployed_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "integrations_deployment"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["flow", "environment"],
                condition=Q(status=DeploymentStatus.ACTIVE),
                name="integrations_deployment_one_active",
            )
        ]
        indexes = [models.Index(fields=["flow", "-id"], name="integrations_d_flow")]

    def __str__(self) -> str:
        return f"{self.flow_id} in {self.environment_id}"


class Calendar(TenantModel):
    """Working days of a place: its time zone, the days of the week without work, and holidays."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=100)
    zone = models.CharField(max_length=64)
    rest_days = models.JSONField(default=list, help_text="Days of the week without work, 1 is Monday.")
    holidays = models.JSONField(default=list, help_text="ISO dates.")

    class Meta:
        db_table = "integrations_calendar"
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug

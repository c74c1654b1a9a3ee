"""Tables of the public schema, and the base of every table that a tenant owns."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from apps.core.ids import uuid7
from apps.tenancy.choices import ProvisioningStatus, TenantStatus
from apps.tenancy.contracts import ROLE_NAME, SCHEMA_NAME, SLUG, current_scope
from apps.tenancy.exceptions import TenantContextMissing


def check_tenant_entered(model: type[models.Model]) -> None:
    """Refuse to touch a tenant-owned model in the public schema.

    Raises:
        TenantContextMissing: no tenant is entered.
    """
    if current_scope.get().is_public:
        raise TenantContextMissing(f"{model.__name__} was asked for outside a tenant.")


class TenantQuerySet(models.QuerySet):
    """A query set that refuses to run outside a tenant.

    It refuses when it runs, not when it is built, so that forms and API views may name it at import time.
    """

    def _require_tenant(self) -> None:
        check_tenant_entered(self.model)

    def _fetch_all(self) -> None:
        if self._result_cache is None:
            self._require_tenant()
        super()._fetch_all()

    def iterator(self, *args: Any, **kwargs: Any) -> Any:
        self._require_tenant()
        return super().iterator(*args, **kwargs)

    def count(self) -> int:
        self._require_tenant()
        return super().count()

    def exists(self) -> bool:
        self._require_tenant()
        return super().exists()

    def aggregate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._require_tenant()
        return super().aggregate(*args, **kwargs)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._require_tenant()
        return super().delete()

    delete.queryset_only = True  # type: ignore[attr-defined]
    delete.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        self._require_tenant()
        return super().update(**kwargs)

    update.alters_data = True  # type: ignore[attr-defined]

    def raw(self, *args: Any, **kwargs: Any) -> Any:
        self._require_tenant()
        return super().raw(*args, **kwargs)

    def explain(self, *args: Any, **kwargs: Any) -> str:
        self._require_tenant()
        return super().explain(*args, **kwargs)

    def _raw_delete(self, using: str | None) -> int:
        self._require_tenant()
        return super()._raw_delete(using)

    _raw_delete.alters_data = True  # type: ignore[attr-defined]

    def _update(self, values: Any) -> int:
        self._require_tenant()
        return super()._update(values)  # type: ignore[misc]

    _update.alters_data = True  # type: ignore[attr-defined]
    _update.queryset_only = False  # type: ignore[attr-defined]

    def _insert(self, *args: Any, **kwargs: Any) -> Any:
        self._require_tenant()
        return super()._insert(*args, **kwargs)  # type: ignore[misc]

    _insert.alters_data = True  # type: ignore[attr-defined]
    _insert.queryset_only = False  # type: ignore[attr-defined]


class TenantManager(models.Manager.from_queryset(TenantQuerySet)):  # type: ignore[misc]
    """Manager of tenant-owned models: every query needs an entered tenant."""


class TenantModel(models.Model):
    """A row that belongs to a tenant: it lives in the tenant's schema and has no tenant column."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the row; Django does this past the manager, so the tenant is checked here."""
        check_tenant_entered(type(self))
        return super().delete(*args, **kwargs)


class Tenant(models.Model):
    """An organisation: its schemas, its database role and whether it is served."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.CharField(
        max_length=38, unique=True, validators=[RegexValidator(SLUG)], help_text="Part of addresses and schema names."
    )
    name = models.CharField(max_length=120)
    schema_name = models.CharField(max_length=41, unique=True, editable=False, validators=[RegexValidator(SCHEMA_NAME)])
    db_role = models.CharField(max_length=63, editable=False, validators=[RegexValidator(ROLE_NAME)])
    warehouse_schema = models.CharField(
        max_length=41, unique=True, editable=False, validators=[RegexValidator(SCHEMA_NAME)]
    )
    status = models.CharField(max_length=16, choices=TenantStatus, default=TenantStatus.PROVISIONING)
    suspended_reason = models.CharField(max_length=200, blank=True)
    schema_version = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Hash of the migrations that the schema has."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    # Read by django-tenants' delete signal: a schema goes by `drop_tenant` only, never with its row.
    auto_drop_schema = False

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=TenantStatus.values), name="tenancy_tenant_status"),
        ]

    def __str__(self) -> str:
        return self.name


class Domain(models.Model):
    """A host name that leads to one tenant; matched exactly."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    domain = models.CharField(max_length=253)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="domains")
    is_primary = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["domain"]
        constraints = [
            models.UniqueConstraint(Lower("domain"), name="tenancy_domain_unique"),
            models.UniqueConstraint(
                fields=["tenant"], condition=models.Q(is_primary=True), name="tenancy_domain_primary"
            ),
        ]

    def __str__(self) -> str:
        return self.domain


class Provisioning(models.Model):
    """Progress of making one tenant. A row that is not done can always be continued."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="provisioning")
    status = models.CharField(max_length=16, choices=ProvisioningStatus, default=ProvisioningStatus.QUEUED)
    step = models.CharField(max_length=80, blank=True, help_text="What is being done, or what failed.")
    finished_steps = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    steps_total = models.PositiveSmallIntegerField(default=0)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    owner_email = models.EmailField(blank=True)
    requested_by = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "provisionings"

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.status}"

    @property
    def steps_done(self) -> int:
        """Number of steps that are finished."""
        return len(self.finished_steps)


class SchemaLedger(models.Model):
    """What is applied in one tenant's schema, so that an unchanged one is skipped and a lagging one is not served."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="ledger")
    plan_hash = models.CharField(max_length=64)
    migrations = ArrayField(models.CharField(max_length=200), default=list)
    duration_ms = models.PositiveIntegerField(default=0)
    migrated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.plan_hash[:12]}"


class PlatformAct(models.Model):
    """What somebody did to a tenant, or to the platform's own staff, from outside every tenant.

    A tenant's audit log lives and dies with its schema; these rows stay. A trigger refuses UPDATE, DELETE and TRUNCATE.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor_name = models.CharField(max_length=254)
    action = models.CharField(max_length=100, help_text="Dotted, past tense: tenant.suspended.")
    target = models.CharField(max_length=160, help_text="`tenant:<slug>`, or `<type>:<id>`.")
    summary = models.CharField(max_length=500)
    facts = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.summary

"""Making, suspending and naming tenants. Provisioning is a list of idempotent steps that can be continued anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection, transaction

from apps.core.clock import now
from apps.core.exceptions import PortalError
from apps.tenancy.choices import ProvisioningStatus, TenantStatus
from apps.tenancy.contracts import (
    MAX_SLUG_CHARS,
    SLUG,
    ProgressCallback,
    ProvisioningInput,
    role_name_for,
    schema_name_for,
    warehouse_schema_for,
)
from apps.tenancy.exceptions import InvalidSlug, TenantInUse
from apps.tenancy.models import Provisioning, Tenant
from apps.tenancy.registries import list_provisioning_steps
from apps.tenancy.selectors import forget_tenant
from apps.tenancy.services.acts import Initiator, record_act
from apps.tenancy.services.addresses import add_domain, forget_hosts
from apps.tenancy.services.context import public_context, tenant_context
from apps.tenancy.services.database_roles import drop_schemas_and_role, ensure_role, ensure_schemas, grant_rights
from apps.tenancy.services.migrations import migrate_schema, record_version, schema_lock

__all__ = [
    "continue_provisioning",
    "drop_tenant",
    "provision_tenant",
    "register_tenant",
    "rename_tenant",
    "resume_tenant",
    "start_provisioning",
    "suspend_tenant",
]

PROVISION_TASK = "tenancy.provision_tenant"

log = structlog.get_logger(__name__)

# Host names that the platform uses or may come to use.
RESERVED_SLUGS = frozenset(
    {
        "admin",
        "api",
        "app",
        "apps",
        "auth",
        "accounts",
        "assets",
        "cdn",
        "docs",
        "embed",
        "events",
        "ftp",
        "gateway",
        "health",
        "help",
        "internal",
        "localhost",
        "login",
        "mail",
        "metrics",
        "mfe",
        "ns",
        "platform",
        "portal",
        "postgres",
        "public",
        "root",
        "smtp",
        "sso",
        "static",
        "status",
        "support",
        "system",
        "test",
        "webhook",
        "webhooks",
        "ws",
        "www",
    }
)


def check_slug(slug: str) -> None:
    """Refuse a slug that cannot be part of host and schema names.

    Raises:
        InvalidSlug: wrong characters, wrong length, or reserved.
    """
    if len(slug) > MAX_SLUG_CHARS or not SLUG.match(slug):
        raise InvalidSlug(f"{slug!r} is not a usable tenant name.", field="slug", value=slug)
    if slug in RESERVED_SLUGS:
        raise InvalidSlug(f"{slug!r} is reserved.", field="slug", value=slug, remedy="Choose another name.")


def register_tenant(
    slug: str, name: str, *, domains: Sequence[str] = (), owner_email: str | None = None, actor: Initiator
) -> Tenant:
    """Write down a tenant that is to be provisioned; the address is taken from then on. Repeating it changes nothing.

    Args:
        slug: see `check_slug`.
        name: shown name.
        domains: host names, the first one primary; `<slug>.<BASE_DOMAIN>` when empty.
        owner_email: gets the administrator's invitation.
        actor: who asks.

    Raises:
        InvalidSlug, InvalidDomain, DomainTaken.
    """
    check_slug(slug)
    schema_name = schema_name_for(slug)
    with public_context(), transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(
            slug=slug,
            defaults={
                "name": name,
                "schema_name": schema_name,
                "db_role": role_name_for(connection.settings_dict["NAME"], schema_name),
                "warehouse_schema": warehouse_schema_for(slug),
            },
        )
        if created:
            record_act("tenant.registered", actor=actor, target=f"tenant:{slug}", summary=f"Registered {name}")
        for index, domain in enumerate(domains or [f"{slug}.{settings.BASE_DOMAIN}"]):
            add_domain(tenant, domain, primary=created and index == 0, actor=actor)
        Provisioning.objects.get_or_create(
            tenant=tenant, defaults={"owner_email": owner_email or "", "requested_by": actor.name}
        )
    return tenant


def provision_tenant(
    slug: str,
    name: str,
    *,
    domains: Sequence[str] = (),
    owner_email: str | None = None,
    actor: Initiator,
    on_progress: ProgressCallback | None = None,
) -> Tenant:
    """Make a tenant, or continue where an earlier attempt stopped; a finished tenant is returned as it is.

    Args:
        slug, name, domains, owner_email, actor: see `register_tenant`.
        on_progress: told before each step.

    Raises:
        InvalidSlug, InvalidDomain, DomainTaken, DatabaseRightsMissing, ProvisioningBusy.
    """
    tenant = register_tenant(slug, name, domains=domains, owner_email=owner_email, actor=actor)
    return continue_provisioning(tenant, on_progress=on_progress)


def start_provisioning(tenant: Tenant) -> None:
    """Let a worker provision a registered tenant, after commit.

    With the broker down nothing is lost: the row stays queued and `tenancy.resume_stalled_provisioning` rings later.
    """
    transaction.on_commit(lambda: current_app.send_task(PROVISION_TASK, args=[str(tenant.pk)]), robust=True)


def _infrastructure() -> list[tuple[str, str, Callable[[Tenant], None]]]:
    return [
        ("tenancy.role", "Create the database role", ensure_role),
        ("tenancy.schemas", "Create the schemas", ensure_schemas),
        ("tenancy.tables", "Create the tables", migrate_schema),
        ("tenancy.rights", "Grant rights", grant_rights),
        ("tenancy.version", "Note the version", record_version),
    ]


def _plan(wanted: ProvisioningInput) -> list[tuple[str, str, Callable[[Tenant], None]]]:
    def in_tenant(run: Callable[[Any, ProvisioningInput], None]) -> Callable[[Tenant], None]:
        def call(tenant: Tenant) -> None:
            with tenant_context(tenant), transaction.atomic():
                run(tenant, wanted)

        return call

    return [
        *_infrastructure(),
        *((step.type, step.title, in_tenant(step.run)) for step in list_provisioning_steps()),
    ]


def continue_provisioning(tenant: Tenant, *, on_progress: ProgressCallback | None = None) -> Tenant:
    """Run the steps that are not finished yet. Safe to call at any time, by any process; one at a time gets through.

    Args:
        tenant: as from `register_tenant`.
        on_progress: called with (title, done, total).

    Raises:
        ProvisioningBusy: another process is at it.
    """
    with schema_lock(tenant, wait=False), public_context():
        row = Provisioning.objects.get(pk=tenant.pk)
        plan = _plan(ProvisioningInput(owner_email=row.owner_email or None, requested_by=row.requested_by))
        if row.status == ProvisioningStatus.DONE:
            tenant.refresh_from_db()
            return tenant
        row.status, row.error, row.steps_total = ProvisioningStatus.RUNNING, "", len(plan)
        row.attempts += 1
        for type_, title, run in plan:
            if type_ in row.finished_steps:
                continue
            row.step, row.heartbeat_at = title, now()
            row.save()
            if on_progress is not None:
                on_progress(title, row.steps_done, row.steps_total)
            try:
                run(tenant)
            except Exception as error:
                row.status = ProvisioningStatus.FAILED
                row.error = error.message if isinstance(error, PortalError) else f"{type(error).__name__}: {error}"
                row.save()
                log.error("provisioning_failed", tenant=tenant.slug, step=type_, error=row.error)
                raise
            row.finished_steps = [*row.finished_steps, type_]
        _finish(tenant, row)
        if on_progress is not None:
            on_progress("Ready", row.steps_total, row.steps_total)
    return tenant


def _finish(tenant: Tenant, row: Provisioning) -> None:
    with transaction.atomic():
        row.status, row.step, row.finished_at, row.heartbeat_at = ProvisioningStatus.DONE, "", now(), now()
        row.save()
        Tenant.objects.filter(pk=tenant.pk, status=TenantStatus.PROVISIONING).update(status=TenantStatus.ACTIVE)
    tenant.refresh_from_db()
    forget_hosts(tenant)
    log.info("tenant_provisioned", tenant=tenant.slug, attempts=row.attempts)


def suspend_tenant(tenant: Tenant, *, reason: str, actor: Initiator) -> None:
    """Stop serving a tenant's hosts; its data stays. Repeating it replaces the reason.

    Args:
        tenant: the tenant.
        reason: shown to its people.
        actor: who does it.
    """
    _set_status(tenant, TenantStatus.SUSPENDED, reason=reason, actor=actor)


def resume_tenant(tenant: Tenant, *, actor: Initiator) -> None:
    """Serve a suspended tenant again."""
    _set_status(tenant, TenantStatus.ACTIVE, reason="", actor=actor)


def _set_status(tenant: Tenant, status: TenantStatus, *, reason: str, actor: Initiator) -> None:
    with public_context(), transaction.atomic():
        changed = Tenant.objects.filter(pk=tenant.pk).exclude(status=TenantStatus.PROVISIONING)
        if changed.update(status=status, suspended_reason=reason):
            forget_tenant(tenant.pk)
            done = "suspended" if status == TenantStatus.SUSPENDED else "resumed"
            record_act(
                f"tenant.{done}",
                actor=actor,
                target=f"tenant:{tenant.slug}",
                summary=f"{done.capitalize()} {tenant.name}",
                facts={"reason": reason} if reason else {},
            )
        tenant.refresh_from_db()
        forget_hosts(tenant)


def drop_tenant(tenant: Tenant, *, actor: Initiator) -> None:
    """Remove a tenant that is suspended (or was never finished) with everything it has in the database.

    Raises:
        TenantInUse: it is still served.
        ProvisioningBusy: it is being provisioned or migrated.
    """
    if tenant.status == TenantStatus.ACTIVE:
        raise TenantInUse(f"{tenant.name} is still served.", value=tenant.slug)
    forget_hosts(tenant)
    with schema_lock(tenant, wait=False), public_context(), transaction.atomic():
        drop_schemas_and_role(tenant)
        forget_hosts(tenant)
        Tenant.objects.filter(pk=tenant.pk).delete()
        forget_tenant(tenant.pk)
        record_act(
            "tenant.dropped", actor=actor, target=f"tenant:{tenant.slug}", summary=f"Removed {tenant.name} for good"
        )


def rename_tenant(tenant: Tenant, name: str, *, actor: Initiator) -> None:
    """Change the shown name; slug and schemas stay."""
    with public_context(), transaction.atomic():
        record_act(
            "tenant.renamed",
            actor=actor,
            target=f"tenant:{tenant.slug}",
            summary=f"Renamed {tenant.name} to {name}",
            facts={"before": tenant.name, "after": name},
        )
        Tenant.objects.filter(pk=tenant.pk).update(name=name)
        tenant.refresh_from_db()
        forget_hosts(tenant)

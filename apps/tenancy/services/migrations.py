"""Migrations of tenants' schemas: skipped when unchanged, resumable, one process per schema at a time."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from apps.tenancy.contracts import ProvisioningInput
from apps.tenancy.exceptions import ProvisioningBusy
from apps.tenancy.models import SchemaLedger, Tenant
from apps.tenancy.registries import list_provisioning_steps, plan_parts
from apps.tenancy.services.addresses import forget_hosts
from apps.tenancy.services.context import owner_context, public_context, tenant_context
from apps.tenancy.services.database_roles import ensure_role, ensure_schemas, grant_rights

__all__ = [
    "find_plan_hash",
    "has_current_schema",
    "has_public_changes",
    "list_outdated_tenants",
    "migrate_public",
    "migrate_tenant",
    "schema_lock",
]

MIGRATE_OPTIONS = {
    "verbosity": 0,
    "interactive": False,
    "database": "default",
    "app_label": None,
    "migration_name": None,
    "fake": False,
    "fake_initial": False,
    "plan": False,
    "check_unapplied": False,
    "run_syncdb": False,
    "prune": False,
    "skip_checks": True,
    "no_color": True,
    "force_color": False,
    "traceback": False,
}


@lru_cache(maxsize=1)
def _tenant_migrations() -> dict[str, str]:
    """Every migration of the tenants' apps as {`app.name`: SHA-256 of its file}."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    labels = _tenant_labels()
    found: dict[str, str] = {}
    for (label, name), migration in loader.disk_migrations.items():
        if label in labels:
            module = __import__(migration.__module__, fromlist=["__file__"])
            found[f"{label}.{name}"] = hashlib.sha256(Path(module.__file__ or "").read_bytes()).hexdigest()
    return dict(sorted(found.items()))


def _tenant_labels() -> set[str]:
    from django.apps import apps

    wanted = set(settings.TENANT_APPS)
    return {
        config.label
        for config in apps.get_app_configs()
        if config.name in wanted or f"{config.__module__}.{config.__class__.__name__}" in wanted
    }


@lru_cache(maxsize=1)
def find_plan_hash() -> str:
    """Fingerprint of what a tenant's schema must have: migration files, and what code defines in tables."""
    digest = hashlib.sha256()
    for name, file_hash in _tenant_migrations().items():
        digest.update(f"{name}={file_hash}\n".encode())
    for part in plan_parts:
        digest.update(part().encode())
    return digest.hexdigest()


_known_ahead: set[str] = set()


def has_current_schema(tenant: Tenant) -> bool:
    """Whether the tenant's schema has every migration that this process needs.

    A schema that is ahead (a newer release has migrated it during a rolling upgrade) is current too. Costs a string
    comparison; only an unknown fingerprint is looked up, once per process.
    """
    version = tenant.schema_version
    if version == find_plan_hash() or version in _known_ahead:
        return True
    with public_context():
        applied = SchemaLedger.objects.filter(tenant_id=tenant.pk).values_list("migrations", flat=True).first()
    if applied is None or not set(_tenant_migrations()) <= set(applied):
        return False
    _known_ahead.add(version)
    return True


def list_outdated_tenants(*, every: bool = False) -> list[Tenant]:
    """Tenants whose schema is not as `find_plan_hash` says, oldest first.

    Args:
        every: also those that are up to date.
    """
    with public_context():
        rows = Tenant.objects.exclude(schema_version="").order_by("id")
        return list(rows if every else rows.exclude(schema_version=find_plan_hash()))


@contextmanager
def schema_lock(tenant: Tenant, *, wait: bool = True) -> Iterator[None]:
    """Hold a tenant's schema for provisioning or migration; the server frees it when the process dies.

    Raises:
        ProvisioningBusy: another process holds it and `wait` is off.
    """
    key = f"tenancy:{tenant.schema_name}"
    with public_context(), connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
        else:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [key])
            if not cursor.fetchone()[0]:
                raise ProvisioningBusy(f"{tenant.slug} is being set up or migrated by another process.")
    try:
        yield
    finally:
        if connection.connection is not None and not connection.needs_rollback:
            with public_context(), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [key])


def has_public_changes() -> bool:
    """Whether the public schema has migrations to apply."""
    with public_context():
        executor = MigrationExecutor(connection)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrate_public() -> None:
    """Run Django's migrations in the public schema, with the signals that follow (content types)."""
    with public_context():
        _run_migrate()


def migrate_tenant(tenant: Tenant, *, force: bool = False) -> bool:
    """Bring one tenant's schema up to date and note it in the ledger.

    Killed in the middle, it continues with the first migration that is not recorded; each migration is one
    transaction with its record.

    Args:
        tenant: the tenant; its schemas and role are made when missing.
        force: also when the ledger says that nothing changed.

    Returns:
        Whether there was something to do.
    """
    with schema_lock(tenant):
        with public_context():
            known = SchemaLedger.objects.filter(tenant_id=tenant.pk).values_list("plan_hash", flat=True).first()
        if known == find_plan_hash() and not force:
            return False
        started = time.monotonic()
        ensure_role(tenant)
        ensure_schemas(tenant)
        migrate_schema(tenant)
        grant_rights(tenant)
        for step in list_provisioning_steps():
            if step.after_migrations:
                with tenant_context(tenant), transaction.atomic():
                    step.run(tenant, ProvisioningInput(requested_by="migration"))
        record_version(tenant, duration_ms=int((time.monotonic() - started) * 1000))
    return True


def migrate_schema(tenant: Tenant) -> None:
    """Run Django's migrations in the tenant's schema with the owner's rights."""
    # Without public in the path: otherwise the recorder finds the public schema's table and thinks all is applied.
    with owner_context(tenant, include_public=False):
        MigrationRecorder(connection).ensure_schema()
    with owner_context(tenant):
        _run_migrate()


def record_version(tenant: Tenant, *, duration_ms: int = 0) -> None:
    """Write down what the schema has now."""
    with owner_context(tenant, include_public=False):
        applied = sorted(f"{label}.{name}" for label, name in MigrationRecorder(connection).applied_migrations())
    version = find_plan_hash()
    with public_context(), transaction.atomic():
        SchemaLedger.objects.update_or_create(
            tenant_id=tenant.pk, defaults={"plan_hash": version, "migrations": applied, "duration_ms": duration_ms}
        )
        Tenant.objects.filter(pk=tenant.pk).update(schema_version=version)
    tenant.schema_version = version
    forget_hosts(tenant)


def _run_migrate() -> None:
    out = io.StringIO()
    MigrateCommand(stdout=out, stderr=out).execute(**MIGRATE_OPTIONS)

"""Migrating tenants: skip what is unchanged, canary first, side by side, and again after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.access.models import Role
from apps.tenancy.models import SchemaLedger, Tenant
from apps.tenancy.registries import ProvisioningStep, list_provisioning_steps, provisioning_steps
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services import migrations
from apps.tenancy.services.context import tenant_context
from apps.tenancy.services.migration_workers import migrate_in_processes
from apps.tenancy.services.migrations import find_plan_hash, list_outdated_tenants, migrate_tenant
from apps.tenancy.services.tenants import register_tenant
from tests.tenancy.conftest import TESTER


def make_outdated(slug: str, *, oldest: bool = False) -> Tenant:
    """A tenant whose schema has nothing yet although it once was served: everything is to be migrated."""
    tenant = register_tenant(slug, slug, actor=TESTER)
    Tenant.objects.filter(pk=tenant.pk).update(status="active", schema_version="older")
    return get_tenant(slug)


def migrate(**options: Any) -> str:
    out = StringIO()
    call_command("migrate_tenants", stdout=out, **{"verbosity": 0, **options})
    return out.getvalue()


def builtin_roles(slug: str) -> int:
    with tenant_context(get_tenant(slug)):
        return Role.objects.filter(builtin=True).count()


def test_unchanged_tenant_is_skipped_by_one_query(acme: Tenant, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(3):  # lock, ledger, unlock
        assert migrate_tenant(acme) is False


def test_nothing_to_do_says_so(acme: Tenant) -> None:
    assert migrate() == "Every schema is up to date.\n"
    assert migrate(check=True) == "Every schema is up to date.\n"


def test_check_names_outdated_schemas_and_changes_nothing(acme: Tenant, globex: Tenant) -> None:
    Tenant.objects.filter(pk=globex.pk).update(schema_version="older")
    out = StringIO()

    with pytest.raises(SystemExit) as caught:
        call_command("migrate_tenants", check=True, stdout=out)

    assert caught.value.code == 3
    assert out.getvalue() == "Outdated: globex\n"
    assert list_outdated_tenants() == [globex]


def test_changed_permission_codes_make_every_tenant_outdated(
    acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.access.registries import permissions

    find_plan_hash.cache_clear()
    monkeypatch.setitem(permissions._descriptions, "widget:view", "See widgets")
    try:
        assert {"acme", "globex"} <= {tenant.slug for tenant in list_outdated_tenants()}

        migrate_tenant(acme)

        assert acme not in list_outdated_tenants()
        with tenant_context(acme):
            assert "widget:view" in Role.objects.get(slug="viewer").permissions
    finally:
        find_plan_hash.cache_clear()


@pytest.mark.slow
def test_migration_is_recorded_in_the_ledger(slugs: Callable[[str], str]) -> None:
    tenant = make_outdated(slugs("umbrella"))

    assert migrate_tenant(tenant) is True

    ledger = SchemaLedger.objects.get(pk=tenant.pk)
    assert ledger.plan_hash == find_plan_hash() == get_tenant(tenant.slug).schema_version
    assert "access.0001_initial" in ledger.migrations
    assert builtin_roles(tenant.slug) == 5


@pytest.mark.slow
def test_killed_run_is_resumed_and_finished_tenants_are_skipped(slugs: Callable[[str], str], manage: Any) -> None:
    names = [slugs("umbrella") for _ in range(3)]
    tenants = [make_outdated(name) for name in names]
    process = manage("migrate_tenants", "-v0")
    for _ in range(2_000):
        done = SchemaLedger.objects.filter(tenant__in=tenants).count()
        if done >= 1:
            break
        time.sleep(0.01)
    time.sleep(0.1)  # well inside the second one
    process.kill()
    process.communicate()
    first = SchemaLedger.objects.filter(tenant__in=tenants).order_by("migrated_at").first()
    assert first is not None
    outdated = [tenant.slug for tenant in list_outdated_tenants()]
    assert outdated
    assert first.tenant.slug not in outdated

    output = migrate()

    assert output == f"Migrated {len(outdated)} tenants.\n"
    assert [builtin_roles(name) for name in names] == [5, 5, 5]
    assert SchemaLedger.objects.get(pk=first.pk).migrated_at == first.migrated_at
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(
                f"SELECT count(*), count(DISTINCT (app, name)) FROM {get_tenant(name).schema_name}.django_migrations"
            )
            rows, distinct = cursor.fetchone()
            assert rows == distinct


@pytest.mark.slow
def test_tenants_are_migrated_side_by_side(slugs: Callable[[str], str]) -> None:
    names = [slugs("umbrella") for _ in range(3)]
    for name in names:
        make_outdated(name)

    assert migrate(jobs=2, canary=names[2]) == "Migrated 3 tenants.\n"

    assert [builtin_roles(name) for name in names] == [5, 5, 5]
    assert list_outdated_tenants() == []


def test_failing_canary_stops_before_the_others(acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    Tenant.objects.filter(pk__in=[acme.pk, globex.pk]).update(schema_version="older")
    SchemaLedger.objects.filter(pk__in=[acme.pk, globex.pk]).update(plan_hash="older")
    fail_for(monkeypatch, "globex")

    with pytest.raises(CommandError, match="canary globex failed, no other tenant was touched: disk full"):
        migrate(canary="globex")

    assert {tenant.slug for tenant in list_outdated_tenants()} == {"acme", "globex"}


def test_failing_tenant_does_not_stop_the_others(acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    Tenant.objects.filter(pk__in=[acme.pk, globex.pk]).update(schema_version="older")
    SchemaLedger.objects.filter(pk__in=[acme.pk, globex.pk]).update(plan_hash="older")
    fail_for(monkeypatch, "globex")

    with pytest.raises(CommandError, match="1 of 2 tenants failed: globex"):
        migrate(canary="acme")

    assert list_outdated_tenants() == [globex]


def fail_for(monkeypatch: pytest.MonkeyPatch, slug: str) -> None:
    """Makes the step after the migrations fail for one tenant."""

    def run(tenant: Tenant, _wanted: object) -> None:
        if tenant.slug == slug:
            raise OSError("disk full")

    step = ProvisioningStep("tests.disk", 1, "Fill the disk", run, after_migrations=True)
    monkeypatch.setitem(provisioning_steps._items, "tests.disk", step)
    assert step in list_provisioning_steps()


def test_unknown_canary_is_named(acme: Tenant) -> None:
    Tenant.objects.filter(pk=acme.pk).update(schema_version="older")
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        migrate(canary="nobody")


@pytest.mark.slow
def test_dying_process_is_an_error_of_its_tenant(committed_acme: Tenant) -> None:
    seen: list[tuple[str, str | None]] = []

    migrate_in_processes(
        [str(committed_acme.pk)], jobs=1, database="no_such_database", on_done=lambda *facts: seen.append(facts)
    )

    ((tenant_id, error),) = seen
    assert tenant_id == str(committed_acme.pk)
    assert "no_such_database" in (error or "")


def test_fingerprint_follows_the_files_of_tenants_apps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    before = find_plan_hash()
    known = dict(migrations._tenant_migrations())
    find_plan_hash.cache_clear()
    monkeypatch.setattr(migrations, "_tenant_migrations", lambda: {**known, "access.0001_initial": "edited"})
    try:
        assert find_plan_hash() != before
    finally:
        find_plan_hash.cache_clear()

"""Making tenants: idempotent, resumable, refused when the name cannot be used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from apps.access.contracts import Actor
from apps.access.models import Invitation, Role
from apps.core.clock import now
from apps.tenancy.choices import ProvisioningStatus, TenantStatus
from apps.tenancy.contracts import StaffMember
from apps.tenancy.exceptions import (
    DomainTaken,
    InvalidSlug,
    ProvisioningBusy,
    TenantContextMissing,
    TenantInUse,
)
from apps.tenancy.models import Provisioning, Tenant
from apps.tenancy.registries import ProvisioningStep, provisioning_steps
from apps.tenancy.selectors import find_tenant, get_tenant, list_stalled_tenants
from apps.tenancy.services.context import current_tenant, owner_context, tenant_context
from apps.tenancy.services.database_roles import ensure_role, ensure_schemas, grant_rights
from apps.tenancy.services.migrations import schema_lock
from apps.tenancy.services.tenants import continue_provisioning, drop_tenant, provision_tenant, suspend_tenant
from apps.tenancy.tasks import provision_registered_tenant, resume_stalled_provisioning

ACTOR = Actor.system("tests")


@pytest.fixture
def failing_step() -> Iterator[dict[str, Any]]:
    """A step of some app that fails until told otherwise."""
    state: dict[str, Any] = {"fail": True, "calls": 0, "scopes": []}

    def run(tenant: Tenant, _wanted: object) -> None:
        state["calls"] += 1
        state["scopes"].append(current_tenant() == tenant)
        Role.objects.create(slug="half-done", name="Half done")
        if state["fail"]:
            raise ConnectionError("the warehouse is away")

    provisioning_steps.register(ProvisioningStep("tests.failing", 500, "Prepare the warehouse", run))
    yield state
    provisioning_steps._items.pop("tests.failing")


def test_new_tenant_is_complete(db: None, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any) -> None:
    progress: list[tuple[str, int, int]] = []
    with django_capture_on_commit_callbacks(execute=True):
        tenant = provision_tenant(
            "umbrella",
            "Umbrella",
            domains=["data.umbrella.example", "umbrella.localhost"],
            owner_email="Ada@Umbrella.Example",
            actor=ACTOR,
            on_progress=lambda *facts: progress.append(facts),
        )

    assert tenant.status == TenantStatus.ACTIVE
    assert (tenant.schema_name, tenant.warehouse_schema) == ("t_umbrella", "w_umbrella")
    assert [(domain.domain, domain.is_primary) for domain in tenant.domains.all()] == [
        ("data.umbrella.example", True),
        ("umbrella.localhost", False),
    ]
    with tenant_context(tenant):
        assert set(Role.objects.values_list("slug", flat=True)) == {
            "viewer", "builder", "operator", "approver", "admin",
        }  # fmt: skip
        assert Invitation.objects.get().email == "ada@umbrella.example"
    (mail,) = mailoutbox
    assert mail.to == ["ada@umbrella.example"]
    assert "http://data.umbrella.example" in mail.body
    assert [done for _, done, _ in progress] == list(range(len(progress)))
    assert progress[-1] == ("Ready", len(progress) - 1, len(progress) - 1)
    assert tenant.provisioning.status == ProvisioningStatus.DONE


def test_provisioning_again_changes_nothing(db: None, mailoutbox: list[Any]) -> None:
    first = provision_tenant("umbrella", "Umbrella", owner_email="a@umbrella.example", actor=ACTOR)
    again = provision_tenant("umbrella", "Other name", actor=ACTOR)

    assert again == first
    assert again.name == "Umbrella"
    assert again.provisioning.attempts == 1


@pytest.mark.parametrize(
    "slug",
    [
        "a",  # too short
        "a" * 39,  # too long for schema and role names
        "a-" * 19 + "a",  # the same with hyphens
        "1st",
        "Acme",
        "ac_me",
        "-acme",
        "acme-",
        "ac--me",
        "acme.x",
        'acme"; DROP SCHEMA public; --',
        "acme\n",
        "äcme",
        "",
        "admin",
        "www",
        "public",
        "api",
    ],
)
def test_unusable_slug_is_refused_before_anything_is_made(db: None, slug: str) -> None:
    with pytest.raises(InvalidSlug):
        provision_tenant(slug, "X", actor=ACTOR)
    assert find_tenant(slug) is None


def test_taken_domain_refuses_and_leaves_nothing(acme: Tenant) -> None:
    with pytest.raises(DomainTaken):
        provision_tenant("umbrella", "Umbrella", domains=["acme.localhost"], actor=ACTOR)
    assert find_tenant("umbrella") is None


@pytest.mark.slow
def test_failed_step_is_rolled_back_reported_and_continued(slugs: Callable[[str], str], failing_step: Any) -> None:
    slug = slugs("umbrella")

    with pytest.raises(ConnectionError):
        provision_tenant(slug, "Umbrella", actor=ACTOR)
    row = Provisioning.objects.get(tenant__slug=slug)
    assert (row.status, row.step) == (ProvisioningStatus.FAILED, "Prepare the warehouse")
    assert "the warehouse is away" in row.error
    assert get_tenant(slug).status == TenantStatus.PROVISIONING
    with tenant_context(get_tenant(slug)):
        assert not Role.objects.filter(slug="half-done").exists()

    failing_step["fail"] = False
    tenant = provision_tenant(slug, "Umbrella", actor=ACTOR)

    assert tenant.status == TenantStatus.ACTIVE
    assert failing_step["scopes"] == [True, True]
    assert tenant.provisioning.attempts == 2


@pytest.mark.slow
def test_killed_process_is_continued_where_it_stopped(slugs: Callable[[str], str], manage: Any) -> None:
    slug = slugs("umbrella")
    process = manage("provision_tenant", slug, "-v0")
    for _ in range(600):
        row = Provisioning.objects.filter(tenant__slug=slug).first()
        if row is not None and row.step == "Create the tables":
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()
    row = Provisioning.objects.get(tenant__slug=slug)
    assert row.status == ProvisioningStatus.RUNNING

    out = StringIO()
    call_command("provision_tenant", slug, stdout=out, verbosity=0)

    assert "is active" in out.getvalue()
    tenant = get_tenant(slug)
    with tenant_context(tenant):
        assert Role.objects.filter(builtin=True).count() == 5


@pytest.mark.slow
def test_many_grants_at_once_do_not_disturb_each_other(committed_acme: Tenant, committed_globex: Tenant) -> None:
    """They change the same catalogue rows: schema public and the tenant table."""

    def work(number: int) -> str:
        tenant = (committed_acme, committed_globex)[number % 2]
        try:
            for _ in range(5):
                ensure_role(tenant)
                ensure_schemas(tenant)
                grant_rights(tenant)
        except DatabaseError as error:
            return str(error)
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(8))) == {"done"}


@pytest.mark.slow
def test_tenants_are_provisioned_side_by_side(slugs: Callable[[str], str], manage: Any) -> None:
    names = [slugs("umbrella") for _ in range(3)]

    processes = [manage("provision_tenant", name, "-v0") for name in names]

    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert all(get_tenant(name).status == TenantStatus.ACTIVE for name in names)


@pytest.mark.slow
def test_second_process_finds_the_tenant_busy(slugs: Callable[[str], str]) -> None:
    tenant = provision_tenant(slugs("umbrella"), "Umbrella", actor=ACTOR)
    Provisioning.objects.filter(pk=tenant.pk).update(status="running")
    answers: list[Any] = []

    def other() -> None:
        try:
            continue_provisioning(tenant)
        except ProvisioningBusy as error:
            answers.append(error.code)
        provision_registered_tenant(str(tenant.pk))  # the task takes that for an answer
        connection.close()

    with schema_lock(tenant):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert answers == ["tenancy.provisioning_busy"]


def test_stalled_provisioning_is_rung_for_again(
    acme: Tenant, globex: Tenant, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    long_ago = now().replace(year=2020)
    Provisioning.objects.filter(pk=acme.pk).update(status="running", heartbeat_at=long_ago, attempts=1)
    Provisioning.objects.filter(pk=globex.pk).update(status="failed", heartbeat_at=long_ago, attempts=5)
    assert list_stalled_tenants() == [acme]

    sent: list[Any] = []
    monkeypatch.setattr(current_app, "send_task", lambda name, args: sent.append((name, args)))
    with django_capture_on_commit_callbacks(execute=True):
        assert resume_stalled_provisioning() == 1
    assert sent == [("tenancy.provision_tenant", [str(acme.pk)])]

    provision_registered_tenant(str(acme.pk))
    assert Provisioning.objects.get(pk=acme.pk).status == ProvisioningStatus.DONE


def test_command_reports_refusals_in_one_line(db: None) -> None:
    with pytest.raises(CommandError, match="is reserved"):
        call_command("provision_tenant", "admin", verbosity=0)


SHOW_SCOPE = """
from django.db import DatabaseError, connection
from apps.tenancy.services.context import require_tenant
tenant = require_tenant()
with connection.cursor() as cursor:
    cursor.execute("SELECT current_schema(), current_user")
    print(tenant.slug, *cursor.fetchone())
"""


def test_for_tenant_runs_a_command_inside_the_tenant(
    acme: Tenant, globex: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("for_tenant", "globex", "--", "shell", "--no-imports", "--command", SHOW_SCOPE)

    assert capsys.readouterr().out.split() == ["globex", globex.schema_name, globex.db_role]
    assert current_tenant() is None


def test_command_outside_a_tenant_is_refused(db: None) -> None:
    with pytest.raises(TenantContextMissing):
        call_command("shell", "--no-imports", "--command", SHOW_SCOPE)


def test_for_tenant_names_an_unknown_tenant(db: None) -> None:
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        call_command("for_tenant", "nobody", "--", "check")
    with pytest.raises(CommandError, match="Which command"):
        call_command("for_tenant", "nobody")


def test_served_tenant_cannot_be_dropped(acme: Tenant) -> None:
    with pytest.raises(TenantInUse):
        drop_tenant(acme, actor=ACTOR)
    with pytest.raises(CommandError, match="must repeat the slug"):
        call_command("drop_tenant", "acme", "--confirm", "acne")


@pytest.mark.slow
def test_dropped_tenant_leaves_nothing(slugs: Callable[[str], str]) -> None:
    slug = slugs("umbrella")
    tenant = provision_tenant(slug, "Umbrella", actor=ACTOR)
    with owner_context(tenant), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE extra (a int)")
    suspend_tenant(tenant, reason="over", actor=StaffMember("tester"))

    call_command("drop_tenant", slug, "--confirm", slug, stdout=StringIO())

    assert find_tenant(slug) is None
    with connection.cursor() as cursor:
        schemas = [tenant.schema_name, tenant.warehouse_schema]
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)", [schemas])
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", [tenant.db_role])
        assert cursor.fetchone() == (0,)

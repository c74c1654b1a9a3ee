"""What is done to tenants from outside leaves a trail that stays and cannot be rewritten."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client

from apps.access.contracts import Actor
from apps.access.models import User
from apps.access.services.members import update_member
from apps.tenancy.contracts import StaffMember
from apps.tenancy.models import PlatformAct, Tenant
from apps.tenancy.services.addresses import add_domain, remove_domain
from apps.tenancy.services.context import tenant_context
from apps.tenancy.services.tenants import rename_tenant, resume_tenant, suspend_tenant

GRACE = StaffMember("grace@platform.example")

pytestmark = pytest.mark.django_db


def trail() -> list[tuple[str, str]]:
    return list(PlatformAct.objects.filter(actor_name=GRACE.name).order_by("id").values_list("action", "target"))


def test_every_act_leaves_one_entry(acme: Tenant) -> None:
    suspend_tenant(acme, reason="unpaid", actor=GRACE)
    resume_tenant(acme, actor=GRACE)
    rename_tenant(acme, "Acme Industries", actor=GRACE)
    add_domain(acme, "data.acme.example", actor=GRACE)
    add_domain(acme, "data.acme.example", actor=GRACE)  # changes nothing
    add_domain(acme, "data.acme.example", primary=True, actor=GRACE)
    remove_domain(acme, "data.acme.example", actor=GRACE)
    remove_domain(acme, "data.acme.example", actor=GRACE)  # changes nothing

    assert trail() == [
        (f"tenant.{done}", "tenant:acme")
        for done in ("suspended", "resumed", "renamed", "domain_added", "domain_changed", "domain_removed")
    ]
    suspended = PlatformAct.objects.get(action="tenant.suspended", actor_name=GRACE.name)
    assert (suspended.summary, suspended.facts) == ("Suspended Acme", {"reason": "unpaid"})


def test_a_failed_change_leaves_none(acme: Tenant) -> None:
    with transaction.atomic():
        suspend_tenant(acme, reason="unpaid", actor=GRACE)
        transaction.set_rollback(True)
    assert trail() == []


@pytest.mark.parametrize("statement", ["UPDATE {} SET summary = ''", "DELETE FROM {}", "TRUNCATE {}"])
def test_entries_cannot_be_rewritten(acme: Tenant, statement: str) -> None:
    suspend_tenant(acme, reason="unpaid", actor=GRACE)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.format("tenancy_platformact"))


def test_a_tenant_cannot_read_them(acme: Tenant) -> None:
    with (
        tenant_context(acme),
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 FROM public.tenancy_platformact")


def test_changes_of_the_platforms_own_staff_are_there_too(db: None) -> None:
    User.objects.create_superuser("grace@platform.example", password="correct-horse-battery-staple")
    leaver = User.objects.create_superuser("leaver@platform.example", password="correct-horse-battery-staple")
    update_member(leaver.pk, is_active=False, actor=Actor.system("tests"))

    act = PlatformAct.objects.get(target=f"member:{leaver.pk}")
    assert act.actor_name == Actor.system("tests").name


def test_staff_reads_them_in_the_admin_and_cannot_change_them(acme: Tenant, client_for: Any) -> None:
    suspend_tenant(acme, reason="unpaid", actor=GRACE)
    resume_tenant(acme, actor=GRACE)
    staff = Client(HTTP_HOST="localhost")
    staff.force_login(User.objects.create_superuser("grace@platform.example", password="x"))
    act = PlatformAct.objects.get(action="tenant.suspended", actor_name=GRACE.name)

    listed = staff.get("/admin/tenancy/platformact/")
    assert "Suspended Acme" in listed.content.decode()
    assert staff.post(f"/admin/tenancy/platformact/{act.pk}/change/", {"summary": "x"}).status_code == 403
    assert staff.post(f"/admin/tenancy/platformact/{act.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client_for(acme).get("/admin/tenancy/platformact/").status_code == 403

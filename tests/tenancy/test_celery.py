"""Celery messages name their tenant, or fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app, shared_task
from celery.contrib.testing.worker import start_worker
from celery.signals import task_postrun
from django.core.cache import cache
from django.db import connection

from apps.access.models import Role
from apps.tenancy.celery import TenantTask
from apps.tenancy.contracts import StaffMember
from apps.tenancy.exceptions import TenantContextMissing, TenantNotFound
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import current_tenant, require_tenant, tenant_context
from apps.tenancy.services.tenants import resume_tenant, suspend_tenant


@shared_task(base=TenantTask, name="tests.whoami", bind=True, max_retries=3)
def whoami(self: Any, answer_key: str, fail_times: int = 0) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user")
        schema, role = cursor.fetchone()
    answer = f"{require_tenant().slug}/{schema}/{role}/{Role.objects.filter(builtin=True).count()}"
    if self.request.retries < fail_times:
        raise self.retry(countdown=0)
    cache.set(answer_key, answer, 60)
    return answer


def expected(tenant: Tenant) -> str:
    return f"{tenant.slug}/{tenant.schema_name}/{tenant.db_role}/5"


def test_sending_without_a_tenant_fails_at_the_sender() -> None:
    for send in (whoami.delay, whoami.apply_async):
        with pytest.raises(TenantContextMissing, match=r"tests\.whoami was sent without a tenant"):
            send("k")


def test_message_without_a_tenant_fails_at_the_worker(db: None) -> None:
    result = whoami.apply(args=["k"])
    assert isinstance(result.result, TenantContextMissing)


def test_message_of_an_unknown_tenant_fails(db: None) -> None:
    result = whoami.apply(args=["k"], headers={"tenant_id": str(uuid4())})
    assert isinstance(result.result, TenantNotFound)


def test_message_of_a_suspended_tenant_is_dropped_until_it_is_resumed(acme: Tenant) -> None:
    def run() -> object:
        return whoami.apply(args=["k"], headers={"tenant_id": str(acme.id)}).result

    suspend_tenant(acme, reason="unpaid", actor=StaffMember("tester"))
    assert run() is None
    resume_tenant(acme, actor=StaffMember("tester"))
    assert run() == expected(acme)


def test_message_runs_in_its_tenant_and_leaves_it(acme: Tenant, globex: Tenant) -> None:
    for tenant in (acme, globex, acme):
        result = whoami.apply(args=["k"], headers={"tenant_id": str(tenant.id)})
        assert result.result == expected(tenant)
        assert current_tenant() is None


def test_message_wins_over_the_callers_scope(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(globex):
        result = whoami.apply(args=["k"], headers={"tenant_id": str(acme.id)})
        assert current_tenant() == globex
    assert result.result == expected(acme)


def test_direct_call_needs_an_entered_tenant(acme: Tenant) -> None:
    with pytest.raises(TenantContextMissing):
        whoami("k")
    with tenant_context(acme):
        assert whoami("k") == expected(acme)


def test_signature_carries_the_tenant(acme: Tenant) -> None:
    assert whoami.signature_for(acme, "k").options["headers"] == {"tenant_id": str(acme.id)}


@pytest.fixture
def worker(committed_db: None) -> Iterator[None]:
    """A real worker on the real broker, in a thread of this process."""

    def close_connection(**_kwargs: object) -> None:
        connection.close()  # the thread's own; nobody else can close it

    task_postrun.connect(close_connection)
    try:
        with start_worker(
            current_app, pool="solo", perform_ping_check=False, queues=["tenancy-tests"], shutdown_timeout=20
        ):
            yield
    finally:
        task_postrun.disconnect(close_connection)


def wait_for(key: str) -> Any:
    import time

    for _ in range(200):
        answer = cache.get(key)
        if answer is not None:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"no answer for {key}")


def test_real_worker_alternates_tenants_and_keeps_the_header_over_retries(
    committed_acme: Tenant, committed_globex: Tenant, worker: None, unique: Any
) -> None:
    sent = []
    for number in range(10):
        tenant = (committed_acme, committed_globex)[number % 2]
        key = unique("answer")
        with tenant_context(tenant):
            sent.append((tenant, key))
        whoami.apply_for(tenant, args=[key], kwargs={"fail_times": number % 3}, queue="tenancy-tests")

    for tenant, key in sent:
        with tenant_context(tenant):  # the worker writes to the tenant's own part of the cache
            assert wait_for(key) == expected(tenant)

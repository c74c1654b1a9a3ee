"""The tenant scope: explicit everywhere, and never somebody else's."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.db.utils import ProgrammingError

from apps.access.models import Role, User
from apps.tenancy.backend.base import DatabaseWrapper
from apps.tenancy.contracts import Scope, current_scope
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.models import Tenant, TenantModel
from apps.tenancy.services.context import (
    current_tenant,
    each_tenant,
    owner_context,
    public_context,
    require_tenant,
    tenant_context,
)


class Note(TenantModel):
    """A tenant's table that exists in this test only; no query may get as far as the database."""

    text = models.CharField(max_length=10)

    class Meta(TenantModel.Meta):
        app_label = "tenancy_tests"


def whoami() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user")
        return cursor.fetchone()


def test_context_sets_schema_and_role_and_leaves_again(acme: Tenant) -> None:
    login = whoami()

    with tenant_context(acme):
        assert whoami() == (acme.schema_name, acme.db_role)
        assert current_tenant() == acme

    assert whoami() == login == ("public", login[1])
    assert current_tenant() is None


def test_contexts_nest(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(acme):
        with tenant_context(globex):
            assert whoami()[0] == globex.schema_name
            with public_context():
                assert whoami()[0] == "public"
            assert whoami()[0] == globex.schema_name
        assert whoami() == (acme.schema_name, acme.db_role)


def test_context_is_left_when_the_body_fails(acme: Tenant) -> None:
    with pytest.raises(RuntimeError), tenant_context(acme):
        raise RuntimeError
    assert current_tenant() is None


def test_require_tenant_refuses_the_public_schema(db: None) -> None:
    with pytest.raises(TenantContextMissing) as caught:
        require_tenant()
    assert caught.value.code == "tenancy.context_missing"


@pytest.mark.parametrize(
    "query",
    [
        lambda: list(Note.objects.all()),
        lambda: Note.objects.first(),
        lambda: Note.objects.get(text="a"),
        lambda: Note.objects.count(),
        lambda: Note.objects.exists(),
        lambda: Note.objects.aggregate(models.Count("id")),
        lambda: list(Note.objects.values_list("text").iterator()),
        lambda: Note.objects.create(text="a"),
        lambda: Note(text="a").save(),
        lambda: Note.objects.bulk_create([Note(text="a")]),
        lambda: Note.objects.get_or_create(text="a"),
        lambda: Note.objects.filter(text="a").update(text="b"),
        lambda: Note.objects.filter(text="a").delete(),
        lambda: Note(text="a").delete(),
        lambda: list(Note.objects.raw("SELECT 1")),
        lambda: Note.objects.explain(),
    ],
)
def test_tenant_models_refuse_every_query_in_public(db: None, query: Any) -> None:
    with pytest.raises(TenantContextMissing):
        query()


def test_building_a_query_outside_a_tenant_is_allowed() -> None:
    assert "tenancy_tests_note" in str(Note.objects.filter(text="a").order_by("id").query)


def test_set_schema_of_django_tenants_gets_the_role_too(acme: Tenant) -> None:
    try:
        connection.set_schema(acme.schema_name)
        assert whoami() == (acme.schema_name, acme.db_role)
    finally:
        connection.set_schema_to_public()


@pytest.mark.parametrize(
    "name", ["t-acme", 't"; drop', "pg catalog", "T_acme", "", "a" * 42, "t_acme, public", "t_é", "t_acme\n"]
)
def test_scope_refuses_names_that_are_no_plain_identifiers(name: str) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        Scope(name)
    with pytest.raises(ValueError, match="Invalid"):
        Scope("t_acme", role=name.ljust(64, "a") if name.isalpha() else name)


def test_owner_context_keeps_the_login_role(acme: Tenant) -> None:
    login = whoami()[1]
    with owner_context(acme):
        assert whoami() == (acme.schema_name, login)


def test_rollback_returns_session_and_next_query_is_right(acme: Tenant) -> None:
    def work() -> None:
        with transaction.atomic():
            with public_context():
                assert whoami()[0] == "public"
            assert whoami() == (acme.schema_name, acme.db_role)
            raise RuntimeError

    with tenant_context(acme):
        with pytest.raises(RuntimeError):
            work()
        assert whoami() == (acme.schema_name, acme.db_role)


def test_savepoint_rollback_does_not_leave_the_inner_tenant(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(acme), transaction.atomic():
        with tenant_context(globex):
            sid = transaction.savepoint()
            with tenant_context(acme):
                whoami()
            transaction.savepoint_rollback(sid)
            assert whoami() == (globex.schema_name, globex.db_role)
        assert whoami() == (acme.schema_name, acme.db_role)


def test_failed_statement_inside_savepoint_keeps_tenant(acme: Tenant, globex: Tenant) -> None:
    def work() -> None:
        with transaction.atomic(), connection.cursor() as cursor, tenant_context(globex):
            cursor.execute("SELECT * FROM no_such_table")

    with tenant_context(acme):
        with pytest.raises(ProgrammingError, match="does not exist"):
            work()
        assert whoami() == (acme.schema_name, acme.db_role)


def test_switch_costs_one_statement_and_only_when_it_changes(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    switches: list[Any] = []
    switch = connection._switch
    monkeypatch.setattr(connection, "_switch", lambda wanted: (switches.append(wanted), switch(wanted)))

    whoami()
    switches.clear()
    with tenant_context(acme):
        for _ in range(5):
            whoami()
    with tenant_context(acme):
        whoami()

    assert switches == [(f"{acme.schema_name}, public", acme.db_role)]


def test_switches_do_not_count_as_queries(acme: Tenant, globex: Tenant, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        for tenant in (acme, globex):
            with tenant_context(tenant):
                Role.objects.count()


def test_server_side_cursor_reads_the_entered_tenant(acme: Tenant) -> None:
    with tenant_context(acme), transaction.atomic():
        assert Role.objects.iterator(chunk_size=2).__next__().builtin is True


def test_content_type_cache_is_per_schema(acme: Tenant, globex: Tenant) -> None:
    with tenant_context(acme):
        ContentType.objects.bulk_create([ContentType(app_label="x", model=str(number)) for number in range(5)])
        of_acme = ContentType.objects.get_for_model(Note).id
    with tenant_context(globex):
        of_globex = ContentType.objects.get_for_model(Note).id
        assert ContentType.objects.get(app_label="tenancy_tests", model="note").id == of_globex
    with tenant_context(acme):
        assert ContentType.objects.get_for_model(Note).id == of_acme != of_globex
        ContentType.objects.clear_cache()


def test_each_tenant_enters_one_after_the_other(acme: Tenant, globex: Tenant) -> None:
    seen = {tenant.slug: whoami()[0] for tenant in each_tenant()}

    assert seen["acme"] == acme.schema_name
    assert seen["globex"] == globex.schema_name
    assert current_tenant() is None


def test_leaving_the_loop_early_leaves_the_tenant(acme: Tenant) -> None:
    for _ in each_tenant():
        break
    assert current_tenant() is None

    def fail() -> None:
        for _ in each_tenant():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert current_tenant() is None


def test_bare_thread_starts_in_public(acme: Tenant) -> None:
    seen: list[bool] = []
    with tenant_context(acme):
        thread = threading.Thread(target=lambda: seen.append(current_scope.get().is_public))
        thread.start()
        thread.join()
    assert seen == [True]


def test_reconnect_keeps_the_tenant(committed_acme: Tenant) -> None:
    with tenant_context(committed_acme):
        assert whoami()[0] == committed_acme.schema_name
        connection.close()
        assert whoami() == (committed_acme.schema_name, committed_acme.db_role)


def test_pooled_session_forgets_the_last_tenant(committed_acme: Tenant, committed_globex: Tenant) -> None:
    """With a pool, a session comes back with the role that its last user set."""
    options = {**connection.settings_dict["OPTIONS"], "pool": {"min_size": 1, "max_size": 1}}
    settings = {**connection.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}
    pooled = DatabaseWrapper(settings, alias="pooled")

    def ask() -> tuple[str, str, int]:
        with pooled.cursor() as cursor:
            cursor.execute("SELECT current_schema(), current_user, pg_backend_pid()")
            return cursor.fetchone()

    try:
        seen = []
        for tenant in (committed_acme, None, committed_globex, committed_acme):
            with tenant_context(tenant) if tenant else public_context():
                seen.append((tenant, ask()))
            pooled.close()
        assert len({pid for _, (_, _, pid) in seen}) == 1
        for tenant, (schema, role, _) in seen:
            assert (schema, role) == ((tenant.schema_name, tenant.db_role) if tenant else ("public", whoami()[1]))
    finally:
        pooled.close()
        pooled.close_pool()


def test_64_threads_never_read_another_tenant(committed_acme: Tenant, committed_globex: Tenant) -> None:
    tenants = [committed_acme, committed_globex]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(25):
                tenant = dice.choice(tenants)
                try:
                    with tenant_context(tenant):
                        if dice.random() < 0.3:
                            with transaction.atomic():
                                User.objects.count()
                                if dice.random() < 0.5:
                                    raise RuntimeError
                        if whoami() != (tenant.schema_name, tenant.db_role):
                            wrong.append((tenant.slug, whoami()))
                except RuntimeError:
                    if whoami()[0] != "public":
                        wrong.append(("public", whoami()))
        finally:
            connection.close()

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert wrong == []


@pytest.mark.asyncio
async def test_64_async_tasks_never_read_another_tenant(
    committed_acme: Tenant, committed_globex: Tenant, django_db_blocker: Any
) -> None:
    tenants = [committed_acme, committed_globex]

    def ask() -> tuple[str, str]:
        # In any thread of the pool, with whatever session the thread has from its last task.
        with django_db_blocker.unblock():
            try:
                return whoami()
            finally:
                connection.close()

    async def work(number: int) -> bool:
        tenant = tenants[number % 2]
        right = True
        with tenant_context(tenant):
            for _ in range(4):
                right &= await sync_to_async(ask, thread_sensitive=False)() == (tenant.schema_name, tenant.db_role)
                await asyncio.sleep(0)
        return right

    assert all(await asyncio.gather(*[work(number) for number in range(64)]))

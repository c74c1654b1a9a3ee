"""The second fence: what PostgreSQL itself refuses, whatever the application asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.utils import DataError, OperationalError, ProgrammingError

from apps.tenancy.exceptions import DatabaseRightsMissing
from apps.tenancy.models import Tenant
from apps.tenancy.registries import table_rights
from apps.tenancy.services.context import owner_context, public_context, tenant_context
from apps.tenancy.services.database_roles import ensure_role, grant_rights


def run(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def refused(sql: str) -> str:
    """Runs a statement in a savepoint and returns why it was refused."""
    from django.db import transaction

    with pytest.raises(ProgrammingError) as caught, transaction.atomic():
        run(sql)
    return str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t_globex.access_user",
        "INSERT INTO t_globex.access_role (id) VALUES (gen_random_uuid())",
        "SELECT * FROM w_globex.anything",
        "CREATE TABLE t_globex.mine (a int)",
        "CREATE TABLE w_globex.mine (a int)",
        "SELECT * FROM public.access_user",
        "SELECT * FROM public.django_session",
        "SELECT * FROM public.tenancy_provisioning",
        "SELECT * FROM public.tenancy_schemaledger",
        "UPDATE public.tenancy_tenant SET name = 'mine'",
        "DELETE FROM public.tenancy_domain",
        "CREATE TABLE public.mine (a int)",
        "CREATE TABLE t_acme.mine (a int)",
        "DROP TABLE t_acme.access_user",
        "TRUNCATE t_acme.access_user",
        "UPDATE t_acme.django_migrations SET name = 'x'",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "SELECT * FROM pg_authid",
    ],
)
def test_tenant_role_is_refused(globex: Tenant, as_acme: Tenant, sql: str) -> None:
    answer = refused(sql)
    assert "permission denied" in answer or "must be owner" in answer


def test_tenant_role_works_in_its_own_schema(as_acme: Tenant) -> None:
    assert run("SELECT count(*) FROM access_role")[0][0] >= 5
    run("UPDATE access_role SET name = name")
    run("INSERT INTO django_content_type (app_label, model) VALUES ('a', 'b')")
    run("CREATE TABLE w_acme.facts (a int)")
    run("INSERT INTO w_acme.facts VALUES (1)")
    run("DROP TABLE w_acme.facts")


def test_tenant_role_sees_its_own_tenant_row_only(globex: Tenant, as_acme: Tenant) -> None:
    assert [tenant.slug for tenant in Tenant.objects.all()] == ["acme"]
    assert run("SELECT count(*) FROM public.tenancy_domain WHERE domain = 'globex.localhost'") == [(0,)]
    with public_context():
        assert {"acme", "globex"} <= {tenant.slug for tenant in Tenant.objects.all()}


def test_login_role_does_not_inherit_tenants_rights(acme: Tenant) -> None:
    rows = run(
        "SELECT m.inherit_option, m.set_option FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid "
        f"JOIN pg_roles u ON u.oid = m.member WHERE r.rolname = '{acme.db_role}' AND u.rolname = session_user"
    )
    assert rows
    assert not any(inherits for inherits, _ in rows)
    assert any(may_set for _, may_set in rows)


def test_tenant_role_cannot_log_in(acme: Tenant) -> None:
    assert run(f"SELECT rolcanlogin, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = '{acme.db_role}'") == [
        (False, False, False)
    ]


def test_new_tables_of_a_migration_are_usable_at_once(acme: Tenant) -> None:
    with owner_context(acme):
        run("CREATE TABLE later (id serial PRIMARY KEY, a int)")
    with tenant_context(acme):
        run("INSERT INTO later (a) VALUES (1)")
        assert run("SELECT id, a FROM later") == [(1, 1)]


def test_append_only_table_cannot_be_changed_by_the_tenant(acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table_rights, "chronicle", ("SELECT", "INSERT"))
    with owner_context(acme):
        run("CREATE TABLE chronicle (a int)")
    grant_rights(acme)

    with tenant_context(acme):
        run("INSERT INTO chronicle VALUES (1)")
        assert "permission denied" in refused("UPDATE chronicle SET a = 2")
        assert "permission denied" in refused("DELETE FROM chronicle")


def test_missing_role_is_refused_not_ignored(acme: Tenant) -> None:
    acme.db_role = "r_nobody"
    with pytest.raises((DataError, ProgrammingError, OperationalError), match="r_nobody"), tenant_context(acme):
        run("SELECT 1")


class WeakLogin:
    """A database user without rights that the connection logs in as."""

    password = "weak but long enough"

    def __init__(self, name: str, usual: tuple[str, str]) -> None:
        self.name = name
        self._usual = usual

    def as_usual(self, *statements: str) -> None:
        """Runs statements as the portal's own user."""
        self._log_in(*self._usual)
        for statement in statements:
            run(statement)
        self._log_in(self.name, self.password)

    def log_out(self) -> None:
        """The connection logs in as usual again."""
        self._log_in(*self._usual)

    def _log_in(self, user: str, password: str) -> None:
        connection.close()
        connection.settings_dict.update(USER=user, PASSWORD=password)


@pytest.fixture
def weak_login(committed_acme: Tenant) -> Iterator[WeakLogin]:
    usual = (connection.settings_dict["USER"], connection.settings_dict["PASSWORD"])
    login = WeakLogin(f"weak_{committed_acme.db_role}", usual)
    login.as_usual(f"CREATE ROLE {login.name} LOGIN PASSWORD '{login.password}'")
    yield login
    login.as_usual(
        f"REVOKE ALL ON DATABASE {connection.settings_dict['NAME']} FROM {login.name}", f"DROP ROLE {login.name}"
    )
    login.log_out()


def test_database_user_without_rights_gets_one_clear_error_at_a_time(
    weak_login: WeakLogin,
) -> None:
    stranger = Tenant(slug="weakling", schema_name="t_weakling", db_role="r_weakling", warehouse_schema="w_weakling")
    database = connection.settings_dict["NAME"]

    with pytest.raises(DatabaseRightsMissing, match=f"{weak_login.name} may not create roles") as caught:
        ensure_role(stranger)
    assert f'ALTER ROLE "{weak_login.name}" CREATEROLE' in (caught.value.remedy or "")

    weak_login.as_usual(f"ALTER ROLE {weak_login.name} CREATEROLE")
    with pytest.raises(DatabaseRightsMissing, match="may not create schemas") as caught:
        ensure_role(stranger)
    assert f'GRANT CREATE ON DATABASE "{database}" TO "{weak_login.name}"' in (caught.value.remedy or "")

    weak_login.as_usual(f"GRANT CREATE ON DATABASE {database} TO {weak_login.name}")
    with pytest.raises(DatabaseRightsMissing, match="may not create tables in schema public"):
        ensure_role(stranger)


def test_migrating_with_a_weak_user_names_the_remedy(weak_login: WeakLogin) -> None:
    with pytest.raises(CommandError, match=r"may not create roles.*ALTER ROLE"):
        call_command("migrate_tenants", force=True, verbosity=0)


def test_granting_twice_changes_nothing(acme: Tenant) -> None:
    before = run(f"SELECT nspacl::text FROM pg_namespace WHERE nspname = '{acme.schema_name}'")
    ensure_role(acme)
    grant_rights(acme)
    assert run(f"SELECT nspacl::text FROM pg_namespace WHERE nspname = '{acme.schema_name}'") == before


def test_two_databases_of_one_server_use_different_roles(acme: Tenant) -> None:
    from apps.tenancy.contracts import role_name_for

    assert role_name_for("portal", "t_acme") != role_name_for("portal_test", "t_acme")
    assert acme.db_role == role_name_for(connection.settings_dict["NAME"], "t_acme")

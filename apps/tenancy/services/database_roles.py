"""The second fence: schemas, a database role per tenant, and exactly the rights it needs.

A wrong search path or a forgotten filter then meets "permission denied" instead of another tenant's rows. All functions
are idempotent and run as the login role, which owns every schema and table; the tenant's role owns only its warehouse
schema, where the warehouse connector makes tables.
"""

from __future__ import annotations

from django.db import connection, transaction
from psycopg import sql

from apps.tenancy.exceptions import DatabaseRightsMissing
from apps.tenancy.models import Domain, Tenant
from apps.tenancy.registries import table_rights
from apps.tenancy.services.context import public_context

__all__ = ["check_database_rights", "drop_schemas_and_role", "ensure_role", "ensure_schemas", "grant_rights"]

MIN_SERVER_VERSION = 160000
READABLE_IN_PUBLIC = (Tenant._meta.db_table, Domain._meta.db_table)
ALL_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def _execute(statement: str, *names: str) -> None:
    """Run one statement with its `{}` filled by quoted identifiers."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*[sql.Identifier(name) for name in names]))


def _scalar(query: str, params: list[str]) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        row = cursor.fetchone()
    return row[0] if row else None


def _one_at_a_time() -> None:
    """Until the transaction ends, nobody else changes roles and grants.

    Grants of two tenants change the same catalogue rows (schema public, table tenancy_tenant), which PostgreSQL answers
    with "tuple concurrently updated".
    """
    _scalar("SELECT pg_advisory_xact_lock(hashtext('tenancy.roles'))", [])


def check_database_rights() -> None:
    """Refuse a database user with which tenants could not be made, before anything is half made.

    Raises:
        DatabaseRightsMissing: names the first missing right and the statement that grants it.
    """
    with public_context(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT session_user, current_database(), current_setting('server_version_num')::int, "
            "rolcreaterole OR rolsuper, has_database_privilege(current_database(), 'CREATE'), "
            "has_schema_privilege('public', 'CREATE') FROM pg_roles WHERE rolname = session_user"
        )
        login, database, version, may_make_roles, may_make_schemas, may_make_tables = cursor.fetchone()
    if version < MIN_SERVER_VERSION:
        raise DatabaseRightsMissing(
            f"PostgreSQL {version // 10_000} is too old; tenants need 16 or newer.",
            remedy="Upgrade the database server.",
        )
    for allowed, what, statement in (
        (may_make_roles, "create roles", f'ALTER ROLE "{login}" CREATEROLE'),
        (may_make_schemas, "create schemas", f'GRANT CREATE ON DATABASE "{database}" TO "{login}"'),
        (may_make_tables, "create tables in schema public", f'GRANT CREATE, USAGE ON SCHEMA public TO "{login}"'),
    ):
        if not allowed:
            raise DatabaseRightsMissing(
                f"The database user {login} may not {what}.",
                remedy=f"As the database's administrator run: {statement}; then start again.",
            )


def ensure_role(tenant: Tenant) -> None:
    """Make the tenant's role and let the login role switch to it without inheriting its rights.

    Raises:
        DatabaseRightsMissing: the login role may not do that.
    """
    check_database_rights()
    with public_context(), transaction.atomic():
        _one_at_a_time()
        _make_role(tenant.db_role)


def _make_role(role: str) -> None:
    if _scalar("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]) is None:
        _execute("CREATE ROLE {} NOLOGIN NOINHERIT", role)
    granted = _scalar(
        "SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member "
        "WHERE r.rolname = %s AND u.rolname = session_user AND m.set_option AND NOT m.inherit_option "
        "AND NOT EXISTS (SELECT 1 FROM pg_auth_members o WHERE o.roleid = m.roleid AND o.member = m.member "
        "AND o.inherit_option)",
        [role],
    )
    if granted is None:
        _execute("GRANT {} TO SESSION_USER WITH SET TRUE, INHERIT FALSE", role)


def ensure_schemas(tenant: Tenant) -> None:
    """Make the tenant's two schemas, and close the public one to everybody but its owner."""
    with public_context(), transaction.atomic():
        _one_at_a_time()
        _execute("CREATE SCHEMA IF NOT EXISTS {}", tenant.schema_name)
        if _scalar("SELECT 1 FROM pg_namespace WHERE nspname = %s", [tenant.warehouse_schema]) is None:
            # Needs the SET right on the role that `ensure_role` granted.
            _execute("CREATE SCHEMA {} AUTHORIZATION {}", tenant.warehouse_schema, tenant.db_role)
        # On a server that somebody else set up, the login role may not own `public`; its tables are closed anyway.
        if _scalar(
            "SELECT pg_has_role(session_user, nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'", []
        ):
            _execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")


def grant_rights(tenant: Tenant) -> None:
    """Give the tenant's role its rights on its own tables, now and for tables that migrations add later."""
    schema, role = tenant.schema_name, tenant.db_role
    with public_context(), transaction.atomic():
        _one_at_a_time()
        _execute("REVOKE ALL ON SCHEMA {} FROM PUBLIC", schema)
        _execute("GRANT USAGE ON SCHEMA {} TO {}", schema, role)
        _execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}", schema, role)
        _execute("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}", schema, role)
        later = "ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT"
        _execute(f"{later} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {{}}", schema, role)
        _execute(f"{later} USAGE, SELECT ON SEQUENCES TO {{}}", schema, role)
        for table, rights in table_rights.items():
            if _scalar("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))", [schema, table]) is None:
                continue
            for right in ALL_RIGHTS:
                if right not in rights:
                    _execute(f"REVOKE {right} ON {{}}.{{}} FROM {{}}", schema, table, role)
        _execute("GRANT USAGE ON SCHEMA public TO {}", role)
        for table in READABLE_IN_PUBLIC:
            _execute("GRANT SELECT ON public.{} TO {}", table, role)


def drop_schemas_and_role(tenant: Tenant) -> None:
    """Remove everything a tenant has in the database. There is no way back; for tests and a failed provisioning."""
    with public_context(), transaction.atomic():
        _one_at_a_time()
        if _scalar("SELECT 1 FROM pg_roles WHERE rolname = %s", [tenant.db_role]) is not None:
            # Dropping what the role owns needs the role's own rights.
            _execute("SET LOCAL ROLE {}", tenant.db_role)
            _execute("DROP SCHEMA IF EXISTS {} CASCADE", tenant.warehouse_schema)
            _execute("RESET ROLE")
            _execute("DROP SCHEMA IF EXISTS {} CASCADE", tenant.schema_name)
            for table in READABLE_IN_PUBLIC:
                _execute("REVOKE ALL ON public.{} FROM {}", table, tenant.db_role)
            _execute("REVOKE ALL ON SCHEMA public FROM {}", tenant.db_role)
            _execute("DROP ROLE {}", tenant.db_role)

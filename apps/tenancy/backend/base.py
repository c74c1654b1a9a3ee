"""PostgreSQL backend that follows the tenant scope: search path and database role change together, in one statement.

The scope lives in a context variable (`apps.tenancy.contracts.current_scope`), not on the connection. Each cursor
compares what the session was last told with what the scope wants and speaks to the server only when they differ, on a
raw cursor, so the switch neither counts as a query of the view nor shows in its query log.
"""

from __future__ import annotations

from typing import Any

import django_tenants.postgresql_backend.base as upstream
from psycopg.pq import TransactionStatus

from apps.tenancy.contracts import PUBLIC, PUBLIC_SCHEMA, Scope, current_scope, role_name_for

SWITCH = "SELECT set_config('search_path', %s, false), set_config('role', %s, false)"


class DatabaseWrapper(upstream.DatabaseWrapper):
    """django-tenants' connection with the scope as its only truth and a role per tenant."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The base class announces "public" while it is built; a connection that is opened inside a tenant (each
        # thread has its own) must not leave it.
        self._built = False
        self.search_path_set_schemas: tuple[str, str | None] | None = None
        super().__init__(*args, **kwargs)
        self._built = True

    # -- django-tenants' public API, mapped onto the scope ------------------------------------------------------------

    @property
    def tenant(self) -> Any:
        """Tenant of the current scope; in public a stand-in that knows its schema's name, as django-tenants has it."""
        scope = current_scope.get()
        return scope.tenant or upstream.FakeTenant(scope.schema_name)

    @tenant.setter
    def tenant(self, _value: Any) -> None:
        """Assigned by the base class only; the scope decides."""

    @property
    def schema_name(self) -> str:
        """Schema of the current scope."""
        return current_scope.get().schema_name

    @schema_name.setter
    def schema_name(self, _value: str | None) -> None:
        """Assigned by the base class only; the scope decides."""

    def set_tenant(self, tenant: Any, include_public: bool = True) -> None:
        """Enter a tenant until the next change. Prefer `tenant_context`, which leaves again."""
        if not self._built:
            return
        schema_name = tenant.schema_name
        if schema_name == PUBLIC_SCHEMA:
            current_scope.set(PUBLIC)
            return
        # A schema that is named without its row still gets its role: no path to a tenant's data keeps the login role.
        role = getattr(tenant, "db_role", None) or role_name_for(self.settings_dict["NAME"], schema_name)
        current_scope.set(Scope(schema_name, role, tenant, include_public))

    # -- session state ------------------------------------------------------------------------------------------------

    def init_connection_state(self) -> None:
        """A new or pooled session: nothing is known about its path and role."""
        self.search_path_set_schemas = None
        super().init_connection_state()

    def _commit(self) -> Any:
        try:
            return super()._commit()
        except BaseException:
            # A commit that fails (deferred constraint) is a rollback, which takes the SET with it.
            self.search_path_set_schemas = None
            raise

    def _cursor(self, name: str | None = None) -> Any:
        self.ensure_connection()
        wanted = current_scope.get().session
        if self.search_path_set_schemas != wanted:
            self._switch(wanted)
        # Past django-tenants' own _cursor(), which would set the path on every cursor.
        return super(upstream.DatabaseWrapper, self)._cursor(name=name)

    def _switch(self, wanted: tuple[str, str | None]) -> None:
        if self.connection.info.transaction_status == TransactionStatus.INERROR:
            # Only a rollback can follow, and it reverts the session anyway.
            self.search_path_set_schemas = None
            return
        path, role = wanted
        login_role = self.settings_dict.get("OPTIONS", {}).get("assume_role") or "none"
        with self.wrap_database_errors, self.connection.cursor() as cursor:
            self.search_path_set_schemas = None
            cursor.execute(SWITCH, [path, role or login_role])
        self.search_path_set_schemas = wanted

"""The tenant's analytics schema. The operator's address, the tenant's role: the role is the fence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.connectors.base import CheckRun
from apps.connectors.contracts import CheckResult
from apps.connectors.exceptions import ConfigInvalid, ConnectorFailed
from apps.connectors.sql.connector import SqlConnector
from apps.connectors.sql.endpoint import Endpoint


class WarehouseConnector(SqlConnector):
    """Reads and writes the tenant's analytics schema; entities are table names without a schema."""

    qualify = False

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Take the tenant's schema and role from the context; there is nothing a user could point elsewhere.

        Raises:
            ConfigInvalid: there is no tenant, so there is no warehouse.
        """
        del secrets
        context = self.context
        if not context.warehouse_url or not context.warehouse_schema or not context.warehouse_role:
            raise ConfigInvalid("The warehouse belongs to a tenant; there is none here.")
        self.config = dict(config)
        self.default_schema = self.only_schema = context.warehouse_schema
        self.endpoint = Endpoint.from_url(
            context.warehouse_url,
            role=context.warehouse_role,
            search_path=context.warehouse_schema,
            application=f"portal {context.purpose}".strip(),
            connect_timeout_s=context.connect_timeout_s,
            statement_timeout_s=context.bound_statement_s(float(config.get("statement_timeout_s") or 0)),
        )

    def check(self) -> CheckResult:
        """Sign in as the tenant's role, and see that it may create tables in its schema."""
        run = CheckRun()

        def log_in() -> str:
            row = self._control().execute("SELECT current_setting('server_version')").fetchone()
            return f"Signed in to PostgreSQL {row[0] if row else ''}."

        def write() -> str:
            row = (
                self._control()
                .execute("SELECT has_schema_privilege(%s, 'USAGE, CREATE')", (self.context.warehouse_schema,))
                .fetchone()
            )
            if row is None or not row[0]:
                raise ConnectorFailed(
                    f"The schema {self.context.warehouse_schema} is not writable.",
                    remedy="Ask the operator to provision the tenant again.",
                )
            return "Tables can be created."

        run.step("Sign in", log_in)
        run.step("Write tables", write)
        return run.result("The warehouse is ready.")


CONNECTOR = WarehouseConnector

"""A PostgreSQL database anywhere the egress guard allows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.connectors.base import CheckRun
from apps.connectors.capture.source import ChangeSource
from apps.connectors.contracts import CheckResult
from apps.connectors.exceptions import EntityGone
from apps.connectors.sql import discovery
from apps.connectors.sql.connector import SqlConnector
from apps.connectors.sql.endpoint import Endpoint
from apps.connectors.sql.errors import translated
from apps.core.services import egress

PURPOSE = "PostgreSQL server"


class PostgresConnector(SqlConnector):
    """Reads and writes a foreign PostgreSQL database; entities are named `schema.table`."""

    def __init__(self, *args: Any) -> None:
        """Not connected yet."""
        super().__init__(*args)
        self._password = ""
        self._certificate: Path | None = None

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Check the address and take the settings; sessions open when they are needed.

        Raises:
            EgressDenied, HostUnresolved: the address may not be used.
        """
        self._take(config, secrets)
        target = egress.resolve_target(str(config["host"]), int(config.get("port") or 5432), purpose=PURPOSE)
        self.endpoint = self._endpoint(target)

    def disconnect(self) -> None:
        """Close the session and forget the certificate file."""
        super().disconnect()
        if self._certificate is not None:
            self._certificate.unlink(missing_ok=True)
            self._certificate = None

    def check(self) -> CheckResult:
        """Name, reachability, log-in, encryption, read rights: the first that fails says what to do."""
        run = CheckRun()
        found: dict[str, Any] = {}

        def resolve() -> str:
            host, port = str(self.config["host"]), int(self.config.get("port") or 5432)
            found["target"] = egress.resolve_target(host, port, purpose=PURPOSE)
            return f"{host} is {found['target'].ip}."

        def reach() -> str:
            egress.probe(found["target"], timeout_s=float(self.config.get("connect_timeout_s") or 10))
            return f"Port {found['target'].port} answers."

        def log_in() -> str:
            self.endpoint = self._endpoint(found["target"])
            session = self._control()
            row = session.execute("SELECT current_setting('server_version'), current_database()").fetchone()
            tls = "encrypted" if session.pgconn.ssl_in_use else "not encrypted"
            return f"Signed in to {row[1]} on PostgreSQL {row[0]}, {tls}." if row else "Signed in."

        def see() -> str:
            with translated():
                page = discovery.list_entities(
                    self._control(), schema=self.only_schema, search="", cursor=None, limit=1, qualify=True
                )
            if not page.entities:
                where = f"schema {self.only_schema}" if self.only_schema else "any schema"
                raise EntityGone(
                    f"The user can read no table in {where}.",
                    field="user",
                    remedy="Grant USAGE on a schema and SELECT on its tables, or check the schema's name.",
                )
            return "Tables are readable."

        run.step("Find the host", resolve)
        run.step("Reach the port", reach)
        run.step("Sign in", log_in)
        run.step("Read tables", see)
        return run.result("The connection works.")

    def change_source(self) -> ChangeSource:
        """Logical decoding of this database."""
        return ChangeSource(self.endpoint)

    def _take(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        self.config = dict(config)
        self._password = secrets.get("password", "")
        self.only_schema = str(config.get("schema") or "") or None
        self.default_schema = self.only_schema or "public"
        text = str(config.get("tls_root_certificate") or "")
        if text and self._certificate is None:
            handle, name = tempfile.mkstemp(prefix="portal-ca-", suffix=".pem")
            with os.fdopen(handle, "w") as file:
                file.write(text)
            self._certificate = Path(name)

    def _endpoint(self, target: egress.ResolvedTarget) -> Endpoint:
        config = self.config
        return Endpoint(
            host=target.host,
            port=target.port,
            hostaddr=target.ip,
            database=str(config["database"]),
            user=str(config["user"]),
            password=self._password,
            tls_mode=str(config.get("tls_mode") or "prefer"),
            tls_root_certificate=str(self._certificate or ""),
            application=f"portal {self.context.purpose}".strip(),
            connect_timeout_s=float(config.get("connect_timeout_s") or self.context.connect_timeout_s),
            statement_timeout_s=self.context.bound_statement_s(float(config.get("statement_timeout_s") or 0)),
        )


CONNECTOR = PostgresConnector

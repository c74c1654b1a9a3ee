"""How a PostgreSQL database is reached: pinned address, role, limits. One place for both drivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from apps.connectors.exceptions import TlsFailed
from apps.connectors.sql.errors import translate_connect, translated

SESSION_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    # Sequential scans start at the first page, so that the order of an unchanged table is the same each time.
    "synchronize_seqscans": "off",
}


@dataclass(frozen=True)
class Endpoint:
    """A database with a log-in. `repr` hides the password.

    Attributes:
        hostaddr: checked and pinned address; empty for the operator's own database.
        role: taken on after log-in, so that the session has that role's rights only.
        search_path: schema that unqualified names mean; empty leaves the server's default.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    hostaddr: str = ""
    tls_mode: str = "prefer"
    tls_root_certificate: str = ""
    role: str = ""
    search_path: str = ""
    application: str = "analytics-integration-portal"
    connect_timeout_s: float = 10.0
    statement_timeout_s: float = 0.0

    @classmethod
    def from_url(cls, url: str, **extra: Any) -> Endpoint:
        """The operator's own database by URL or conninfo."""
        parts = conninfo_to_dict(url)
        return cls(
            host=str(parts.get("host") or ""),
            port=int(parts.get("port") or 5432),
            database=str(parts.get("dbname") or parts.get("user") or ""),
            user=str(parts.get("user") or ""),
            password=str(parts.get("password") or ""),
            tls_mode=str(parts.get("sslmode") or "prefer"),
            **extra,
        )

    @property
    def conninfo(self) -> str:
        """The connection string for libpq. Contains the password: never log it."""
        parts: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
            "hostaddr": self.hostaddr,
            "sslmode": self.tls_mode,
            # Without an authority of its own, a verified connection trusts the system's.
            "sslrootcert": self.tls_root_certificate or ("system" if self.tls_mode == "verify-full" else ""),
            "application_name": self.application,
            "connect_timeout": max(2, round(self.connect_timeout_s)),
            "keepalives_idle": 30,
            # The operator's own password file must not lend its passwords to tenants' connections.
            "passfile": "no-password-file",
        }
        return make_conninfo("", **{name: value for name, value in parts.items() if value not in {"", None}})

    def setup_statements(self) -> list[str]:
        """Statements that every session starts with."""
        statements = [
            sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)).as_string()
            for name, value in SESSION_SETTINGS.items()
        ]
        if self.statement_timeout_s:
            statements.append(f"SET statement_timeout = {round(self.statement_timeout_s * 1000)}")
        if self.search_path:
            statements.append(sql.SQL("SET search_path = {}").format(sql.Identifier(self.search_path)).as_string())
        if self.role:
            statements.append(sql.SQL("SET ROLE {}").format(sql.Identifier(self.role)).as_string())
        return statements

    def connect(self, *, autocommit: bool = True) -> psycopg.Connection[tuple[Any, ...]]:
        """A session for statements and COPY.

        Raises:
            CredentialsRefused, EntityGone, TlsFailed, SystemUnavailable: said with a remedy.
        """
        try:
            connection = psycopg.connect(self.conninfo, autocommit=True)
        except psycopg.ProgrammingError as error:
            raise TlsFailed(f"The TLS settings were refused: {error}", field="tls_mode") from None
        except psycopg.Error as error:
            raise translate_connect(error, host=self.host, database=self.database, user=self.user) from None
        try:
            with translated():
                connection.execute("; ".join(self.setup_statements()))
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_replication(self, setup: Sequence[str]) -> psycopg.Connection[tuple[Any, ...]]:
        """A session for the streaming replication protocol; it takes plain statements too, without parameters.

        Args:
            setup: statements that it starts with.

        Raises:
            CredentialsRefused, EntityGone, TlsFailed, SystemUnavailable: said with a remedy.
        """
        try:
            session = psycopg.connect(make_conninfo(self.conninfo, replication="database"), autocommit=True)
        except psycopg.Error as error:
            raise translate_connect(error, host=self.host, database=self.database, user=self.user) from None
        try:
            with translated():
                for statement in setup:
                    session.execute(statement)
        except BaseException:
            session.close()
            raise
        return session

    @contextmanager
    def arrow_session(self, batch_bytes: int) -> Iterator[Any]:
        """An ADBC cursor that streams results as Arrow; a transaction is open until it ends."""
        with translated(), adbc.connect(self.conninfo) as connection:
            with connection.cursor(
                adbc_stmt_kwargs={"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)}
            ) as cursor:
                for statement in self.setup_statements():
                    cursor.execute(statement)
                yield cursor
            connection.rollback()

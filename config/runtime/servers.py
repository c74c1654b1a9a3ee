"""Which servers a start uses: those that the environment names, else the embedded ones."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.runtime import postgres, valkey
from config.runtime.console import Failure, console
from config.runtime.environment import SERVER_VARIABLES, find_given_servers
from config.runtime.ports import PortBook, find_free_port
from config.runtime.processes import run_together
from config.runtime.supervisor import Supervisor

# Beside the usual ports, so that a server of the machine's own is never in the way.
POSTGRES_PORT = 54329
VALKEY_PORT = 63799
# The first one that can grant a role without its rights, which is what keeps tenants apart (apps/tenancy).
_OLDEST_POSTGRES = 16
_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "amqps": 5671, "postgres": 5432, "postgresql": 5432}
_VALKEY_DATABASES = {"BROKER_URL": 0, "CHANNEL_URL": 1, "CACHE_URL": 2}


@dataclass(frozen=True)
class ServerPlan:
    """Addresses for the portal, and which embedded servers stand behind them (None: not needed)."""

    urls: Mapping[str, str]
    cluster: postgres.Cluster | None
    portal_password: str
    valkey: valkey.ValkeyServer | None

    def describe(self) -> str:
        """A few words for the phase's closing line."""
        parts = [
            f"PostgreSQL {postgres.MAJOR} :{self.cluster.port}" if self.cluster else "PostgreSQL from DATABASE_URL",
            f"Valkey 9 :{self.valkey.port}" if self.valkey else "broker, channels and cache from the environment",
        ]
        return ", ".join(parts)


def plan_servers(run: Path, secrets_: Mapping[str, str], given: Mapping[str, str] | None = None) -> ServerPlan:
    """The servers of `make run`: durable, on remembered ports, each replaced by its variable where that is set."""
    given = find_given_servers() if given is None else given
    book = PortBook(run / "ports.json")
    urls = dict(given)
    cluster = redis = None
    if "DATABASE_URL" not in given:
        account = postgres.ensure_account()
        cluster = postgres.Cluster(
            binaries=postgres.find_binaries(account),
            data=postgres.find_home(account, run) / "postgres",
            port=book.choose("postgres", POSTGRES_PORT),
            account=account,
            password=secrets_["POSTGRES_PASSWORD"],
        )
        postgres.recover_stale_server(cluster.data)
        urls["DATABASE_URL"] = cluster.url(password=secrets_["PORTAL_DB_PASSWORD"])
    if any(name not in given for name in _VALKEY_DATABASES):
        redis = valkey.ValkeyServer(run / "valkey", book.choose("valkey", VALKEY_PORT), secrets_["VALKEY_PASSWORD"])
        for name, database in _VALKEY_DATABASES.items():
            urls.setdefault(name, redis.url(database))
    return ServerPlan(urls, cluster, secrets_["PORTAL_DB_PASSWORD"], redis)


def plan_throw_away_servers(directory: Path, *, durable: bool = False) -> ServerPlan:
    """Empty servers on free ports in a directory that goes away with them; fast, or `durable` as in production."""
    account = postgres.ensure_account()
    password, portal_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    cluster = postgres.Cluster(
        binaries=postgres.find_binaries(account),
        data=directory / "postgres",
        port=find_free_port(),
        account=account,
        password=password,
        throw_away=not durable,
    )
    redis = valkey.ValkeyServer(directory / "valkey", find_free_port(), password)
    urls = {"DATABASE_URL": cluster.url(password=portal_password)}
    urls |= {name: redis.url(database) for name, database in _VALKEY_DATABASES.items()}
    return ServerPlan(urls, cluster, portal_password, redis)


async def start_servers(plan: ServerPlan, supervisor: Supervisor) -> None:
    """Start the embedded servers of the plan and see that the given ones answer.

    Raises:
        Failure: one of them does not; the line names the variable or shows the server's last words.
    """
    steps: list[Coroutine[Any, Any, None]] = []
    if plan.cluster:
        steps.append(_start_postgres(plan, plan.cluster, supervisor))
    if plan.valkey:
        steps.append(valkey.start_valkey(plan.valkey, supervisor))
    steps += [asyncio.to_thread(check_given_server, name, url) for name, url in find_given_urls(plan).items()]
    await run_together(*steps)


def find_given_urls(plan: ServerPlan) -> dict[str, str]:
    """The addresses of the plan that no embedded server stands behind."""
    embedded = set()
    if plan.cluster:
        embedded.add(plan.urls["DATABASE_URL"])
    if plan.valkey:
        embedded |= {plan.valkey.url(database) for database in _VALKEY_DATABASES.values()}
    return {name: plan.urls[name] for name in SERVER_VARIABLES if plan.urls[name] not in embedded}


def check_given_server(name: str, url: str) -> None:
    """See that a server the environment names can be used.

    Raises:
        Failure: it does not answer, refuses the log-in, or its role lacks a right that the portal needs.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or (name == "DATABASE_URL") != parts.scheme.startswith("postgres"):
        raise Failure(
            f"{name} has an address of a kind that does not fit ({parts.scheme or url!r})",
            "postgres://user:password@host:5432/database"
            if name == "DATABASE_URL"
            else "redis://host:6379/0" + (" or amqp://user:password@host:5672//" if name == "BROKER_URL" else ""),
        )
    if name == "DATABASE_URL":
        _check_database(url)
        return
    host, port = parts.hostname or "localhost", parts.port or _DEFAULT_PORTS[parts.scheme]
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise Failure(
            f"{name} names {host}:{port}, which does not answer ({error.strerror or error})",
            f"start that server, or unset {name} to use the embedded one",
        ) from error


async def _start_postgres(plan: ServerPlan, cluster: postgres.Cluster, supervisor: Supervisor) -> None:
    if not (cluster.data / "PG_VERSION").exists():
        with console.phase("New database"):
            await postgres.ensure_cluster(cluster)
    else:
        await postgres.ensure_cluster(cluster)
    await postgres.start_cluster(cluster, supervisor, plan.portal_password)


def _check_database(url: str) -> None:
    import psycopg

    parts = urlsplit(url)
    where = f"{parts.hostname or 'the local socket'}:{parts.port or 5432}"
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT rolname, rolcreaterole OR rolsuper, has_database_privilege(current_database(), 'CREATE'),"
                " current_setting('server_version_num')::int FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        reason = str(error).strip().split("\n")[0].removeprefix("connection failed: ") or type(error).__name__
        raise Failure(
            f"DATABASE_URL names {where}, which cannot be used: {reason}",
            "correct it, start that server, or unset DATABASE_URL to use the embedded one",
        ) from error
    assert row
    role, may_create_roles, may_create_schemas, version = row
    if version < _OLDEST_POSTGRES * 10000:
        raise Failure(
            f"DATABASE_URL names a PostgreSQL {version // 10000}, the portal needs {_OLDEST_POSTGRES} or newer",
            "use a newer server, or unset DATABASE_URL to use the embedded one",
        )
    if not may_create_roles:
        raise Failure(
            f"The role {role} of DATABASE_URL may not create roles (every tenant gets its own)",
            f"as a superuser: ALTER ROLE {role} CREATEROLE",
        )
    if not may_create_schemas:
        raise Failure(
            f"The role {role} of DATABASE_URL may not create schemas in its database",
            f"as a superuser: ALTER DATABASE {parts.path.lstrip('/')} OWNER TO {role}",
        )

"""The embedded servers for real: they start, serve the portal's role, refuse strangers, and leave nothing running."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from config.runtime.console import Failure
from config.runtime.postgres import Account, can_enter, ensure_account
from config.runtime.processes import ProcessRegistry
from config.runtime.servers import ServerPlan, check_given_server, plan_throw_away_servers, start_servers
from config.runtime.supervisor import Supervisor
from config.runtime.valkey import ValkeyServer, ping
from config.runtime.verification import throw_away_directory


@pytest.fixture
async def running() -> AsyncIterator[tuple[ServerPlan, Path]]:
    """Both servers, in a directory that their users can reach wherever this machine keeps temporary files."""
    with throw_away_directory() as directory:
        supervisor = Supervisor(directory / "logs", ProcessRegistry(directory / "processes.json"))
        plan = plan_throw_away_servers(directory)
        try:
            await start_servers(plan, supervisor)
            yield plan, directory
        finally:
            await supervisor.stop_all()
        assert ProcessRegistry(directory / "processes.json").read_left_behind() == []
        assert not (directory / "postgres" / "postmaster.pid").exists()


async def test_servers_start_for_the_portal_and_for_nobody_else(running: tuple[ServerPlan, Path]) -> None:
    plan, directory = running
    url = plan.urls["DATABASE_URL"]
    check_given_server("DATABASE_URL", url)  # the very check that a server of the user's own must pass
    check_given_server("BROKER_URL", plan.urls["BROKER_URL"])

    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole, current_setting('server_version_num')::int / 10000,"
            " pg_get_userbyid(datdba), current_setting('server_encoding')"
            " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
        assert row == (False, True, 18, "portal", "UTF8")
        # It acts as the tenants' roles that it makes.
        connection.execute("CREATE ROLE r_tenant")
        connection.execute("SET ROLE r_tenant")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace("portal:", "portal:wrong"))

    assert plan.valkey
    assert not await ping(ValkeyServer(plan.valkey.directory, plan.valkey.port, "wrong"))
    assert stat.S_IMODE((directory / "valkey" / "valkey.conf").stat().st_mode) == 0o600

    assert plan.cluster
    with psycopg.connect(plan.cluster.url("postgres", database="portal"), autocommit=True) as superuser:
        superuser.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    with pytest.raises(Failure, match="may not create roles") as caught:
        await asyncio.to_thread(check_given_server, "DATABASE_URL", plan.cluster.url("poor", "poor"))
    assert caught.value.remedy == "as a superuser: ALTER ROLE poor CREATEROLE"


def test_directory_of_a_test_run_goes_away_and_lets_the_servers_user_through() -> None:
    with throw_away_directory() as directory:
        assert can_enter(directory, ensure_account())
        assert stat.S_IMODE(directory.stat().st_mode) == 0o711
    assert not directory.exists()


@pytest.mark.parametrize(
    ("mode", "account", "allowed"),
    [
        # a stranger needs the last x
        (0o711, Account("db", 54321, 54321), True),
        (0o700, Account("db", 54321, 54321), False),
        (0o710, Account("db", 54321, 54321), False),
        # a member of the group needs the middle one
        (0o710, Account("db", 54321, os.getgid()), True),
        (0o701, Account("db", 54321, os.getgid()), False),
        # the owner the first
        (0o100, Account("me", os.getuid(), os.getgid()), True),
        # nobody to switch to
        (0o700, None, True),
    ],
)
def test_every_directory_on_the_way_must_let_the_servers_user_through(
    mode: int, account: Account | None, allowed: bool
) -> None:
    with throw_away_directory() as top:
        middle = top / "middle"
        (middle / "data").mkdir(parents=True)
        (middle / "data").chmod(0o755)
        middle.chmod(mode)
        assert can_enter(middle / "data", account) is allowed
        middle.chmod(0o700)

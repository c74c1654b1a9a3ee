"""The portal as the benchmark uses it: its own database and tenant, real Celery workers, their memory watched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 0.05
WORKER_START_S = 60
DROP_ATTEMPTS = 15
WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
"""What the container image gives its workers."""


def with_database(url: str, name: str) -> str:
    """The address of another database of the same server."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


@contextlib.contextmanager
def throw_away_database(url: str, name: str) -> Iterator[str]:
    """An empty database on the server of `url`; dropped at the end."""
    _drop_database(url, name)
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield with_database(url, name)
    finally:
        if "django.db" in sys.modules:
            from django.db import connections

            connections.close_all()
        _drop_database(url, name)


def _drop_database(url: str, name: str) -> None:
    """Drop it as its owner, who may not end an autovacuum worker: that one gives way when it is asked a few times."""
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as admin:
        for attempt in range(DROP_ATTEMPTS):
            try:
                admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                return
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectInUse) as error:
                if attempt == DROP_ATTEMPTS - 1:
                    print(f"The database {name} was left behind: {error}", file=sys.stderr)
                time.sleep(1)  # nothing tells when an autovacuum worker has given way


@dataclass
class Memory:
    """Largest resident size of the watched processes."""

    peak_mb: float = 0.0
    by_process: dict[int, float] = field(default_factory=dict)


class MemoryWatch:
    """Samples the resident size of a worker's children; the largest of one process counts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.memory = Memory()

    def __enter__(self) -> Memory:
        self._thread.start()
        return self.memory

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(self._pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        size = child.memory_info().rss / 1e6
                        known = self.memory.by_process
                        known[child.pid] = max(known.get(child.pid, 0.0), size)
                        self.memory.peak_mb = max(self.memory.peak_mb, size)


@contextlib.contextmanager
def celery_worker(folder: Path, *, concurrency: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    """A worker for both queues, ready when the block begins."""
    log_path = folder / "worker.log"
    name = f"bench-{os.getpid()}@%h"
    command = [sys.executable, "-m", "celery", "-A", "config.celery", "worker", "-Q", "control,loads"]
    command += ["-c", str(concurrency), "-n", name, "--without-gossip", "--without-mingle", "-l", "INFO"]
    environment = {**os.environ, **WORKER_ENVIRONMENT}
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + WORKER_START_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the worker ended:\n{log_path.read_text()[-3000:]}")
            if " ready." in log_path.read_text(errors="replace"):
                break
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()

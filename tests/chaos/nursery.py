"""A process that has the portal loaded and forks workers, relays and web servers from it, each in a process group.

Starting Python and Django takes seconds; a fork takes none, so two hundred killed workers cost minutes, not an hour.
What is forked is real: the roles (`roles.py`) start Celery, the relay's command and uvicorn as the portal does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import ROOT, process_environment

# Short leases: a death is noticed soon. A step that random kills hit again and again is not at fault.
LIMITS = {"lease_s": 1.5, "doorbell_grace_s": 1.0, "busy_retry_s": 0.5, "max_deliveries": 50}
READY = "ready"


@dataclass
class Grown:
    """A forked process and all it starts: one process group."""

    name: str
    pid: int
    log_path: Path

    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def is_alive(self) -> bool:
        """Whether its first process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """`kill -9` of the whole group."""
        self.signal(signal.SIGKILL)

    def stop(self, *, patience_s: float = 5.0) -> None:
        """Ask it to stop, then insist."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.kill()


class Nursery:
    """Forks roles; whatever still lives at the end is killed."""

    def __init__(self, directory: Path, **environment: str) -> None:
        """Start the process that they are forked from.

        Args:
            directory: for their logs.
            environment: more variables of the processes; `ENGINE` replaces the limits.
        """
        self.directory = directory
        self._count = 0
        self._grown: list[Grown] = []
        extra = {"ENGINE": json.dumps(LIMITS), **environment}
        with (directory / "nursery.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.nursery"],
                cwd=ROOT,
                env=process_environment(**extra),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def grow(self, role: str, **options: Any) -> Grown:
        """Fork a process that does what `roles.<role>(**options)` does."""
        self._count += 1
        name = f"{role}{self._count}"
        log = self.directory / f"{name}.log"
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"role": role, "options": options, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        grown = Grown(name, int(self._read()), log)
        self._grown.append(grown)
        return grown

    def worker(self, *, concurrency: int = 2, plant: str = "") -> Grown:
        """A Celery worker with its children, perhaps with a planted bug."""
        return self.grow("worker", concurrency=concurrency, plant=plant)

    def clear(self) -> None:
        """Kill everything that was forked."""
        for grown in self._grown:
            grown.kill()
        self._grown.clear()

    def close(self) -> None:
        """Kill everything."""
        self.clear()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read(self) -> str:
        assert self._process.stdout
        while line := self._process.stdout.readline():
            if line.strip() != READY:
                return line.strip()
        raise RuntimeError(f"The nursery ended:\n{(self.directory / 'nursery.log').read_text()[-4000:]}")


@contextlib.contextmanager
def nursery_in(directory: Path, **environment: str) -> Iterator[Nursery]:
    """A nursery for the block."""
    nursery = Nursery(directory, **environment)
    try:
        yield nursery
    finally:
        nursery.close()


def main() -> None:
    """Load the portal, then fork what the lines of stdin ask for and print the process ids."""
    import django

    django.setup()
    from config.celery import app
    from tests.chaos import roles

    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        # libfaketime bends the absolute monotonic time of `time.sleep`, which then fails; a wait is not bent.
        time.sleep = lambda seconds: threading.Event().wait(seconds) and None  # type: ignore[assignment]
    app.loader.import_default_modules()
    app.finalize()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no funeral
    print(READY, flush=True)
    pids = []
    while line := sys.stdin.readline():
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(getattr(roles, order["role"]), order["options"], order["log"])
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)
        pids.append(pid)
        print(pid, flush=True)
    for pid in pids:  # the tests have ended
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _become(role: Any, options: dict[str, Any], log: str) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        role(**options)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0) if isinstance(end.code, int | None) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()

"""Child processes: started in a group of their own, tied to our life, and recognised again after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from config.runtime.failures import explain_failure

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: a child between fork and exec must not load libraries.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same number: pid and kernel start time."""

    name: str
    pid: int
    started: int

    def is_alive(self) -> bool:
        return read_start_time(self.pid) == self.started


def read_start_time(pid: int) -> int | None:
    """Start time of a live process in kernel ticks (seconds where there is no /proc); None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        if sys.platform == "linux":
            return None
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
        return hash(shown.stdout.strip()) if shown.stdout.strip() else None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def identify(name: str, pid: int) -> ProcessIdentity | None:
    """The identity of a live process, or None."""
    started = read_start_time(pid)
    return None if started is None else ProcessIdentity(name, pid, started)


def die_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """A `preexec_fn` that lets the kernel send `stop_signal` when we vanish, even by SIGKILL (Linux)."""
    if _LIBC is None:
        return None
    libc, parent = _LIBC, os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:  # we vanished between fork and prctl
            os._exit(1)

    return prepare


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to a child and all it started; a group that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class ProcessRegistry:
    """The processes of this checkout on disk, so that the next start can end what a killed one left behind."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, ProcessIdentity] = {}

    def add(self, name: str, pid: int) -> None:
        """Remember a started process."""
        identity = identify(name, pid)
        if identity:
            self._entries[name] = identity
            self._save()

    def remove(self, name: str) -> None:
        """Forget a process that has ended."""
        if self._entries.pop(name, None):
            self._save()

    def read_left_behind(self) -> list[ProcessIdentity]:
        """Processes of an earlier start that are still alive."""
        try:
            rows = json.loads(self._path.read_text())
            found = [ProcessIdentity(str(row["name"]), int(row["pid"]), int(row["started"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [identity for identity in found if identity.is_alive()]

    def _save(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps([asdict(entry) for entry in self._entries.values()], indent=1))
        draft.replace(self._path)


def end_processes(left_behind: Sequence[ProcessIdentity], *, grace_s: float = 8.0) -> None:
    """Stop processes by identity: their stop signal first, SIGKILL to the whole group after `grace_s`."""
    for identity in left_behind:
        with contextlib.suppress(ProcessLookupError):
            # SIGINT is PostgreSQL's fast shutdown; its SIGTERM would wait for clients to leave.
            os.kill(identity.pid, signal.SIGINT if identity.name == "postgres" else signal.SIGTERM)
    wait_until(lambda: not any(identity.is_alive() for identity in left_behind), timeout_s=grace_s)
    for identity in left_behind:
        if identity.is_alive():
            signal_group(identity.pid, signal.SIGKILL)
    wait_until(lambda: not any(identity.is_alive() for identity in left_behind), timeout_s=2.0)


def wait_until(is_true: Callable[[], bool], *, timeout_s: float, every_s: float = 0.05) -> bool:
    """Poll until `is_true()` or the time is up; the last answer."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True


async def run_tool(
    step: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    user: int | None = None,
    group: int | None = None,
) -> str:
    """Run a tool to its end; when we are cancelled it goes too, with everything it started.

    Args:
        step: what is being done, for the failure's text.
        argv, env, cwd, user, group: as for a subprocess.
        log: file that gets the complete output.
        on_line: called with each line as it comes.

    Returns:
        What it printed (standard output and errors together).

    Raises:
        Failure: it ended with another code than 0, or does not exist.
    """
    status, output = await run_checked_by_caller(
        argv, env=env, cwd=cwd, on_line=on_line, user=user, group=group, log=log
    )
    if status:
        raise explain_failure(step, output, status=status, log=log)
    return output


async def run_checked_by_caller(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    user: int | None = None,
    group: int | None = None,
) -> tuple[int, str]:
    """As `run_tool`, but returns (exit code, output) and leaves the judgement to the caller."""
    identity: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}
    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, argv),
            env=dict(env) if env is not None else None,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
            limit=2**20,
            **identity,
        )
    except FileNotFoundError as error:
        raise explain_failure(str(argv[0]), f"{argv[0]} does not exist") from error
    lines: list[str] = []
    assert process.stdout
    try:
        with contextlib.ExitStack() as stack:
            sink = stack.enter_context(log.open("w")) if log else None
            async for raw in read_lines(process.stdout):
                lines.append(raw)
                if sink:
                    sink.write(raw + "\n")
                if on_line:
                    on_line(raw)
        return await wait_exit(process), "\n".join(lines)
    except BaseException:
        signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(wait_exit(process), 5)
        signal_group(process.pid, signal.SIGKILL)
        raise


async def wait_exit(process: asyncio.subprocess.Process) -> int:
    """The exit code as soon as the process itself has ended.

    asyncio's own `wait` also waits for its pipes, which something it started may hold open for as long as it likes.
    """
    while process.returncode is None:  # noqa: ASYNC110 - asyncio sets it and offers no event of its own
        await asyncio.sleep(0.02)
    return process.returncode


def end_marked(marker: str) -> int:
    """Kill every process whose environment holds `marker` (`NAME=value`), whatever its session (Linux).

    Tests start workers in sessions of their own; when the tests are interrupted, nobody else knows of them.

    Returns:
        How many were killed.
    """
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and marker.encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    return killed


async def read_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Decoded lines of a stream; a line beyond the buffer is cut instead of ending the reader."""
    while True:
        try:
            raw = await stream.readline()
        except ValueError:
            continue  # longer than the limit; asyncio has dropped what it had
        if not raw:
            return
        yield raw.decode(errors="replace").rstrip("\r\n")


async def run_together(*steps: Coroutine[Any, Any, Any]) -> None:
    """Run steps at the same time; when one fails the others are cancelled and its own error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None

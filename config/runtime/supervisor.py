"""One supervisor for all processes: prefixed logs, restart with back-off, stop in order, nobody left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from config.runtime.console import Failure, console, paint, strip_styles, uses_colour
from config.runtime.processes import ProcessRegistry, die_with_parent, read_lines, signal_group, wait_exit

_NAME_WIDTH = 14
_STEADY_S = 30.0
_TAIL_LINES = 15
_GIVE_UP_AFTER = 3


@dataclass(frozen=True)
class Program:
    """A process to keep alive.

    Attributes:
        name: prefix of its log lines and name of its log file.
        argv, env, cwd, user, group: how it is started; `user`/`group` when it must not run as root.
        colour: of the prefix.
        stop_signal: asks it to finish its work and leave.
        stop_rank: lower ones are stopped first; servers that others use come last.
        grace_s: how long it may take to leave before it is killed.
        shown: whether its lines go to the terminal; they always go to the log file.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    colour: str = "cyan"
    stop_signal: signal.Signals = signal.SIGTERM
    stop_rank: int = 0
    grace_s: float = 10.0
    shown: bool = True
    user: int | None = None
    group: int | None = None


@dataclass(eq=False)
class _Child:
    program: Program
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL_LINES))
    crashes: int = 0
    stopping: bool = False


def next_restart_delay_s(crashes: int, *, base_s: float = 0.5, cap_s: float = 30.0) -> float:
    """Delay before a crashed process is started again: min(cap_s, base_s * 2**(crashes - 1)).

    Args:
        crashes: crashes in a row, 1 after the first. A process that stayed up for 30 s starts counting anew.
        base_s, cap_s: first and longest delay, seconds.

    Returns:
        Seconds. For the defaults: 0.5, 1, 2, 4 … 30.

    Raises:
        ValueError: no crash yet.
    """
    if crashes < 1:
        raise ValueError(crashes)
    return min(cap_s, base_s * 2.0 ** min(crashes - 1, 16))


class Supervisor:
    """Starts programs, keeps them alive, and stops them in order."""

    def __init__(self, logs: Path, registry: ProcessRegistry | None = None, *, base_delay_s: float = 0.5) -> None:
        self._logs = logs
        self._registry = registry
        self._children: dict[str, _Child] = {}
        self._base_delay_s = base_delay_s

    async def start(self, program: Program) -> None:
        """Start a program and keep it running until `stop`.

        Raises:
            Failure: its executable cannot be started at all.
        """
        child = _Child(program)
        self._children[program.name] = child
        self._open_log(program.name).close()
        await self._spawn(child)
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {program.name}")

    async def wait_ready(self, name: str, is_ready: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
        """Wait until a started program answers.

        Args:
            name: the program.
            is_ready: asked every 50 ms or so.
            timeout_s: the longest wait.

        Raises:
            Failure: it crashed repeatedly or did not answer in time; with its last lines.
        """
        child = self._children[name]
        deadline = time.monotonic() + timeout_s
        while not await is_ready():
            if child.crashes >= _GIVE_UP_AFTER:
                raise self._failure(child, f"{name} keeps crashing")
            if time.monotonic() > deadline:
                raise self._failure(child, f"{name} did not answer within {timeout_s:.0f} s")
            await asyncio.sleep(0.05)

    async def stop_all(self) -> None:
        """Stop everything: those with the lowest rank first and together, the servers they use last."""
        for child in self._children.values():
            child.stopping = True  # a client that loses its server while leaving is no crash
        for rank in sorted({child.program.stop_rank for child in self._children.values()}):
            group = [child for child in self._children.values() if child.program.stop_rank == rank]
            await asyncio.gather(*(self._stop(child) for child in group))
        self._children.clear()

    def kill_all(self) -> None:
        """Kill everything at once: the second Ctrl-C. PostgreSQL recovers from its log at the next start."""
        for child in self._children.values():
            child.stopping = True
            if child.process and child.process.returncode is None:
                signal_group(child.process.pid, signal.SIGKILL)

    async def _spawn(self, child: _Child) -> None:
        program = child.program
        identity: dict[str, Any] = (
            {} if program.user is None else {"user": program.user, "group": program.group, "extra_groups": []}
        )
        try:
            child.process = await asyncio.create_subprocess_exec(
                *program.argv,
                env=dict(program.env),
                cwd=program.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop things in order
                preexec_fn=die_with_parent(program.stop_signal),
                limit=2**20,
                **identity,
            )
        except OSError as error:
            raise Failure(f"{program.name} cannot be started: {error.strerror}: {program.argv[0]}") from error
        if self._registry:
            self._registry.add(program.name, child.process.pid)

    async def _keep(self, child: _Child) -> None:
        name = child.program.name
        while True:
            started = time.monotonic()
            code = await self._follow(child)
            if self._registry:
                self._registry.remove(name)
            if child.stopping:
                return
            steady = time.monotonic() - started > _STEADY_S
            child.crashes = 1 if steady else child.crashes + 1
            delay_s = next_restart_delay_s(child.crashes, base_s=self._base_delay_s)
            self._report(child, f"{name} ended ({_describe_exit(code)}), starting it again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            if child.stopping:
                return
            try:
                await self._spawn(child)
            except Failure as failure:
                self._report(child, failure.message)

    async def _follow(self, child: _Child) -> int:
        process = child.process
        assert process and process.stdout
        reader = asyncio.create_task(self._copy_lines(child, process.stdout))
        try:
            code = await wait_exit(process)
            # What it started and left behind would hold its port, its queue and its pipe.
            signal_group(process.pid, signal.SIGKILL)
            await asyncio.wait([reader], timeout=1)
        finally:
            reader.cancel()
        return code

    async def _copy_lines(self, child: _Child, stream: asyncio.StreamReader) -> None:
        with self._open_log(child.program.name) as log:
            async for line in read_lines(stream):
                child.tail.append(line)
                with contextlib.suppress(OSError):  # a full disk must not stop the reader, or the child would block
                    log.write(line + "\n")
                    log.flush()
                if child.program.shown:
                    console.line(format_log_line(child.program.name, line, child.program.colour))

    async def _stop(self, child: _Child) -> None:
        child.stopping = True
        process = child.process
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, child.program.stop_signal)
            try:
                await asyncio.wait_for(wait_exit(process), child.program.grace_s)
            except TimeoutError:
                console.line(paint(f"  {child.program.name} did not leave in time and is killed", "yellow"))
            signal_group(process.pid, signal.SIGKILL)  # also what it started and left behind
            await wait_exit(process)
        if child.keeper:
            # It reads the last lines; one that sleeps before a restart is ended.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.keeper, 1.5)
        if self._registry:
            self._registry.remove(child.program.name)

    def _open_log(self, name: str) -> IO[str]:
        mode = "a" if self._children[name].process else "w"
        return open(self._logs / f"{name}.log", mode, encoding="utf-8", errors="replace")

    def _report(self, child: _Child, text: str) -> None:
        console.line(format_log_line("supervisor", paint(text, "red"), "red"))
        if not child.program.shown:
            for line in list(child.tail)[-5:]:
                console.line(format_log_line(child.program.name, line, child.program.colour))

    def _failure(self, child: _Child, message: str) -> Failure:
        log = self._logs / f"{child.program.name}.log"
        return Failure(message, f"its log is {log}", details="\n".join(child.tail))


def format_log_line(name: str, line: str, colour: str) -> str:
    """A log line behind its coloured program name; errors and warnings stand out."""
    head = paint(f"{name:<{_NAME_WIDTH}}│", colour)
    text = line if uses_colour() else strip_styles(line)
    if "\x1b[" not in line:
        lowered = line[:120].lower()
        if any(word in lowered for word in ("error", "critical", "fatal", "traceback")):
            text = paint(line, "red")
        elif "warning" in lowered:
            text = paint(line, "yellow")
    return f"{head} {text}"


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"

"""The supervisor: restarts with back-off, stops in order, leaves nobody behind."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.runtime.console import Failure
from config.runtime.processes import ProcessRegistry, end_marked, read_start_time, wait_until
from config.runtime.supervisor import Program, Supervisor, next_restart_delay_s

ROOT = Path(__file__).resolve().parents[2]


def program(name: str, script: str, **options: object) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-c", script),
        env=dict(os.environ),
        cwd=ROOT,
        shown=False,
        **options,  # type: ignore[arg-type]
    )


def writing(path: Path, line: str) -> str:
    return f"open({str(path)!r}, 'a').write({line + chr(10)!r})"


async def wait_for_lines(path: Path, count: int) -> list[str]:
    async with asyncio.timeout(10):
        while not path.exists() or len(path.read_text().splitlines()) < count:
            await asyncio.sleep(0.02)
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("crashes", "delay_s"),
    # the worked sequence of the docstring, and its cap
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (7, 30.0), (500, 30.0)],
)
def test_restart_delay_doubles_up_to_its_cap(crashes: int, delay_s: float) -> None:
    assert next_restart_delay_s(crashes) == delay_s


def test_restart_delay_needs_a_crash() -> None:
    with pytest.raises(ValueError, match="0"):
        next_restart_delay_s(0)


async def test_crashed_program_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, base_delay_s=0.01)
    out = tmp_path / "out"
    await supervisor.start(program("web", f"{writing(out, 'up')}; raise SystemExit(1)"))

    assert len(await wait_for_lines(out, 3)) >= 3
    await supervisor.stop_all()

    count = len(out.read_text().splitlines())
    await asyncio.sleep(0.1)
    assert len(out.read_text().splitlines()) == count


async def test_program_that_keeps_crashing_fails_the_start_with_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, base_delay_s=0.01)
    await supervisor.start(program("web", "raise SystemExit('ImportError: no module named shop')"))

    async def never() -> bool:
        return False

    with pytest.raises(Failure, match="web keeps crashing") as caught:
        await supervisor.wait_ready("web", never, timeout_s=10)
    await supervisor.stop_all()

    assert "no module named shop" in caught.value.details


async def test_servers_are_stopped_after_those_that_use_them(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    out = tmp_path / "out"

    def on_term(name: str) -> str:
        leave = f"lambda *_: ({writing(out, name + ' left')}, exit(0))"
        return f"import signal, time; signal.signal(signal.SIGTERM, {leave}); {writing(out, name)}; time.sleep(60)"

    await supervisor.start(program("server", on_term("server"), stop_rank=10))
    await supervisor.start(program("client", on_term("client")))
    await wait_for_lines(out, 2)
    await supervisor.stop_all()

    assert out.read_text().splitlines()[-2:] == ["client left", "server left"]


async def test_program_that_does_not_leave_is_killed_with_what_it_started(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    out = tmp_path / "out"
    script = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); "
        f"open({str(out)!r}, 'a').write(str(os.getpid()) + '\\n'); time.sleep(60)"
    )
    await supervisor.start(program("web", script, grace_s=0.1))
    pids = [int(line) for line in await wait_for_lines(out, 2)]
    await supervisor.stop_all()

    assert wait_until(lambda: all(read_start_time(pid) is None for pid in pids), timeout_s=5)


async def test_output_goes_to_a_log_file_even_in_very_long_lines(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    await supervisor.start(program("web", "print('x' * 3_000_000); print('after', flush=True); input()"))
    async with asyncio.timeout(10):
        while "after" not in (tmp_path / "web.log").read_text():
            await asyncio.sleep(0.02)
    await supervisor.stop_all()


async def test_missing_executable_is_one_line(tmp_path: Path) -> None:
    missing = Program("web", ("/nonexistent/python",), dict(os.environ), ROOT)
    with pytest.raises(Failure, match="web cannot be started"):
        await Supervisor(tmp_path).start(missing)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_killed_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    out = tmp_path / "pid"
    script = f"""
import asyncio, os, pathlib, sys
sys.path.insert(0, {str(ROOT)!r})
from config.runtime.processes import ProcessRegistry
from config.runtime.supervisor import Program, Supervisor
async def main():
    tmp = pathlib.Path({str(tmp_path)!r})
    supervisor = Supervisor(tmp, ProcessRegistry(tmp / "processes.json"))
    child = "import os, time; open({str(out)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    await supervisor.start(Program("web", (sys.executable, "-c", child), dict(os.environ), tmp, shown=False))
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    assert wait_until(lambda: out.exists() and out.read_text() != "", timeout_s=10)
    child = int(out.read_text())
    assert read_start_time(child) is not None

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert wait_until(lambda: read_start_time(child) is None, timeout_s=5)
    assert ProcessRegistry(tmp_path / "processes.json").read_left_behind() == []


async def test_pipe_that_a_stranger_holds_open_delays_neither_restart_nor_stop(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, base_delay_s=0.01)
    out = tmp_path / "out"
    # The grandchild is in a session of its own, so killing the group does not reach it, and it inherits the pipe.
    stranger = "import time; time.sleep(60)"
    script = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {stranger!r}], start_new_session=True); "
        f"open({str(out)!r}, 'a').write(str(child.pid) + chr(10)); sys.exit(1)"
    )
    environment = {**os.environ, "RUNTIME_TEST_MARK": str(tmp_path)}
    await supervisor.start(dataclasses.replace(program("web", script), env=environment))
    pids = [int(line) for line in await wait_for_lines(out, 2)]
    async with asyncio.timeout(10):
        await supervisor.stop_all()

    # Nobody but their environment knows of them.
    assert end_marked(f"RUNTIME_TEST_MARK={tmp_path}") >= 2
    assert wait_until(lambda: all(read_start_time(pid) is None for pid in pids), timeout_s=5)

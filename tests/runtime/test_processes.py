"""Processes: recognised by identity, ended with all they started, never mistaken for another."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.runtime.console import Failure
from config.runtime.postgres import recover_stale_server
from config.runtime.processes import (
    ProcessIdentity,
    ProcessRegistry,
    end_processes,
    identify,
    read_start_time,
    run_together,
    run_tool,
    wait_until,
)

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


Start = Callable[[list[str]], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process in a group of its own and waits for its first line; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def build(argv: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout
        process.stdout.readline()
        return process

    yield build
    for process in started:
        process.kill()
        process.communicate()


def test_left_behind_process_is_found_and_ended(tmp_path: Path, start: Start) -> None:
    process = start(SLEEPER)
    ProcessRegistry(tmp_path / "processes.json").add("web", process.pid)

    left_behind = ProcessRegistry(tmp_path / "processes.json").read_left_behind()
    assert [identity.pid for identity in left_behind] == [process.pid]
    end_processes(left_behind)

    assert process.wait(5) == -signal.SIGTERM
    assert ProcessRegistry(tmp_path / "processes.json").read_left_behind() == []


def test_process_that_ignores_the_request_is_killed(start: Start) -> None:
    process = start(STUBBORN)
    identity = identify("web", process.pid)
    assert identity

    end_processes([identity], grace_s=0.1)

    assert process.wait(5) == -signal.SIGKILL


def test_reused_number_is_another_process(tmp_path: Path) -> None:
    started = read_start_time(os.getpid())
    assert started is not None
    (tmp_path / "processes.json").write_text(json.dumps([{"name": "web", "pid": os.getpid(), "started": started - 1}]))
    assert ProcessRegistry(tmp_path / "processes.json").read_left_behind() == []
    assert not ProcessIdentity("web", os.getpid(), started - 1).is_alive()
    assert ProcessIdentity("web", os.getpid(), started).is_alive()


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1]"])
def test_damaged_registry_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / "processes.json").write_text(content)
    assert ProcessRegistry(tmp_path / "processes.json").read_left_behind() == []


def test_ended_process_is_forgotten(tmp_path: Path) -> None:
    registry = ProcessRegistry(tmp_path / "processes.json")
    registry.add("web", os.getpid())
    registry.remove("web")
    assert json.loads((tmp_path / "processes.json").read_text()) == []


def test_stale_postmaster_file_with_a_foreign_number_only_loses_the_file(tmp_path: Path, start: Start) -> None:
    process = start(SLEEPER)
    (tmp_path / "postmaster.pid").write_text(f"{process.pid}\n{tmp_path}\n")

    assert recover_stale_server(tmp_path) is True

    assert not (tmp_path / "postmaster.pid").exists()
    assert process.poll() is None


def test_server_of_this_data_directory_is_ended(tmp_path: Path, start: Start) -> None:
    process = start([*SLEEPER, "-D", str(tmp_path)])
    (tmp_path / "postmaster.pid").write_text(f"{process.pid}\n{tmp_path}\n")

    assert recover_stale_server(tmp_path) is True

    assert process.wait(5) != 0
    assert not (tmp_path / "postmaster.pid").exists()


@pytest.mark.parametrize("content", [None, "", "x\n"])
def test_nothing_to_recover(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "postmaster.pid").write_text(content)
    assert recover_stale_server(tmp_path) is False


async def test_failed_tool_is_one_line_with_its_last_words(tmp_path: Path) -> None:
    script = "print('first'); print('OSError: [Errno 28] No space left on device'); raise SystemExit(3)"
    with pytest.raises(Failure) as caught:
        await run_tool("Building", [sys.executable, "-c", script], log=tmp_path / "log")

    assert caught.value.message == "Building: the disk is full"
    assert "make clean" in caught.value.remedy
    assert "first" in (tmp_path / "log").read_text()


async def test_failure_of_one_step_ends_the_others(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"import os, time, pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"

    async def fail() -> None:
        # After the other one is up, as in a start whose build fails while the database migrates.
        while not pid_file.exists() or not pid_file.read_text():
            await asyncio.sleep(0.01)
        raise Failure("no build")

    with pytest.raises(Failure, match="no build"):
        await run_together(run_tool("Waiting", [sys.executable, "-c", script]), fail())

    pid = int(pid_file.read_text())
    assert wait_until(lambda: read_start_time(pid) is None, timeout_s=5)

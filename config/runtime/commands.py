"""The commands behind the Makefile's targets, once the environment is there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from config.runtime.console import Failure, console
from config.runtime.environment import build_install_environment, build_portal_environment
from config.runtime.paths import CACHE, REQUIREMENTS, ROOT, RUN, VENV, ensure_run_directory
from config.runtime.processes import ProcessIdentity, ProcessRegistry, end_processes, wait_until

_LOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # (name, locks whose versions it must repeat)
    ("uv", ()),
    ("base", ()),
    ("dev", ("base",)),
    ("bench", ("dev",)),
    ("flows", ()),
)


def run_command(command: str, arguments: list[str]) -> int:
    """Run one command of the Makefile. Returns its exit code."""
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "stop": _stop,
        "clean": _clean,
        "test": lambda _: _test(fast=False),
        "test-fast": lambda _: _test(fast=True),
        "test-chaos": lambda _: _test_chaos(),
        "lint": _lint,
        "format": _format,
        "lock": _lock,
        "migrate": lambda rest: _manage("migrate_tenants", *rest),
        "shell": lambda rest: _manage("shell", *rest),
        "bench": lambda rest: _with_servers("bench", *rest),
        "screenshots": lambda rest: _with_servers("screenshots", *rest),
    }
    return commands[command](arguments)


def _run(_: list[str]) -> int:
    from config.runtime.portal import run_portal

    return run_portal()


def _test(*, fast: bool) -> int:
    from config.runtime.verification import run_tests

    return run_tests(os.environ.get("T", ""), fast=fast)


def _test_chaos() -> int:
    """Play the long forms: each suite's own number of faults, or N; 0 wrong of N bounds the rate below 3/N (95 %)."""
    from config.runtime.verification import run_tests

    os.environ["CHAOS_RUNS"] = os.environ.get("N") or "100"
    os.environ["CHAOS_N"] = os.environ.get("N", "")
    os.environ["CHAOS_SEED"] = os.environ.get("SEED", "")
    suites = os.environ.get("T") or "tests/chaos tests/engine/test_kill.py tests/engine/test_process_kill.py"
    return run_tests(f"{suites} -m 'chaos or slow'")


def _with_servers(module: str, *arguments: str) -> int:
    from config.runtime.workbench import run_with_servers

    return run_with_servers(module, arguments)


def _stop(_: list[str]) -> int:
    """Stop a running portal of this checkout, and whatever a killed one left behind."""
    from config.runtime.portal import read_record
    from config.runtime.postgres import list_outside_homes, recover_stale_server

    ensure_run_directory()
    record = read_record()
    supervisor = ProcessIdentity("supervisor", record["pid"], record["started"]) if record else None
    stopped = bool(supervisor and supervisor.is_alive())
    if supervisor and stopped:
        with console.phase("Stopping the portal") as phase:
            phase.note = f"pid {supervisor.pid}"
            os.kill(supervisor.pid, signal.SIGTERM)
            if not wait_until(lambda: not supervisor.is_alive(), timeout_s=45):
                os.kill(supervisor.pid, signal.SIGKILL)
    left_behind = ProcessRegistry(RUN / "processes.json").read_left_behind()
    end_processes(left_behind)
    recovered = [recover_stale_server(home / "postgres") for home in (RUN, *list_outside_homes())]
    if not (stopped or left_behind or any(recovered)):
        console.line("Nothing of this checkout is running.")
    return 0


def _clean(arguments: list[str]) -> int:
    """Remove all that was made here: environment, data, builds, caches. The sources stay."""
    _stop(arguments)
    from config.runtime.postgres import list_outside_homes

    with console.phase("Removing what was made here"):
        for path in (RUN, CACHE, ROOT / "static" / "mfe", ROOT / "staticfiles", *list_outside_homes()):
            shutil.rmtree(path, ignore_errors=True)
        for name in (".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"):
            shutil.rmtree(ROOT / name, ignore_errors=True)
        shutil.rmtree(ROOT / "frontend_host" / "node_modules", ignore_errors=True)
        shutil.rmtree(VENV, ignore_errors=True)
    return 0


def _lint(_: list[str]) -> int:
    binaries = VENV / "bin"
    env = build_portal_environment({}, "config.settings.test")
    checks: tuple[Sequence[str | Path], ...] = (
        [binaries / "ruff", "check", "."],
        [binaries / "ruff", "format", "--check", "."],
        [binaries / "lint-imports"],
        [binaries / "mypy"],
    )
    return max(subprocess.run([str(part) for part in check], cwd=ROOT, env=env).returncode for check in checks)


def _format(_: list[str]) -> int:
    ruff = str(VENV / "bin" / "ruff")
    fixed = subprocess.run([ruff, "check", "--fix", "."], cwd=ROOT).returncode
    return subprocess.run([ruff, "format", "."], cwd=ROOT).returncode or fixed


def _lock(arguments: list[str]) -> int:
    """Lock requirements/*.in anew; `--upgrade` and `--upgrade-package NAME` are passed on."""
    env = build_install_environment()
    for name, repeats in _LOCKS:
        constraints = [part for other in repeats for part in ("--constraints", str(REQUIREMENTS / f"{other}.txt"))]
        argv = [
            *(str(VENV / "bin" / "uv"), "pip", "compile", "--universal", "--python-version", "3.11"),
            *("--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
            *(*constraints, *arguments),
            *(str(REQUIREMENTS / f"{name}.in"), "--output-file", str(REQUIREMENTS / f"{name}.txt")),
        ]
        with console.phase(f"requirements/{name}.txt"):
            done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                raise Failure(f"requirements/{name}.in cannot be locked", details=done.stderr.strip())
    return 0


def _manage(*arguments: str) -> int:
    from config.runtime.workbench import run_manage

    return run_manage(arguments)

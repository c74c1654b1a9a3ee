"""`make test`: every check on throw-away servers, beside a running portal, ending in a table and real totals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.runtime import frontend, postgres
from config.runtime.brokers import ensure_brokers
from config.runtime.browser import ensure_chromium, has_browser_tests
from config.runtime.console import Failure, console, format_elapsed, paint, strip_styles
from config.runtime.environment import build_portal_environment, ensure_secrets
from config.runtime.failures import check_free_space
from config.runtime.paths import FRONTEND, LOGS, ROOT, VENV, ensure_run_directory
from config.runtime.portal import catch_signals, elapsed_since_start_s
from config.runtime.processes import (
    ProcessRegistry,
    end_marked,
    end_processes,
    identify,
    read_start_time,
    run_checked_by_caller,
    run_together,
)
from config.runtime.servers import plan_throw_away_servers, start_servers
from config.runtime.supervisor import Supervisor

_SETTINGS = "config.settings.test"
_PREFIX = "portal-test-"
# In the environment of all that the tests start, so that nothing of it outlives them.
_MARKER = "PORTAL_TEST_DIRECTORY"
_TEST_BYTES = 1_500_000_000
_NO_TESTS_COLLECTED = 5
_SHOWN_LINES = 120
_BUILD = "front end build"


@dataclass
class CheckResult:
    """How one check ended."""

    name: str
    passed: bool
    elapsed_s: float
    note: str = ""


@dataclass
class Report:
    """All results of a run, and the closing lines of the test runner as it wrote them."""

    results: list[CheckResult] = field(default_factory=list)
    closing_lines: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.results) and all(result.passed for result in self.results)


def run_tests(selection: str, *, fast: bool = False) -> int:
    """Run the checks and print their table.

    Args:
        selection: what `make test T=…` names (paths, node ids, pytest options); empty: everything, with lint, types,
            layer rules and the front end's own checks.
        fast: only pytest, without browser and slow tests.

    Returns:
        0 when everything passed, else 1.
    """
    ensure_run_directory()
    report = Report()
    with throw_away_directory() as directory:
        asyncio.run(_run(report, directory, shlex.split(selection), fast=fast))
    _print_report(report)
    return 0 if report.passed else 1


async def _run(report: Report, directory: Path, selection: list[str], *, fast: bool) -> None:
    supervisor = Supervisor(directory / "logs", ProcessRegistry(directory / "processes.json"))
    task = asyncio.current_task()
    assert task
    with catch_signals(task.cancel, supervisor.kill_all) as interrupts:
        try:
            await _check_everything(report, directory, supervisor, selection, fast=fast)
        except asyncio.CancelledError:
            task.uncancel()
            raise Failure("Stopped before the end", status=130) from None
        finally:
            interrupts.stopping = True
            await supervisor.stop_all()


async def _check_everything(
    report: Report, directory: Path, supervisor: Supervisor, selection: list[str], *, fast: bool
) -> None:
    plan = plan_throw_away_servers(directory)
    secrets = ensure_secrets()
    env = build_portal_environment(
        plan.urls,
        _SETTINGS,
        {
            "SECRET_KEY": secrets["SECRET_KEY"],
            "VAULT_KEYS": secrets["VAULT_KEYS"],
            "FILES_ROOT": str(directory / "files"),
            "SPILL_ROOT": str(directory / "spill"),
            _MARKER: str(directory),
            # A few killed workers each time; `make test-chaos` kills as many as one likes.
            "CHAOS_RUNS": os.environ.get("CHAOS_RUNS", "4"),
        },
    )
    with_browser = not fast and has_browser_tests(selection)

    async def serve() -> None:
        with console.phase("Throw-away servers") as phase:
            await start_servers(plan, supervisor)
            phase.note = plan.describe()

    async def prepare_browser() -> None:
        if with_browser:
            env["CHROMIUM_PATH"] = str(await asyncio.to_thread(ensure_chromium))

    lanes: list[Coroutine[Any, Any, Any]] = [serve(), asyncio.to_thread(ensure_brokers), prepare_browser()]
    if not selection and not fast:
        lanes += [_check_code(report, env), _check_frontend(report)]
    elif with_browser:
        lanes.append(_build_frontend(report))
    await run_together(*lanes)

    marks, paths = split_marks(selection or ["tests"])
    without_browser = "not browser and not slow" if fast else "not browser"
    runs = [("pytest", ["-n", "2", "--dist", "loadgroup", "-m", f"{marks}{without_browser}", *paths])]
    if with_browser and any(result.name == _BUILD and not result.passed for result in report.results):
        report.results.append(CheckResult("pytest (browser)", False, 0.0, "not run: the front end is not built"))
    elif with_browser:
        runs.append(("pytest (browser)", ["-m", f"{marks}browser", *paths]))
    await _run_pytest(report, runs, env, directory)


def split_marks(selection: list[str]) -> tuple[str, list[str]]:
    """A `-m` of the caller's as the beginning of our own (pytest takes only one), and the rest of the selection."""
    if "-m" not in selection[:-1]:
        return "", selection
    at = selection.index("-m")
    return f"({selection[at + 1]}) and ", [*selection[:at], *selection[at + 2 :]]


async def _check_code(report: Report, env: Mapping[str, str]) -> None:
    """Lint, format, types and layer rules, one after the other: the front end has the other core."""
    binaries = VENV / "bin"
    await _check(report, "ruff check", [binaries / "ruff", "check", "."], env)
    await _check(report, "ruff format", [binaries / "ruff", "format", "--check", "."], env)
    await _check(report, "layer rules", [binaries / "lint-imports"], env)
    await _check(report, "mypy", [binaries / "mypy"], env)


async def _check_frontend(report: Report) -> None:
    if not await _build_frontend(report):
        return
    env = frontend.build_node_environment()
    for name, script in (("front end lint", "lint"), ("front end types", "typecheck"), ("front end tests", "test")):
        await _check(report, name, frontend.npm("run", script), env, cwd=FRONTEND)


async def _build_frontend(report: Report) -> bool:
    """Packages and build, as one check: when it fails, the checks that need no pages still run."""
    phase = console.start_phase(_BUILD)
    failure: Failure | None = None
    try:
        await frontend.ensure_packages(lambda text: setattr(phase, "note", text))
        built = await frontend.ensure_build(lambda text: setattr(phase, "note", text))
        phase.note = "built" if built else "unchanged"
    except Failure as error:
        failure = error
    except BaseException:
        console.end_phase(phase, "stopped")
        raise
    console.end_phase(phase, "failed" if failure else "done")
    if failure:
        console.fail(failure)
    note = failure.message if failure else phase.note
    report.results.append(CheckResult(_BUILD, failure is None, phase.elapsed_s, note))
    return failure is None


async def _check(
    report: Report, name: str, argv: Sequence[str | Path], env: Mapping[str, str], cwd: Path = ROOT
) -> None:
    """Run one tool; a failure is shown at once with its own words, and the rest goes on."""
    phase = console.start_phase(name)
    status, output = 1, ""
    try:
        log = LOGS / f"test-{re.sub(r'[^a-z]+', '-', name)}.log"
        status, output = await run_checked_by_caller(argv, env=env, cwd=cwd, log=log)
        phase.note = _last_words(output)
    except BaseException:
        console.end_phase(phase, "stopped")
        raise
    console.end_phase(phase, "failed" if status else "done")
    if status:
        shown = output.rstrip().splitlines()
        if len(shown) > _SHOWN_LINES:
            shown = [*shown[:_SHOWN_LINES], f"… {len(shown) - _SHOWN_LINES} more lines in {log}"]
        console.write("\n".join(f"    {line}" for line in shown) + "\n")
    report.results.append(CheckResult(name, status == 0, phase.elapsed_s, phase.note))


async def _run_pytest(
    report: Report, runs: list[tuple[str, list[str]]], env: Mapping[str, str], directory: Path
) -> None:
    empty: list[str] = []
    for name, options in runs:
        console.line(f"\n{paint(name, 'bold')}  {paint(' '.join(options), 'dim')}")
        colour = "yes" if paint("x", "bold") != "x" else "no"
        base = directory / re.sub(r"[^a-z]+", "-", name)
        clock = asyncio.get_running_loop().time()
        argv: list[str | Path] = [
            VENV / "bin" / "python",
            "-m",
            "pytest",
            f"--color={colour}",
            f"--basetemp={base}",
            *options,
        ]
        status, output = await run_checked_by_caller(argv, env=env, cwd=ROOT, on_line=console.line)
        closing = output.rstrip().splitlines()[-1] if output.strip() else ""
        if status == _NO_TESTS_COLLECTED:
            empty.append(name)
            continue
        report.closing_lines.append(closing)
        note = strip_styles(closing).strip("= ")
        elapsed_s = asyncio.get_running_loop().time() - clock
        report.results.append(CheckResult(name, status == 0, elapsed_s, note))
    if len(empty) == len(runs):
        raise Failure("No test matches the selection", "see `make test T=tests/<app>`")


def _print_report(report: Report) -> None:
    """The table, then the test runner's own closing lines, last."""
    console.line()
    for result in report.results:
        mark = paint("passed", "green") if result.passed else paint("FAILED", "red", "bold")
        elapsed = format_elapsed(result.elapsed_s)
        console.line(f"  {result.name:<20}{mark}{elapsed:>14}   {paint(result.note[:90], 'dim')}")
    failed = [result.name for result in report.results if not result.passed]
    total = format_elapsed(elapsed_since_start_s())
    verdict = paint(f"failed: {', '.join(failed)}", "red", "bold") if failed else paint("all passed", "green", "bold")
    console.line(f"\n  {len(report.results)} checks in {total}: {verdict}\n")
    for line in report.closing_lines:
        console.line(line)


def _last_words(output: str) -> str:
    lines = [strip_styles(line).strip() for line in output.splitlines()]
    return next((line for line in reversed(lines) if line), "")[:80]


@contextmanager
def throw_away_directory() -> Iterator[Path]:
    """A temporary directory that the database's own user may pass through; those of killed runs are removed."""
    parent = Path(tempfile.gettempdir())
    if not postgres.can_enter(parent, postgres.ensure_account()):
        parent = Path("/tmp")  # noqa: S108 - mkdtemp makes a directory that is ours alone
    _remove_left_behind(parent)
    check_free_space(parent, _TEST_BYTES, "The test run")
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        directory.chmod(0o711)
        (directory / "logs").mkdir()
        me = identify("tests", os.getpid())
        assert me
        (directory / "owner").write_text(f"{me.pid} {me.started}")
        yield directory
    finally:
        end_marked(f"{_MARKER}={directory}")
        shutil.rmtree(directory, ignore_errors=True)


def _remove_left_behind(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if directory.stat().st_uid != os.geteuid():
                continue
            pid, started = map(int, (directory / "owner").read_text().split())
            if read_start_time(pid) != started:
                end_processes(ProcessRegistry(directory / "processes.json").read_left_behind())
                end_marked(f"{_MARKER}={directory}")
                shutil.rmtree(directory, ignore_errors=True)

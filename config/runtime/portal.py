"""`make run`: servers, front end, schema, demo, then web, workers, beat, relay, capture and consumers until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.runtime import database, frontend
from config.runtime.console import Failure, console, format_elapsed, paint, strip_styles
from config.runtime.environment import build_portal_environment, ensure_secrets
from config.runtime.failures import check_free_space
from config.runtime.paths import LOGS, ROOT, RUN, VENV_PYTHON, ensure_run_directory
from config.runtime.ports import ensure_port_free
from config.runtime.processes import ProcessRegistry, end_processes, identify, run_together
from config.runtime.servers import ServerPlan, plan_servers, start_servers
from config.runtime.supervisor import Program, Supervisor

_STARTED_AT = time.monotonic()
_RUN_BYTES = 300_000_000
_SETTINGS = "config.settings.dev"
_RECORD = RUN / "supervisor.json"
_SERVERS = RUN / "servers.json"


def run_portal() -> int:
    """Start everything, show its logs, stop it all when asked to. Returns the exit code."""
    ensure_run_directory()
    host = os.environ.get("HOST") or "127.0.0.1"
    port = _read_port()
    with hold_checkout(port):
        end_processes(ProcessRegistry(RUN / "processes.json").read_left_behind())
        ensure_port_free(port, host)
        check_free_space(RUN, _RUN_BYTES, "Starting the portal")
        return asyncio.run(_run(host, port))


@contextmanager
def hold_checkout(port: int) -> Iterator[None]:
    """Keep a second `make run` of this checkout from starting; the record tells `make stop` whom to stop.

    Raises:
        Failure: one is running.
    """
    with (RUN / "supervisor.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            record = read_record()
            where = f" at http://localhost:{record['port']}/ (pid {record['pid']})" if record else ""
            raise Failure(
                f"The portal of this checkout is already running{where}", "stop it first: make stop"
            ) from error
        me = identify("supervisor", os.getpid())
        assert me
        _RECORD.write_text(json.dumps({"pid": me.pid, "started": me.started, "port": port}))
        try:
            yield
        finally:
            _RECORD.unlink(missing_ok=True)
            _SERVERS.unlink(missing_ok=True)


def read_record(path: Path = _RECORD) -> dict[str, int]:
    """Pid, kernel start time and port of the running supervisor; empty when there is none."""
    try:
        record = json.loads(path.read_text())
        return {name: int(record[name]) for name in ("pid", "started", "port")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read_server_urls(path: Path = _SERVERS) -> dict[str, str]:
    """The addresses that the running portal uses; empty while there are none."""
    try:
        return {str(name): str(url) for name, url in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_server_urls(urls: Mapping[str, str]) -> None:
    _SERVERS.unlink(missing_ok=True)
    with os.fdopen(os.open(_SERVERS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(urls), file)


def build_programs(env: Mapping[str, str], host: str, port: int) -> list[Program]:
    """The portal's own processes."""
    python = str(VENV_PYTHON)
    celery = (python, "-m", "celery", "--quiet", "--app", "config.celery")
    # On a developer's machine root is fine; Celery would say so in eight lines per worker.
    # Two arenas, as in the image: with one for each thread a worker that loads keeps some 40 MB more.
    env = {
        **env,
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
        "MALLOC_ARENA_MAX": "2",
    }

    def worker(queue: str, concurrency: str) -> tuple[str, ...]:
        options = ("--queues", queue, "--hostname", f"{queue}@%h", "--concurrency", concurrency, "--pool", "prefork")
        # One machine needs neither the gossip nor the mingling of a cluster at its start.
        return (*celery, "worker", *options, "--without-gossip", "--without-mingle", "--loglevel", "INFO")

    commands: list[tuple[str, str, tuple[str, ...]]] = [
        (
            "web",
            "green",
            (
                *(python, "-m", "uvicorn", "config.asgi:application", "--host", host, "--port", str(port)),
                *("--no-access-log", "--timeout-graceful-shutdown", "3", "--log-level", "warning"),
            ),
        ),
        ("worker-control", "cyan", worker("control", os.environ.get("CONTROL_CONCURRENCY", "2"))),
        ("worker-loads", "bright_blue", worker("loads", os.environ.get("LOADS_CONCURRENCY", "2"))),
        ("beat", "yellow", (*celery, "beat", "--loglevel", "WARNING", "--pidfile=")),
        ("relay", "bright_magenta", (python, "manage.py", "run_relay")),
        ("capture", "magenta", (python, "manage.py", "run_capture")),
        ("consumers", "bright_green", (python, "manage.py", "run_consumers")),
    ]
    # Beat writes a line for every ring, each few seconds; only its troubles are worth a terminal.
    levels = {"beat": {"LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING")}}
    return [
        Program(name=name, argv=argv, env={**env, **levels.get(name, {})}, cwd=ROOT, colour=colour)
        for name, colour, argv in commands
    ]


async def _run(host: str, port: int) -> int:
    supervisor = Supervisor(LOGS, ProcessRegistry(RUN / "processes.json"))
    task = asyncio.current_task()
    assert task
    with catch_signals(task.cancel, supervisor.kill_all) as interrupts:
        try:
            await _start(supervisor, host, port)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            task.uncancel()
        finally:
            interrupts.stopping = True
            console.line()
            with console.phase("Stopping") as phase:
                phase.note = "Ctrl-C once more kills"
                await supervisor.stop_all()
                phase.note = "everything has stopped"
    return 0


async def _start(supervisor: Supervisor, host: str, port: int) -> None:
    secrets = ensure_secrets()
    plan = plan_servers(RUN, secrets)
    own = {"SECRET_KEY": secrets["SECRET_KEY"], "VAULT_KEYS": secrets["VAULT_KEYS"], "PUBLIC_PORT": str(port)}
    env = build_portal_environment(plan.urls, _SETTINGS, own)
    sites: list[database.Site] = []

    async def prepare_data() -> None:
        with console.phase("Servers") as phase:
            await start_servers(plan, supervisor)
            phase.note = plan.describe()
        _write_server_urls(plan.urls)
        with console.phase("Database schema") as phase:
            changed = await database.ensure_schema(RUN, env, _note_of(phase))
            phase.note = "migrated" if changed else "unchanged"
        with console.phase("Demo tenants") as phase:
            sites.extend(await database.ensure_demo(RUN, env, _note_of(phase)))
            phase.note = ", ".join(site.host for site in sites)

    async def prepare_pages() -> None:
        with console.phase("Front end") as phase:
            built = await frontend.ensure_build(_note_of(phase))
            phase.note = "built" if built else "unchanged"

    await run_together(prepare_data(), prepare_pages())
    with console.phase("Web, workers, beat, relay, capture, consumers"):
        programs = build_programs(env, host, port)
        for program in programs:
            await supervisor.start(program)
        await supervisor.wait_ready("web", _health_check(host, port), timeout_s=90)
    _print_addresses(sites, plan, port)


def _note_of(phase: object) -> Callable[[str], None]:
    return lambda text: setattr(phase, "note", text)


def _health_check(host: str, port: int) -> Callable[[], Awaitable[bool]]:
    target = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"http://{target}:{port}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    async def answers() -> bool:
        return await asyncio.to_thread(ask)

    return answers


def _print_addresses(sites: list[database.Site], plan: ServerPlan, port: int) -> None:
    """The box at the end: where to click, and as whom to sign in."""
    rows: list[tuple[str, str]] = []
    for site in sites:
        rows.append((paint(site.url(port), "bold", "cyan"), site.title))
        for email, password, role in site.logins:
            rows.append((f"    {email}  /  {password}", role))
        rows.append(("", ""))
    rows.append((paint(f"Ready in {format_elapsed(elapsed_since_start_s())}", "green", "bold"), plan.describe()))
    rows.append((paint("Ctrl-C stops everything; logs are also in .run/logs/", "dim"), ""))
    left = max(_width(text) for text, _ in rows)
    lines = [f"{text}{' ' * (left - _width(text))}   {paint(note, 'dim')}" for text, note in rows]
    width = max(_width(line) for line in lines) + 4
    title = " Analytics Integration Portal "
    console.line()
    console.line(f"╭─{title}{'─' * (width - len(title) - 1)}╮")
    for line in lines:
        console.line(f"│  {line}{' ' * (width - 2 - _width(line))}│")
    console.line(f"╰{'─' * width}╯")
    console.line()


def elapsed_since_start_s() -> float:
    """Seconds since the command was typed; the launcher's own start included where it said when that was."""
    with contextlib.suppress(KeyError, ValueError):
        return max(time.time() - float(os.environ["PORTAL_STARTED_AT"]), 0.0)
    return time.monotonic() - _STARTED_AT


@dataclass
class Interrupts:
    """Whether an orderly stop is under way, so that the next Ctrl-C does not interrupt it but cuts it short."""

    stopping: bool = False


@contextmanager
def catch_signals(ask: Callable[[], object], force: Callable[[], object]) -> Iterator[Interrupts]:
    """Ctrl-C, SIGTERM and a closed terminal stop in order (`ask`); a Ctrl-C while that happens kills (`force`)."""
    loop = asyncio.get_running_loop()
    state = Interrupts()

    def handle(number: signal.Signals) -> None:
        if not state.stopping:
            state.stopping = True
            ask()
        elif number == signal.SIGINT:
            force()
            _RECORD.unlink(missing_ok=True)
            os._exit(130)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield state
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _read_port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdigit():
        raise Failure(f"PORT={text} is not a port number", "use one from 1024 to 65535, e.g. PORT=8001")
    return int(text)


def _width(text: str) -> int:
    return len(strip_styles(text))

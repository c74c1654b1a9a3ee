"""Commands that need servers for a while: manage.py, the benchmark, the README's screenshots."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.runtime import frontend
from config.runtime.browser import ensure_chromium
from config.runtime.console import Failure, console
from config.runtime.environment import build_portal_environment, ensure_secrets
from config.runtime.paths import LOGS, ROOT, RUN, VENV_PYTHON, ensure_run_directory
from config.runtime.portal import hold_checkout, read_record, read_server_urls
from config.runtime.processes import ProcessIdentity, ProcessRegistry, end_processes
from config.runtime.servers import ServerPlan, plan_servers, plan_throw_away_servers, start_servers
from config.runtime.supervisor import Supervisor
from config.runtime.verification import throw_away_directory


def run_manage(arguments: Sequence[str]) -> int:
    """Run manage.py on the servers of `make run`; they are started for it where nothing is running."""
    ensure_run_directory()
    argv = [str(VENV_PYTHON), str(ROOT / "manage.py"), *arguments]
    record = read_record()
    if record and ProcessIdentity("supervisor", record["pid"], record["started"]).is_alive():
        urls = read_server_urls()
        if not urls:
            raise Failure("The portal is still starting", "wait for its addresses, then again")
        return asyncio.run(_attach(argv, _environment(urls, "config.settings.dev")))
    with hold_checkout(0):
        end_processes(ProcessRegistry(RUN / "processes.json").read_left_behind())
        plan = plan_servers(RUN, ensure_secrets())
        return asyncio.run(_serve(plan, argv, LOGS, RUN / "processes.json", "config.settings.dev"))


def run_with_servers(name: str, arguments: Sequence[str]) -> int:
    """Run `python -m tests.<name>` on empty servers of its own that keep their data as production does."""
    ensure_run_directory()
    with throw_away_directory() as directory:
        plan = plan_throw_away_servers(directory, durable=True)
        argv = [str(VENV_PYTHON), "-m", f"tests.{name}", *arguments]
        extra = {"FILES_ROOT": str(directory / "files"), "SPILL_ROOT": str(directory / "spill")}
        if name == "screenshots":
            extra["CHROMIUM_PATH"] = str(ensure_chromium())
        return asyncio.run(
            _serve(plan, argv, directory / "logs", directory / "processes.json", "config.settings.test", extra)
        )


async def _serve(
    plan: ServerPlan,
    argv: Sequence[str],
    logs: Path,
    registry: Path,
    settings: str,
    extra: Mapping[str, str] | None = None,
) -> int:
    supervisor = Supervisor(logs, ProcessRegistry(registry))
    try:
        with console.phase("Servers") as phase:
            await start_servers(plan, supervisor)
            phase.note = plan.describe()
        if "tests.screenshots" in argv:
            with console.phase("Front end") as phase:
                await frontend.ensure_build(lambda text: setattr(phase, "note", text))
        return await _attach(argv, _environment(plan.urls, settings, extra))
    finally:
        await supervisor.stop_all()


async def _attach(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command on this terminal. Ctrl-C is the command's business; we wait for it and clean up."""
    loop = asyncio.get_running_loop()
    process = await asyncio.create_subprocess_exec(*argv, env=dict(env), cwd=ROOT)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, process.terminate)
    status = await process.wait()
    return 128 - status if status < 0 else status


def _environment(urls: Mapping[str, str], settings: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    secrets = ensure_secrets()
    own = {name: secrets[name] for name in ("SECRET_KEY", "VAULT_KEYS")}
    return build_portal_environment(urls, settings, {**own, **(extra or {})})

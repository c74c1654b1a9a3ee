"""The virtual environment: created once, filled from the locked requirements, skipped while they are unchanged."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from config.runtime.console import Failure, console
from config.runtime.environment import build_install_environment
from config.runtime.failures import check_free_space, explain_failure
from config.runtime.paths import LOGS, REQUIREMENTS, RUN, VENV, VENV_PYTHON, ensure_run_directory

STAMP = VENV / ".portal-installed.json"
_FIRST_INSTALL_BYTES = 2_000_000_000
# A lock that contains another one needs no second installation.
_CONTAINS = {"base": ("base",), "dev": ("dev", "base"), "bench": ("bench", "dev", "base")}


def is_inside_environment() -> bool:
    """Whether this interpreter is the environment's own."""
    return Path(sys.prefix).resolve() == VENV.resolve()


def ensure_environment(group: str) -> None:
    """Make `.venv` hold exactly the locked packages of `requirements/<group>.txt`. Cheap when nothing changed.

    Raises:
        Failure: no venv module, no registry, no space, or a package that does not fit; each with its remedy.
    """
    ensure_run_directory()
    if _is_installed(group):
        return
    with _one_at_a_time():
        if _is_installed(group):  # the one we waited for has done it
            return
        with console.phase("Python environment") as phase:
            if not _read_stamp():
                check_free_space(VENV.parent, _FIRST_INSTALL_BYTES, "The first installation")
            if not _is_usable():
                phase.note = "creating .venv"
                _create_environment()
            phase.note = "installing uv"
            _install_uv()
            phase.note = f"installing {_count_packages(group)} packages"
            lock = REQUIREMENTS / f"{group}.txt"
            _run(
                "Installing the Python packages",
                [VENV / "bin" / "uv", "pip", "install", "--python", VENV_PYTHON, "--require-hashes", "-r", lock],
            )
            _write_stamp(group)
            phase.note = f"{_count_packages(group)} packages from requirements/{group}.txt"


def hash_lock(group: str) -> str:
    """Content hash of a lock file and of the uv that installs it.

    Raises:
        Failure: the checkout is incomplete.
    """
    digest = hashlib.sha256()
    for name in ("uv", group):
        try:
            digest.update((REQUIREMENTS / f"{name}.txt").read_bytes())
        except FileNotFoundError as error:
            raise Failure(f"requirements/{name}.txt is missing", "restore the file from version control") from error
    return digest.hexdigest()


def _is_installed(group: str) -> bool:
    stamp = _read_stamp()
    return stamp.get("root") == str(VENV) and stamp.get(group) == hash_lock(group) and VENV_PYTHON.exists()


def _read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(group: str) -> None:
    stamp = {"root": str(VENV), **{name: hash_lock(name) for name in _CONTAINS[group]}}
    draft = STAMP.with_suffix(".new")
    draft.write_text(json.dumps(stamp, indent=1))
    draft.replace(STAMP)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (RUN / "install.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with console.phase("Waiting for the other installation"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_usable() -> bool:
    """Whether the environment exists, was made here, and its Python still starts and is new enough."""
    moved = _read_stamp().get("root", str(VENV)) != str(VENV)
    if moved or not VENV_PYTHON.exists():
        return False
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([VENV_PYTHON, "-c", check], capture_output=True).returncode == 0


def _create_environment() -> None:
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        _install_venv_module()
    if VENV.exists() and not VENV.is_symlink():
        shutil.rmtree(VENV)
    base = getattr(sys, "_base_executable", None) or sys.executable
    _run("Creating the Python environment", [base, "-m", "venv", VENV])


def _install_venv_module() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package = f"python{version}-venv"
    remedy = f"apt-get install {package}   (or name another one: make run PYTHON=/path/to/python3)"
    apt = shutil.which("apt-get")
    if not apt or os.geteuid() != 0:
        sudo = "sudo " if os.geteuid() != 0 else ""
        raise Failure(f"Python {version} ({sys.executable}) has no venv module", f"{sudo}{remedy}")
    install_debian_packages([package], why=f"Python {version} lacks its venv module")
    importlib.invalidate_caches()
    probe = subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True)
    if probe.returncode:
        raise Failure(f"Python {version} ({sys.executable}) has no venv module", remedy)


def install_debian_packages(packages: Sequence[str], *, why: str) -> None:
    """Install packages with apt-get; only as root, the caller has checked.

    Raises:
        Failure: apt-get failed; the line says how to do it by hand.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with console.phase(f"apt-get {' '.join(packages)}") as phase:
        phase.note = why
        names = " ".join(packages)
        install = ["apt-get", "-o", "DPkg::Lock::Timeout=180", "install", "--yes", "--no-install-recommends", *packages]
        if subprocess.run(install, env=env, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0:
            return
        # The usual reason is a machine that never fetched its package lists.
        subprocess.run(["apt-get", "update"], env=env, capture_output=True, stdin=subprocess.DEVNULL)
        done = subprocess.run(install, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-3:])
            raise Failure(f"apt-get could not install {names}", f"apt-get install {names}, then again", details=tail)


def _install_uv() -> None:
    lock = REQUIREMENTS / "uv.txt"
    uv = VENV / "bin" / "uv"
    pinned = lock.read_text().split("uv==", 1)[1].split()[0]
    if uv.exists():
        version = subprocess.run([uv, "--version"], capture_output=True, text=True).stdout.split()
        if version[1:2] == [pinned]:
            return
    _run(
        "Installing uv",
        [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "-r", lock],
    )


def _run(step: str, argv: Sequence[str | Path]) -> None:
    log = LOGS / "install.log"
    done = subprocess.run(
        [str(part) for part in argv],
        env=build_install_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    log.write_text(done.stdout)
    if done.returncode:
        raise explain_failure(step, done.stdout, status=done.returncode, log=log)


def _count_packages(group: str) -> int:
    text = (REQUIREMENTS / f"{group}.txt").read_text()
    return sum("==" in line and not line.startswith((" ", "#")) for line in text.splitlines())

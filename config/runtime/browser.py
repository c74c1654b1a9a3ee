"""Chromium for the browser tests: the system's own, installed by its package manager where we may."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from config.runtime.console import Failure
from config.runtime.install import install_debian_packages
from config.runtime.paths import ROOT

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# On a test, in a module's list of marks, or as its only one.
_MARK = re.compile(r"^\s*(@|pytestmark\s*=.*)?pytest\.mark\.browser\b", re.MULTILINE)


def ensure_chromium() -> Path:
    """The system's Chromium; CHROMIUM_PATH names another one.

    Raises:
        Failure: there is none and it cannot be installed from here; the line says how to.
    """
    given = os.environ.get("CHROMIUM_PATH")
    if given:
        if not os.access(given, os.X_OK):
            raise Failure(f"CHROMIUM_PATH={given} cannot be run", "name an executable, or unset it")
        return Path(given)
    found = _find()
    if found:
        return found
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        install_debian_packages(["chromium"], why="for the browser tests")
        found = _find()
        if found:
            return found
    how = "sudo apt-get install chromium" if apt else "install Chromium with your system's package manager"
    raise Failure("The browser tests need Chromium", f"{how}, or CHROMIUM_PATH=/path/to/chromium")


def has_browser_tests(selection: list[str], root: Path = ROOT) -> bool:
    """Whether a selection of paths, node ids and options may hold a browser test (all tests when it names no path)."""
    named = [root / item.partition("::")[0] for item in selection if not item.startswith("-")]
    paths = [path for path in named if path.exists()] or [root / "tests"]
    files = [file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path])]
    return any(_MARK.search(file.read_text(encoding="utf-8", errors="replace")) for file in files)


def _find() -> Path | None:
    return next((Path(path) for path in map(shutil.which, _NAMES) if path), None)

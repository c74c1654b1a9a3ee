"""The environment: filled once, skipped while the lock is unchanged, and locks that agree with each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.runtime import install
from config.runtime.console import Failure

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that exists and has the base lock, in a place of its own."""
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for name in ("uv", "base", "dev"):
        (requirements / f"{name}.txt").write_text(f"{name}==1.0\n")
    monkeypatch.setattr(install, "VENV", venv)
    monkeypatch.setattr(install, "VENV_PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(install, "STAMP", venv / ".portal-installed.json")
    monkeypatch.setattr(install, "REQUIREMENTS", requirements)
    stamp = {"root": str(venv), "base": install.hash_lock("base"), "dev": "of another lock"}
    (venv / ".portal-installed.json").write_text(json.dumps(stamp))
    return tmp_path


@pytest.fixture
def nothing_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a second start installs nothing")

    monkeypatch.setattr(subprocess, "run", refuse)


@pytest.mark.usefixtures("environment", "nothing_may_run")
def test_second_start_installs_nothing() -> None:
    install.ensure_environment("base")


@pytest.mark.usefixtures("environment", "nothing_may_run")
def test_another_group_is_installed() -> None:
    with pytest.raises(AssertionError):
        install.ensure_environment("dev")


@pytest.mark.parametrize("name", ["base", "uv"])
@pytest.mark.usefixtures("nothing_may_run")
def test_changed_lock_is_installed(environment: Path, name: str) -> None:
    (environment / "requirements" / f"{name}.txt").write_text("other==2.0\n")
    with pytest.raises(AssertionError):
        install.ensure_environment("base")


@pytest.mark.usefixtures("nothing_may_run")
def test_moved_checkout_is_installed_anew(environment: Path) -> None:
    stamp = environment / ".venv" / ".portal-installed.json"
    stamp.write_text(stamp.read_text().replace(str(environment), "/elsewhere"))
    with pytest.raises(AssertionError):
        install.ensure_environment("base")


def test_missing_lock_is_one_line(environment: Path) -> None:
    (environment / "requirements" / "dev.txt").unlink()
    with pytest.raises(Failure, match=r"requirements/dev\.txt is missing"):
        install.ensure_environment("dev")


def read_pins(name: str) -> dict[str, str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w.\[\]-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize(("smaller", "larger"), [("base", "dev"), ("dev", "bench")])
def test_larger_lock_repeats_the_smaller_one(smaller: str, larger: str) -> None:
    # So that installing the larger one counts as both, and tests run on what production gets.
    pins = read_pins(larger)
    assert {name: pins.get(name) for name in read_pins(smaller)} == read_pins(smaller)


@pytest.mark.parametrize("name", ["uv", "base", "dev", "bench"])
def test_lock_has_hashes_and_no_address(name: str) -> None:
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    assert text.count("--hash=sha256:") >= len(read_pins(name)) > 0
    assert "://" not in text

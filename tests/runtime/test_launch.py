"""The launcher finds a Python that fits, or says in one line what is missing; the Makefile names only real commands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from config.runtime.bootstrap import REQUIREMENTS_OF
from config.runtime.browser import has_browser_tests
from config.runtime.verification import split_marks

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "config" / "runtime" / "launch.sh"


def make_python(folder: Path, name: str, *, version: str, fits: bool, has_venv: bool = True) -> Path:
    """A stand-in for an interpreter that answers the launcher's two questions and shows what it was started with."""
    script = folder / name
    script.write_text(
        "#!/bin/sh\n"
        f'case "$1$2" in\n  --version) echo "Python {version}";;\n'
        f"  *version_info*) exit {0 if fits else 1};;\n"
        f"  *ensurepip*) exit {0 if has_venv else 1};;\n"
        f'  *) echo "{name} $2 $3";;\nesac\n'
    )
    script.chmod(0o755)
    return script


def launch(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The launcher as a copy, so that this checkout's own environment is not found."""
    home = folder / "config" / "runtime"
    home.mkdir(parents=True, exist_ok=True)
    (home / "launch.sh").write_text(LAUNCH.read_text())
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("sh", "dirname"):
        if not (tools / tool).exists():
            (tools / tool).symlink_to(f"/usr/bin/{tool}")
    path = f"{folder / 'bin'}{os.pathsep}{tools}"
    return subprocess.run(
        ["/bin/sh", str(home / "launch.sh"), "run"],
        env={"PATH": path, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return tmp_path


def test_python_with_venv_is_preferred(folder: Path) -> None:
    make_python(folder / "bin", "python3", version="3.12.0", fits=True, has_venv=False)
    make_python(folder / "bin", "python3.13", version="3.13.0", fits=True)
    done = launch(folder)
    assert done.stdout.startswith("python3.13 ")
    assert done.stdout.split()[-2].endswith("bootstrap.py")


def test_old_python_is_passed_over(folder: Path) -> None:
    make_python(folder / "bin", "python3", version="3.9.2", fits=False)
    make_python(folder / "bin", "python3.11", version="3.11.2", fits=True)
    assert launch(folder).stdout.startswith("python3.11 ")


def test_named_python_is_taken(folder: Path) -> None:
    make_python(folder / "bin", "python3", version="3.12.0", fits=True)
    mine = make_python(folder, "mine", version="3.13.1", fits=True)
    assert launch(folder, PYTHON=str(mine)).stdout.startswith("mine ")


def test_named_python_that_is_too_old_is_one_line(folder: Path) -> None:
    mine = make_python(folder, "mine", version="3.9.2", fits=False)
    done = launch(folder, PYTHON=str(mine))
    assert done.returncode == 1
    assert done.stderr == f"✗ PYTHON={mine} is Python 3.9.2 → the portal needs 3.11 or newer\n"


def test_named_python_that_does_not_exist_is_one_line(folder: Path) -> None:
    done = launch(folder, PYTHON="/nonexistent/python")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "PYTHON=/nonexistent/python does not exist" in done.stderr


def read_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_target_is_a_command_and_every_command_a_target() -> None:
    assert read_targets() - {"help"} == set(REQUIREMENTS_OF)
    started = set(re.findall(r"\$\(RUNTIME\) ([a-z-]+)", (ROOT / "Makefile").read_text()))
    assert started == set(REQUIREMENTS_OF)


def test_help_lists_every_target() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(f"make {target}" in done.stdout for target in read_targets())


def test_unknown_command_is_one_line() -> None:
    done = subprocess.run(
        ["sh", str(LAUNCH), "dance"], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 2
    assert "Unknown command 'dance' → see `make help`" in done.stdout


def test_continuous_integration_runs_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")


def test_selection_without_browser_tests_needs_no_browser(tmp_path: Path) -> None:
    (tmp_path / "tests" / "engine").mkdir(parents=True)
    (tmp_path / "tests" / "engine" / "test_runs.py").write_text("def test_run(): ...\n")
    (tmp_path / "tests" / "test_pages.py").write_text("import pytest\n@pytest.mark.browser\ndef test_page(): ...\n")
    (tmp_path / "tests" / "test_more.py").write_text("pytestmark = [\n    pytest.mark.browser,\n]\n")
    assert not has_browser_tests(["tests/engine"], tmp_path)
    assert not has_browser_tests(["tests/engine/test_runs.py::test_run"], tmp_path)
    assert has_browser_tests(["tests/test_pages.py"], tmp_path)
    assert has_browser_tests(["tests/test_more.py"], tmp_path)
    assert has_browser_tests(["tests"], tmp_path)
    # no path named: all tests are selected from
    assert has_browser_tests(["-k", "run"], tmp_path)


@pytest.mark.parametrize(
    ("selection", "marks", "rest"),
    [
        (["tests/engine"], "", ["tests/engine"]),
        (["-m", "committed", "tests"], "(committed) and ", ["tests"]),
        (["tests", "-k", "lease", "-m", "slow or committed"], "(slow or committed) and ", ["tests", "-k", "lease"]),
    ],
)
def test_marks_of_a_selection_narrow_our_own(selection: list[str], marks: str, rest: list[str]) -> None:
    assert split_marks(selection) == (marks, rest)

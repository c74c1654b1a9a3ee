"""The four layer rules hold, and each of them notices a planted violation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache", "--config", str(root / "pyproject.toml")],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything the rules look at."""
    for name in ("apps", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(root: Path, path: str, code: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    package = file.parent
    while package != root:
        (package / "__init__.py").touch()
        package = package.parent
    with file.open("a") as out:
        out.write(f"\n{code}\n")


def test_layer_rules_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("contract", "path", "code"),
    [
        # an app reaches up
        ("apps form one-way layers", "apps/core/planted.py", "import apps.tenancy.choices"),
        ("apps form one-way layers", "apps/expressions/planted.py", "import apps.engine.choices"),
        # two apps on one line see each other
        ("apps form one-way layers", "apps/vault/planted.py", "import apps.audit.services"),
        # an app that no line names
        ("apps form one-way layers", "apps/extras/planted.py", ""),
        # rooms of one app
        ("rooms inside an app form one-way layers", "apps/engine/selectors.py", "import apps.engine.services"),
        ("rooms inside an app form one-way layers", "apps/quality/contracts.py", "import apps.quality.models"),
        # another app's private rooms, from a layer that may import that app otherwise
        ("models, api and tasks stay inside their app", "apps/engine/planted.py", "import apps.integrations.models"),
        ("models, api and tasks stay inside their app", "apps/engine/planted.py", "import apps.access.api"),
        ("models, api and tasks stay inside their app", "apps/portal/planted.py", "import apps.engine.tasks"),
        ("models, api and tasks stay inside their app", "apps/portal/planted.py", "import apps.engine.models"),
        # apps know no settings modules
        ("apps never import config", "apps/core/planted.py", "import config.settings.env"),
    ],
)
def test_planted_violation_breaks_its_rule(checkout: Path, contract: str, path: str, code: str) -> None:
    for target in ("apps/tenancy/choices.py", "apps/engine/choices.py", "apps/vault/services/__init__.py"):
        plant(checkout, target, "")
    for target in ("integrations/models.py", "access/api/__init__.py", "engine/tasks.py", "engine/models.py"):
        plant(checkout, f"apps/{target}", "")
    plant(checkout, "apps/quality/models.py", "")
    plant(checkout, "apps/engine/services/__init__.py", "")

    plant(checkout, path, code)

    done = lint_imports(checkout)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


def test_an_app_may_import_its_own_private_rooms(checkout: Path) -> None:
    plant(checkout, "apps/integrations/models.py", "")
    plant(checkout, "apps/integrations/services/planted.py", "import apps.integrations.models")

    done = lint_imports(checkout)

    assert "models, api and tasks stay inside their app KEPT" in " ".join(done.stdout.split()), done.stdout

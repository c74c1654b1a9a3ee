"""Where the runtime keeps things. Everything it writes lies in `.venv/`, `.run/` and `.cache/` of the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
RUN = ROOT / ".run"
LOGS = RUN / "logs"
SECRETS = RUN / "secrets.env"
REQUIREMENTS = ROOT / "requirements"
FRONTEND = ROOT / "frontend_host"
STATIC_MFE = ROOT / "static" / "mfe"
STATIC_COLLECTED = ROOT / "staticfiles"
CACHE = ROOT / ".cache"


def ensure_run_directory(run: Path = RUN) -> Path:
    """Create the data directory: others may pass through (the database's own user must), not look."""
    run.mkdir(parents=True, exist_ok=True)
    run.chmod(0o711)
    (run / "logs").mkdir(exist_ok=True)
    # Collected static files exist in production only, but the file server warns about a missing folder.
    STATIC_COLLECTED.mkdir(exist_ok=True)
    return run


def find_site_packages(venv: Path = VENV) -> Path:
    """The environment's site-packages, whatever its Python version.

    Raises:
        FileNotFoundError: the environment does not exist.
    """
    for candidate in sorted((venv / "lib").glob("python3*/site-packages")):
        return candidate
    raise FileNotFoundError(venv)

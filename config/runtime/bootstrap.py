"""Entry point of every `make` target. Runs on a bare Python: makes the environment, then continues inside it.

launch.sh <command> [arguments]  →  bootstrap.py (any Python ≥ 3.11)  →  bootstrap.py (.venv)  →  commands.main()
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Started as a file, so the checkout is not on the path yet, and this folder must not be.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from config.runtime.console import Failure, console  # noqa: E402 - needs the path above
from config.runtime.failures import explain_os_error  # noqa: E402
from config.runtime.install import ensure_environment, is_inside_environment  # noqa: E402
from config.runtime.paths import VENV_PYTHON  # noqa: E402

# Which locked requirements a command needs; None: it runs on any Python.
REQUIREMENTS_OF = {
    "run": "base",
    "migrate": "base",
    "shell": "base",
    "stop": None,
    "clean": None,
    "test": "dev",
    "test-fast": "dev",
    "test-chaos": "dev",
    "lint": "dev",
    "format": "dev",
    "lock": "dev",
    "screenshots": "dev",
    "bench": "bench",
}


def main(argv: list[str]) -> int:
    """Run one command; every foreseeable failure is one line and an exit code."""
    command = argv[0] if argv else ""
    try:
        if command not in REQUIREMENTS_OF:
            raise Failure(f"Unknown command {command!r}", "see `make help`", status=2)
        group = REQUIREMENTS_OF[command]
        if group and not is_inside_environment():
            ensure_environment(group)
            os.execv(VENV_PYTHON, [str(VENV_PYTHON), "-B", __file__, *argv])
        if group:
            ensure_environment(group)
        from config.runtime.commands import run_command  # the rest may use what is installed

        return run_command(command, argv[1:])
    except Failure as failure:
        console.fail(failure)
        return failure.status
    except OSError as error:
        console.fail(explain_os_error(error))
        return 1
    except KeyboardInterrupt:
        console.line("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

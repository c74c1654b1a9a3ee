"""Turns the last words of a failed tool into one clear line with a remedy."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path

from config.runtime.console import Failure

# (pattern in the tool's output, what happened, what to do); the first match wins.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|ENOSPC|disk quota exceeded",
        "The disk is full",
        "free some space (`make clean` removes what the portal wrote here) and start again",
    ),
    (
        r"certificate verify failed|UnknownIssuer|SELF_SIGNED_CERT|UNABLE_TO_(GET|VERIFY)|unable to get local issuer",
        "A package registry's certificate is not trusted",
        "install the system's ca-certificates, or name your bundle: SSL_CERT_FILE=/path/to/bundle.pem",
    ),
    (
        r"name resolution|name or service not known|dns error|ENOTFOUND|EAI_AGAIN|network is unreachable|"
        r"ENETUNREACH|connection refused|ECONNREFUSED|ETIMEDOUT|timed out|no route to host|"
        r"error sending request|failed to establish a new connection|could not connect",
        "A package registry cannot be reached",
        "check the network or proxy (PIP_INDEX_URL, UV_INDEX_URL and npm's registry setting are honoured), then again",
    ),
    (
        r"requires-python|requires a different python|not compatible with (this|your) python",
        "A locked package does not support this Python",
        "use Python 3.11, 3.12 or 3.13: make run PYTHON=/path/to/python3",
    ),
    (
        r"no matching distribution|no wheels? with a matching|has no wheels",
        "A locked package has no build for this machine",
        "the embedded servers are built for Linux and macOS on x86-64 and ARM64; elsewhere use deploy/compose.yaml",
    ),
    (
        r"hashes? .*(mismatch|do not match)|THESE PACKAGES DO NOT MATCH THE HASHES|EINTEGRITY",
        "A downloaded package differs from the locked one",
        "try again; if it stays, the registry serves something else: `make lock` and review the change",
    ),
    (
        r"permission denied|EACCES|read-only file system|EROFS",
        "A file may not be written",
        "check who owns this checkout, .venv/ and .run/",
    ),
)


def explain_failure(step: str, output: str, *, status: int | None = None, log: Path | None = None) -> Failure:
    """Build the failure of a tool that ended badly.

    Args:
        step: what was being done, e.g. "Installing the Python packages".
        output: what the tool printed.
        status: its exit code.
        log: file with the complete output.

    Returns:
        A failure that names a known cause and its remedy, else the step with the tool's last lines.
    """
    where = f"the whole output is in {log}" if log else ""
    tail = "\n".join(_last_lines(output))
    for pattern, message, remedy in _KNOWN:
        if re.search(pattern, output, re.IGNORECASE):
            return Failure(
                f"{step}: {message[0].lower()}{message[1:]}", remedy, details=_matching_line(pattern, output)
            )
    code = f" (exit code {status})" if status is not None else ""
    return Failure(f"{step} failed{code}", where, details=tail)


def explain_os_error(error: OSError) -> Failure:
    """A failure for an operating system error that reached the top."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure("The disk is full", _KNOWN[0][2])
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Failure(f"{error.filename or 'A file'} may not be written", "check who owns this checkout and .run/")
    return Failure(f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}")


def check_free_space(path: Path, needed_bytes: int, purpose: str) -> None:
    """Refuse to start what would fill the disk.

    Raises:
        Failure: less than `needed_bytes` are free on the file system of `path`.
    """
    free = shutil.disk_usage(path).free
    if free < needed_bytes:
        raise Failure(
            f"{purpose} needs {needed_bytes / 1e9:.1f} GB, the disk of {path} has {free / 1e9:.1f} GB free",
            "free some space and start again",
        )


def _last_lines(output: str) -> list[str]:
    """What to show of a failed tool: its last lines; npm says what is wrong first and appends its manual."""
    lines = output.strip().splitlines()
    if lines and lines[0].startswith("npm error"):
        return lines[:8]
    return lines[-12:]


def _matching_line(pattern: str, output: str) -> str:
    for line in reversed(output.splitlines()):
        if re.search(pattern, line, re.IGNORECASE):
            return line.strip()[:300]
    return ""

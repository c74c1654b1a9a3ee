"""What tools say when they fail becomes one line that a person can act on."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from config.runtime.console import Failure, format_elapsed
from config.runtime.failures import check_free_space, explain_failure, explain_os_error


@pytest.mark.parametrize(
    ("output", "message", "remedy"),
    [
        # uv and pip on a full disk
        ("error: failed to copy file: No space left on device (os error 28)", "the disk is full", "make clean"),
        ("npm error code ENOSPC", "the disk is full", "make clean"),
        # pip, uv and npm without a network
        (
            "NewConnectionError: [Errno -3] Temporary failure in name resolution",
            "cannot be reached",
            "network or proxy",
        ),
        ("error: error sending request for url (…)\n  cause: dns error", "cannot be reached", "network or proxy"),
        ("npm error code ENOTFOUND", "cannot be reached", "network or proxy"),
        # behind a proxy with a certificate of its own
        ("invalid peer certificate: UnknownIssuer", "certificate is not trusted", "SSL_CERT_FILE"),
        ("npm error code UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "certificate is not trusted", "SSL_CERT_FILE"),
        # a changed package
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "differs from the locked", "lock"),
        # a Python that is too new for a wheel
        ("× No solution found: duckdb has no wheels with a matching Python", "no build for this machine", "compose"),
        ("error: Permission denied (os error 13)", "may not be written", "owns"),
    ],
)
def test_known_failure_has_a_cause_and_a_remedy(output: str, message: str, remedy: str) -> None:
    failure = explain_failure("Installing", output, status=1)
    assert failure.message.startswith("Installing: ")
    assert message in failure.message
    assert remedy in failure.remedy


def test_unknown_failure_shows_the_tools_last_lines_and_its_log() -> None:
    failure = explain_failure("Building", "\n".join(f"line {n}" for n in range(50)), status=3, log=Path("/x/build.log"))
    assert failure.message == "Building failed (exit code 3)"
    assert "line 49" in failure.details
    assert "line 3\n" not in failure.details
    assert "/x/build.log" in failure.remedy


def test_npm_says_what_is_wrong_first() -> None:
    output = "npm error code EUSAGE\nnpm error lock file is out of step\n" + "npm error manual\n" * 40
    assert "lock file is out of step" in explain_failure("npm ci", output, status=1).details


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "The disk is full"), (errno.EACCES, "may not be written"), (errno.ENOEXEC, "/x")],
)
def test_operating_system_error_is_one_line(number: int, message: str) -> None:
    assert message in explain_os_error(OSError(number, "words", "/x")).message


def test_start_is_refused_before_the_disk_is_full(tmp_path: Path) -> None:
    check_free_space(tmp_path, 1, "Starting")
    with pytest.raises(Failure, match=r"Starting needs .* GB free"):
        check_free_space(tmp_path, shutil.disk_usage(tmp_path).free * 2, "Starting")


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (125, "2 min 05 s")])
def test_elapsed_time_is_readable(seconds: float, text: str) -> None:
    assert format_elapsed(seconds) == text

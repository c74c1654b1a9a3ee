"""Message brokers for the tests: the system's own, installed by its package manager where we may."""

from __future__ import annotations

import os
import shutil

from config.runtime.console import Failure, console
from config.runtime.install import install_debian_packages

PACKAGES = {"rabbitmq-server": "rabbitmq-server", "nats-server": "nats-server", "mosquitto": "mosquitto"}
"""Debian package: its program."""


def ensure_brokers() -> None:
    """Install what is missing. Where that is not possible, the tests of a broker are skipped and say so."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    missing = [package for package, program in PACKAGES.items() if shutil.which(program, path=path) is None]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    try:
        install_debian_packages(missing, why="for the tests of message brokers")
    except Failure as failure:
        console.fail(failure)

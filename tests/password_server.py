"""A PostgreSQL server that checks passwords: the tests' own if it does, else a second one, started for them."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from config.runtime import postgres
from config.runtime.verification import throw_away_directory
from tests.processes import database_url, free_port

START_TIMEOUT_S = 60
PASSWORD = secrets.token_urlsafe(12)


def checks_passwords(url: str) -> bool:
    """Whether the server at that address refuses a wrong password."""
    try:
        psycopg.connect(url, password="wrong", connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return "password" in str(error)
    return False


@contextmanager
def password_server() -> Iterator[dict[str, Any]]:
    """Settings of a `postgresql` connection to it, and `password`: what opens it."""
    url = database_url()
    if checks_passwords(url):
        parts = urlsplit(url)
        yield {
            "host": parts.hostname,
            "port": parts.port or 5432,
            "database": parts.path.lstrip("/"),
            "user": parts.username,
            "password": parts.password,
        }
        return
    account = postgres.ensure_account()
    with throw_away_directory() as directory:
        cluster = postgres.Cluster(
            binaries=postgres.find_binaries(account),
            data=directory / "postgres",
            port=free_port(),
            account=account,
            password=PASSWORD,
            throw_away=True,
        )
        with ThreadPoolExecutor(1) as thread:  # the tests' own thread may have an event loop already
            thread.submit(asyncio.run, postgres.ensure_cluster(cluster)).result()
        program = postgres.build_program(cluster)
        process = subprocess.Popen(
            program.argv,
            env=dict(program.env),
            cwd=program.cwd,
            user=program.user,
            group=program.group,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait(cluster.url("postgres", database="postgres"))
            yield {
                "host": "127.0.0.1",
                "port": cluster.port,
                "database": "postgres",
                "user": "postgres",
                "password": PASSWORD,
            }
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def _wait(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(url, connect_timeout=3).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)

"""The locked engine: what is out of reach, and what ends in time."""

from __future__ import annotations

import threading
import time

import pytest

from apps.expressions.exceptions import EvaluationFailed, EvaluationMemory, EvaluationTimeout
from apps.expressions.services.sandbox import open_sandbox, thread_sandbox


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "COPY (SELECT 1) TO '/tmp/expressions_out.csv'",
        "ATTACH '/tmp/expressions.db' AS x",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 8",
        "SET memory_limit = '10GB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "SELECT getenv('HOME')",
        "EXPORT DATABASE '/tmp/expressions_export'",
        "PRAGMA enable_profiling = 'json'",
    ],
)
def test_engine_refuses_even_when_asked_directly(sql: str) -> None:
    with open_sandbox() as sandbox, pytest.raises(EvaluationFailed):
        sandbox.run(sql)


def test_python_variables_are_not_tables() -> None:
    secret = thread_sandbox().run("SELECT 1 AS x")
    assert secret.num_rows == 1
    with pytest.raises(EvaluationFailed):
        thread_sandbox().run("SELECT * FROM secret")


def test_watchdog_stops_and_the_engine_lives_on() -> None:
    with open_sandbox() as sandbox:
        started = time.monotonic()
        with pytest.raises(EvaluationTimeout):
            sandbox.run("SELECT count(*) FROM range(100000000000)", 0.3)
        assert time.monotonic() - started < 5
        assert sandbox.run("SELECT 42 AS x").column("x")[0].as_py() == 42


def test_watchdog_knows_engines_apart() -> None:
    with open_sandbox() as slow, open_sandbox() as fast:
        failed: list[BaseException] = []

        def run() -> None:
            try:
                slow.run("SELECT count(*) FROM range(100000000000)", 0.5)
            except EvaluationTimeout as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            assert fast.run("SELECT 1 AS x", 5.0).num_rows == 1
        thread.join()
        assert len(failed) == 1


def test_memory_is_bounded() -> None:
    with open_sandbox(memory_mb=64) as sandbox, pytest.raises((EvaluationMemory, EvaluationFailed)):
        sandbox.run("SELECT list(i ORDER BY hash(i)) FROM range(50000000) t(i)", 60)


def test_stream_is_bounded_per_batch() -> None:
    with open_sandbox() as sandbox:
        batches = sandbox.stream("SELECT i FROM range(200000) t(i)", batch_rows=65_536)
        assert sum(batch.num_rows for batch in batches) == 200_000

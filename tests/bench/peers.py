"""What the portal is compared with. Each peer gets an empty table with the same key, unless its line says otherwise."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import duckdb
import psycopg

from tests.bench.data import TARGET_COLUMNS, TARGET_NAMES, Dataset, mapped_sql

CHUNK = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Timing:
    """One measurement.

    Attributes:
        seconds: wall clock.
        rows: rows that were loaded (a sample says so in `note`).
        note: what this side leaves out.
    """

    seconds: float
    rows: int
    note: str = ""


def _clock(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def checkpoint(session: psycopg.Connection[Any]) -> None:
    """Start each measurement with clean pages, where the log-in may ask for it."""
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
        session.execute("CHECKPOINT")


def _fresh(url: str, table: str, *, key: bool = True) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(f"DROP TABLE IF EXISTS {table}")
        session.execute(f"CREATE TABLE {table} ({TARGET_COLUMNS}{', PRIMARY KEY (invoice_id)' if key else ''})")
        checkpoint(session)


def copy_ready_file(url: str, data: Dataset) -> Timing:
    """PostgreSQL's own COPY of the ready, mapped, valid file into the keyed table: the yardstick."""
    _fresh(url, "peer_copy")

    def run() -> None:
        with psycopg.connect(url) as session, session.cursor() as cursor, data.ready.open("rb") as file:
            with cursor.copy("COPY peer_copy FROM STDIN (FORMAT csv, HEADER)") as copy:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)

    return Timing(_clock(run), data.accepted, "mapped and validated before; no quarantine, no reconciliation")


def duckdb_adbc(url: str, data: Dataset) -> Timing:
    """DuckDB reads and maps the CSV, ADBC ingests."""
    import adbc_driver_postgresql.dbapi as adbc

    _fresh(url, "peer_duckdb")

    def run() -> None:
        with duckdb.connect() as engine, adbc.connect(url) as session:
            reader = engine.sql(mapped_sql(f"read_csv('{data.csv}')")).to_arrow_reader(65_536)
            with session.cursor() as cursor:
                cursor.adbc_ingest("peer_duckdb", reader, mode="append")
            session.commit()

    return Timing(_clock(run), data.accepted, "rejected rows are dropped; no reconciliation")


def polars_adbc(url: str, data: Dataset) -> Timing:
    """polars reads and maps the CSV, ADBC ingests."""
    import adbc_driver_postgresql.dbapi as adbc
    import polars as pl

    _fresh(url, "peer_polars")

    def run() -> None:
        dates = {"issued_on": pl.Date, "due_on": pl.Date, "updated_at": pl.Datetime("us")}
        money = {name: pl.Decimal(18, 2) for name in ("net", "tax", "total")}
        frame = (
            pl.scan_csv(data.csv, schema_overrides={**dates, **money})
            .filter((pl.col("total") >= 0) & (pl.col("due_on") >= pl.col("issued_on")))
            .select(
                pl.col("id").alias("invoice_id"),
                pl.col("number").str.strip_chars().str.to_uppercase(),
                "customer_id",
                "customer_name",
                "issued_on",
                "due_on",
                pl.col("currency").str.to_uppercase(),
                "net",
                "tax",
                "total",
                pl.when(pl.col("status") == "paid").then(pl.lit("settled")).otherwise(pl.col("status")).alias("status"),
                "updated_at",
                "note",
            )
            .collect()
        )
        with adbc.connect(url) as session:
            with session.cursor() as cursor:
                cursor.adbc_ingest("peer_polars", frame.to_arrow(), mode="append")
            session.commit()

    return Timing(_clock(run), data.accepted, "whole frame in memory; rejected rows are dropped")


def staged_upsert(url: str, data: Dataset, *, changed: bool) -> Timing:
    """COPY into an unlogged staging table, then one INSERT … ON CONFLICT DO UPDATE into the full keyed table."""
    _fresh(url, "peer_upsert")
    updates = ", ".join(f"{name} = excluded.{name}" for name in TARGET_NAMES if name != "invoice_id")
    with psycopg.connect(url, autocommit=True) as session:
        with session.cursor() as cursor, data.ready.open("rb") as file:
            with cursor.copy("COPY peer_upsert FROM STDIN (FORMAT csv, HEADER)") as copy:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)
        where = "" if changed else " WHERE invoice_id % 100 = 1"
        session.execute(f"UPDATE peer_upsert SET note = 'before ' || note{where}")
        session.execute("VACUUM ANALYZE peer_upsert")
        checkpoint(session)

    def run() -> None:
        with psycopg.connect(url) as session, session.cursor() as cursor:
            cursor.execute("CREATE UNLOGGED TABLE peer_stage (LIKE peer_upsert)")
            with data.ready.open("rb") as file, cursor.copy("COPY peer_stage FROM STDIN (FORMAT csv, HEADER)") as copy:
                while chunk := file.read(CHUNK):
                    copy.write(chunk)
            cursor.execute(
                f"INSERT INTO peer_upsert SELECT * FROM peer_stage ON CONFLICT (invoice_id) DO UPDATE SET {updates}"
            )
            cursor.execute("DROP TABLE peer_stage")

    return Timing(_clock(run), data.accepted, "of the ready file; no counts, no quarantine")


def hand_written_pushdown(url: str, data: Dataset, source: str) -> Timing:
    """The INSERT … SELECT that somebody would write by hand, in the database that holds the source."""
    _fresh(url, "peer_pushdown")
    columns = ", ".join(
        f"{expression} AS {name}" for name, expression in zip(TARGET_NAMES, _postgres_expressions(), strict=True)
    )

    def run() -> None:
        with psycopg.connect(url) as session:
            session.execute(
                f"INSERT INTO peer_pushdown SELECT {columns} FROM {source} WHERE total >= 0 AND due_on >= issued_on"
            )

    return Timing(_clock(run), data.accepted, "rejected rows are dropped; no reconciliation")


def _postgres_expressions() -> tuple[str, ...]:
    return (
        "id",
        "upper(trim(number))",
        "customer_id",
        "customer_name",
        "issued_on",
        "due_on",
        "upper(currency)",
        "net",
        "tax",
        "total",
        "CASE WHEN status = 'paid' THEN 'settled' ELSE status END",
        "updated_at",
        "note",
    )


def dlt_peer(python: Path, url: str, data: Dataset, backend: str, *, rows: int | None = None) -> Timing:
    """dlt in its own environment: `arrow`, `connectorx`, `rows`, or `merge` (99 % of the rows unchanged).

    Raises:
        RuntimeError: dlt failed; with the end of what it said.
    """
    task = {
        "url": _with_password(url),
        "csv": str(data.csv),
        "backend": backend,
        "rows": rows or data.rows,
        "source": "bench_source",
    }
    done = subprocess.run(
        [str(python), "-W", "ignore", str(Path(__file__).with_name("dlt_task.py")), json.dumps(task)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode != 0:
        raise RuntimeError((done.stderr or done.stdout).strip()[-800:])
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Timing(float(answer["seconds"]), int(answer["rows"]), str(answer["note"]))


def _with_password(url: str) -> str:
    """dlt insists on a password, also where the server asks for none."""
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    if ":" not in login:
        login += ":unused"
    return urlunsplit(("postgresql", f"{login}@{place}", parts.path, parts.query, ""))


warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")

"""`python -m tests.bench.bench_connectors`: the connectors alone, beside PostgreSQL's own statements.

Needs DATABASE_URL (a server on which a database may be made). Each yardstick is measured in the same run, right beside
what is compared with it, and the better of two counts; only the ratios mean anything, and only on a quiet machine.
What each side leaves out: COPY and INSERT … ON CONFLICT have a ready file, check nothing and keep no lineage; the
connectors start from Arrow batches (stage and finish include encoding, lineage ids, duplicate check and marker).
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

FIELDS = [
    ("invoice_id", "BIGINT"),
    ("number", "VARCHAR"),
    ("customer_id", "BIGINT"),
    ("currency", "VARCHAR"),
    ("net", "DECIMAL(18,2)"),
    ("tax", "DECIMAL(18,2)"),
    ("total", "DECIMAL(18,2)"),
    ("status", "VARCHAR"),
    ("issued_on", "DATE"),
    ("due_on", "DATE"),
    ("country", "VARCHAR"),
    ("is_paid", "BOOLEAN"),
    ("updated_at", "TIMESTAMPTZ"),
]
COLUMNS = (
    "invoice_id bigint PRIMARY KEY, number text, customer_id bigint, currency text, net numeric(18,2), "
    "tax numeric(18,2), total numeric(18,2), status text, issued_on date, due_on date, country text, is_paid boolean, "
    "updated_at timestamptz"
)
ROWS = """
SELECT i AS invoice_id, 'INV-' || lpad(i::VARCHAR, 8, '0') AS number, (i * 7919) % 50000 AS customer_id,
  ['EUR','USD','GBP','CHF'][1 + i % 4] AS currency, ((i * 37) % 1000000 / 100)::DECIMAL(18,2) AS net,
  ((i * 7) % 100000 / 100)::DECIMAL(18,2) AS tax,
  (((i * 37) % 1000000 + (i * 7) % 100000) / 100)::DECIMAL(18,2) + (i < $changed)::INT::DECIMAL(18,2) AS total,
  ['open','paid','overdue'][1 + i % 3] AS status, DATE '2020-01-01' + (i % 2000)::INT AS issued_on,
  DATE '2020-01-31' + (i % 2000)::INT AS due_on, ['DE','FR','US','GB'][1 + i % 4] AS country, i % 3 = 1 AS is_paid,
  TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds(i * 1000000) AS updated_at, i AS _row_id
FROM range($rows) t(i)
"""
REPEATS = 2


class Comparison:
    """Collects pairs of measurements and prints them as ratios."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def add(self, name: str, action: Callable[[], Any], yardstick: str, other: Callable[[], Any]) -> None:
        """Measure both sides, twice each in turn; keep the better of each."""
        ours, theirs = [], []
        for _ in range(REPEATS):
            theirs.append(_seconds(other))
            ours.append(_seconds(action))
        line = {
            "name": name,
            "seconds": round(min(ours), 3),
            "yardstick": yardstick,
            "yardstick_seconds": round(min(theirs), 3),
            "ratio": round(min(ours) / min(theirs), 3),
        }
        self.lines.append(line)
        print(f"{name:44} {line['seconds']:8.2f} s  {line['ratio']:6.2f} × {yardstick} ({line['yardstick_seconds']} s)")


def main(rows: int) -> None:
    """Run every comparison on a throw-away database and print the ratios and, last, one JSON line."""
    import django

    django.setup()
    from apps.connectors.choices import Disposition
    from apps.connectors.contracts import ConnectionContext, EntitySchema, ReadRequest, WriteRequest
    from apps.connectors.registries import connector_registry
    from apps.connectors.sql.connector import SqlConnector
    from apps.connectors.sql.endpoint import Endpoint

    where = dict(conninfo_to_dict(os.environ["DATABASE_URL"]))
    name = f"bench_{uuid4().hex[:10]}"
    admin = make_conninfo(**{**where, "dbname": "postgres"})
    own = make_conninfo(**{**where, "dbname": name})
    with psycopg.connect(admin, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        with tempfile.TemporaryDirectory() as folder:
            manifest = connector_registry.get("postgresql").manifest
            connector = _plain(SqlConnector)(manifest, ConnectionContext(purpose="bench"))
            connector.endpoint = Endpoint.from_url(own)
            tables = {changed: _table(rows, changed) for changed in (0, rows // 100, rows)}
            files = {changed: _csv(table, Path(folder) / f"{changed}.csv") for changed, table in tables.items()}
            names = [field for field, _type in FIELDS]

            def load(changed: int, disposition: Disposition) -> None:
                wanted = WriteRequest(
                    "target", EntitySchema.of("target", FIELDS, ("invoice_id",)), uuid4(), disposition, ("invoice_id",)
                )
                writer = connector.open_writer(wanted)
                part = writer.stage(tables[changed].to_batches(65_536), part="p0")
                assert not list(writer.duplicates([part]))
                writer.finish([part], allow_empty=False, marker="bench")

            def execute(*statements: str) -> None:
                with psycopg.connect(own, autocommit=True) as session:
                    for statement in statements:
                        session.execute(statement)

            def copy(table: str, path: Path) -> None:
                with psycopg.connect(own, autocommit=True) as session, path.open("rb") as file:
                    with session.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv)") as stream:
                        while chunk := file.read(1 << 18):
                            stream.write(chunk)

            def reset_copy() -> None:
                execute("DROP TABLE IF EXISTS keyed", f"CREATE TABLE keyed ({COLUMNS})")
                copy("keyed", files[0])

            def on_conflict(changed: int) -> None:
                assignments = ", ".join(f"{one} = excluded.{one}" for one in names[1:])
                execute(
                    "DROP TABLE IF EXISTS staged",
                    f"CREATE UNLOGGED TABLE staged ({COLUMNS.replace(' PRIMARY KEY', '')})",
                )
                copy("staged", files[changed])
                execute(f"INSERT INTO keyed SELECT * FROM staged ON CONFLICT (invoice_id) DO UPDATE SET {assignments}")

            compared = Comparison()
            compared.add(
                "full load (stage, check, finish)",
                lambda: load(0, Disposition.REPLACE),
                "COPY of the ready file into the keyed table",
                reset_copy,
            )
            for changed, label in ((rows, "every row changed"), (rows // 100, "1 % changed")):

                def prepare_and_merge(changed: int = changed) -> float:
                    load(0, Disposition.REPLACE)
                    return _seconds(lambda: load(changed, Disposition.UPSERT))

                def prepare_and_insert(changed: int = changed) -> float:
                    reset_copy()
                    return _seconds(lambda: on_conflict(changed))

                compared.add(f"upsert, {label}", prepare_and_merge, "staged INSERT … ON CONFLICT", prepare_and_insert)

            def read() -> None:
                for _batch in connector.read(ReadRequest("public.keyed")):
                    pass

            def copy_out() -> None:
                with (
                    psycopg.connect(own) as session,
                    session.cursor().copy("COPY keyed TO STDOUT (FORMAT binary)") as out,
                ):
                    for _chunk in out:
                        pass

            compared.add("read a table as Arrow, decimals exact", read, "COPY TO STDOUT, thrown away", copy_out)
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            load_average = os.getloadavg()[0]
            print(f"peak memory of this process {peak_mb} MB (the test data included); load average {load_average:.1f}")
            print(json.dumps({"rows": rows, "load_average": load_average, "results": compared.lines}))
    finally:
        with psycopg.connect(admin, autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _plain(base: type[Any]) -> type[Any]:
    """The SQL connector without a way to be configured: the bench sets its endpoint."""

    class BenchConnector(base):  # type: ignore[misc]
        def connect(self, config: Any, secrets: Any) -> None:
            raise NotImplementedError

        def check(self) -> Any:
            raise NotImplementedError

    return BenchConnector


def _table(rows: int, changed: int) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(ROWS, params={"rows": rows, "changed": changed}).to_arrow_table()


def _csv(table: pa.Table, path: Path) -> Path:
    with duckdb.connect() as connection:
        connection.register("invoices", table.drop_columns(["_row_id"]))
        connection.execute(f"COPY invoices TO '{path}' (HEADER false)")
    return path


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    inner = action()
    # An action that prepares something first returns the seconds of its measured part.
    return inner if isinstance(inner, float) else time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)

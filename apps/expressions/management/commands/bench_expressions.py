"""What mapping a million rows costs, path by path."""

# ruff: noqa: S608 - names and paths are this file's own

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from django.core.management.base import BaseCommand, CommandParser

from apps.expressions.contracts import CompileRequest, Field, MappedBatch, MappedField, Schema, Validation
from apps.expressions.services.compilation import compile_select
from apps.expressions.services.evaluation import evaluate
from apps.expressions.services.pipeline import BATCH_ROWS, BatchMapper
from apps.expressions.services.sandbox import Sandbox

TYPES = {
    "id": "BIGINT", "number": "VARCHAR", "customer": "VARCHAR", "issued": "DATE", "updated_at": "TIMESTAMP",
    "total": "DECIMAL(18,2)", "tax": "DECIMAL(18,2)", "currency": "VARCHAR", "quantity": "INTEGER",
    "description": "VARCHAR", "paid": "BOOLEAN", "region": "INTEGER", "email": "VARCHAR",
}  # fmt: skip
MAPPED = {
    "number": "upper(number)", "total": "cast(total as decimal(18,2)) - cast(tax as decimal(18,2))",
    "currency": "upper(currency)", "description": "trim(description)", "email": "lower(email)",
}  # fmt: skip
MAKE = """COPY (SELECT i AS id, 'INV-' || i AS number, 'C' || (i % 5000) AS customer,
  date '2020-01-01' + (i % 1500)::int AS issued, timestamp '2020-01-01' + to_seconds(i * 37) AS updated_at,
  CASE WHEN i % 200 = 0 THEN 'abc' ELSE cast((i % 100000) / 100.0 AS varchar) END AS total,
  cast((i % 1000) / 1000.0 AS varchar) AS tax, ['eur', 'usd', 'gbp'][i % 3 + 1] AS currency,
  CASE WHEN i % 200 = 100 THEN -1 ELSE i % 50 + 1 END AS quantity, 'line text ' || i AS description,
  i % 2 = 0 AS paid, CASE WHEN i % 10 = 0 THEN NULL ELSE i % 7 END AS region, 'a' || i || '@x.example' AS email
  FROM range({rows}) t(i)) TO '{path}' (HEADER)"""


class Command(BaseCommand):
    """Maps generated invoices and prints seconds (wall and processor) for each path."""

    help = "Measure the expression pipeline on generated rows."

    def add_arguments(self, parser: CommandParser) -> None:
        """How many rows, how often."""
        parser.add_argument("--rows", type=int, default=1_000_000)
        parser.add_argument("--times", type=int, default=3)

    def handle(self, *, rows: int, times: int, **options: Any) -> None:
        """Run every path."""
        with tempfile.TemporaryDirectory() as folder:
            self._measure(Path(folder) / "invoices.csv", rows, times)
        context = {"total": 12.5, "name": "acme"}
        started = time.perf_counter()
        for _ in range(200):
            evaluate("total * 2 > 10 and upper(name) = 'ACME'", context)
        self.stdout.write(f"one context: {(time.perf_counter() - started) * 5:.2f} ms")

    def _measure(self, path: Path, rows: int, times: int) -> None:
        connection = duckdb.connect(config={"threads": "2", "memory_limit": "400MB"})
        sandbox = Sandbox(connection, memory_mb=400, threads=2)
        connection.execute(MAKE.format(rows=rows, path=path))
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in TYPES)
        read = f"SELECT 0 AS _row_id, * FROM read_csv('{path}', columns = {{{columns}}}, header = true)"
        text = BatchMapper(_request(dict.fromkeys(TYPES, "VARCHAR"), "cast(quantity as integer)"))
        typed = BatchMapper(_request(TYPES, "quantity"))
        table = sandbox.run(read, 120)
        casts = ", ".join(f"try_cast({name} AS {kind}) AS {name}" for name, kind in TYPES.items())
        typed_table = sandbox.run(f"SELECT _row_id, {casts} FROM ({read})", 120)
        bare = f"SELECT _row_id, {casts} FROM ({read})"
        paths: dict[str, Callable[[], int]] = {
            "CSV scan to Arrow": lambda: sum(batch.num_rows for batch in sandbox.stream(read)),
            "CSV scan and 13 bare casts": lambda: sum(batch.num_rows for batch in sandbox.stream(bare)),
            "mapping over the CSV relation": lambda: _count(text.map_relation(read, sandbox)),
            "mapping text batches of 64 k": lambda: _count(map(text.apply, _batches(table))),
            "mapping typed batches of 64 k": lambda: _count(map(typed.apply, _batches(typed_table))),
        }
        self.stdout.write(f"{rows:,} rows, 13 fields, 2 rules, 1 % rejected; best of {times}")
        for name, run in paths.items():
            best = min(_timed(run) for _ in range(times))
            self.stdout.write(f"  {name:32} {best[0]:6.2f} s wall  {best[1]:6.2f} s processor")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.stdout.write(f"  peak memory of the process: {peak:,.0f} MB (the generated rows are held twice in it)")
        for mapper in (text, typed):
            mapper.close()


def _request(types: dict[str, str], quantity: str) -> CompileRequest:
    schema = Schema(tuple(Field(name, kind) for name, kind in types.items()))
    fields = tuple(
        MappedField(name, kind, MAPPED.get(name, name), nullable=name not in {"id", "number"})
        for name, kind in TYPES.items()
    )
    rules = (
        Validation("total_known", "cast(total as decimal(18,2)) is not null", "Total is missing", "total"),
        Validation("quantity_positive", f"{quantity} > 0", "Quantity must be positive", "quantity"),
    )
    request = CompileRequest(schema, fields, None, rules)
    compile_select(request)
    return request


def _batches(table: pa.Table) -> Iterable[pa.Table]:
    return (table.slice(start, BATCH_ROWS) for start in range(0, table.num_rows, BATCH_ROWS))


def _count(batches: Iterable[MappedBatch]) -> int:
    return sum(batch.accepted.num_rows + batch.rejected.num_rows for batch in batches)


def _timed(run: Callable[[], int]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor

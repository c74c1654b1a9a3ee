"""Runs one dlt load in dlt's own environment and prints {seconds, rows, note} as the last line. Not imported by us."""

from __future__ import annotations

import csv
import itertools
import json
import os
import sys
import tempfile
import time
from datetime import date, datetime
from decimal import Decimal

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

import dlt


def mapped_arrow(path, changed_share=None):
    import duckdb

    engine = duckdb.connect()
    note = "note" if changed_share is None else "CASE WHEN id % 100 = 1 THEN 'changed ' || note ELSE note END"
    return engine.sql(
        f"""SELECT id AS invoice_id, upper(trim(number)) AS number, customer_id, customer_name, issued_on, due_on,
        upper(currency) AS currency, net::DECIMAL(18,2) AS net, tax::DECIMAL(18,2) AS tax,
        total::DECIMAL(18,2) AS total,
        CASE WHEN status = 'paid' THEN 'settled' ELSE status END AS status, updated_at, {note} AS note
        FROM read_csv('{path}') WHERE total >= 0 AND due_on >= issued_on"""
    ).to_arrow_reader(65_536)


def mapped_rows(path, limit):
    with open(path, newline="") as file:
        for row in itertools.islice(csv.DictReader(file), limit):
            total, due, issued = (
                Decimal(row["total"]),
                date.fromisoformat(row["due_on"]),
                date.fromisoformat(row["issued_on"]),
            )
            if total < 0 or due < issued:
                continue
            yield {
                "invoice_id": int(row["id"]),
                "number": row["number"].strip().upper(),
                "customer_id": int(row["customer_id"]),
                "customer_name": row["customer_name"],
                "issued_on": issued,
                "due_on": due,
                "currency": row["currency"].upper(),
                "net": Decimal(row["net"]),
                "tax": Decimal(row["tax"]),
                "total": total,
                "status": "settled" if row["status"] == "paid" else row["status"],
                "updated_at": datetime.fromisoformat(row["updated_at"]),
                "note": row["note"],
            }


def main() -> None:
    task = json.loads(sys.argv[1])
    pipeline = dlt.pipeline(
        "bench_" + task["backend"],
        destination=dlt.destinations.postgres(task["url"]),
        dataset_name="peer_dlt_" + task["backend"],
        pipelines_dir=tempfile.mkdtemp(),
    )
    note, count = "table without a key", task["rows"]
    if task["backend"] == "arrow":

        @dlt.resource(name="invoices", write_disposition="replace")
        def invoices():
            yield from mapped_arrow(task["csv"])

        run = lambda: pipeline.run(invoices())  # noqa: E731
    elif task["backend"] == "connectorx":
        from dlt.sources.sql_database import sql_table

        table = sql_table(credentials=task["url"], table=task["source"], backend="connectorx", schema="public")
        note += "; the table as it is, no mapping"
        run = lambda: pipeline.run(table.with_name("invoices"), write_disposition="replace")  # noqa: E731
    elif task["backend"] == "rows":

        @dlt.resource(name="invoices", write_disposition="replace")
        def invoices():
            yield from mapped_rows(task["csv"], task["rows"])

        run = lambda: pipeline.run(invoices())  # noqa: E731
    else:

        @dlt.resource(
            name="invoices", write_disposition={"disposition": "merge", "strategy": "upsert"}, primary_key="invoice_id"
        )
        def invoices(changed=None):
            yield from mapped_arrow(task["csv"], changed)

        pipeline.run(invoices())
        note = "strategy upsert, 1 % changed; no unique index on the table"
        run = lambda: pipeline.run(invoices(0.01))  # noqa: E731
    started = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - started, "rows": count, "note": note}))


main()

"""The benchmark's invoices: 13 columns, 1 % of them against a rule, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

# Of each hundred invoices one is wrong: its total is negative, or it is due before it was issued.
ROWS_SQL = """
SELECT
  i AS id,
  '  inv-' || lpad(i::VARCHAR, 9, '0') AS number,
  (i * 7919) % 50000 + 1 AS customer_id,
  ('Customer ' || ((i * 7919) % 50000 + 1)) AS customer_name,
  DATE '2024-01-01' + ((i * 13) % 700)::INT AS issued_on,
  DATE '2024-01-01' + ((i * 13) % 700)::INT + CASE WHEN i % 200 = 0 THEN -3 ELSE 30 END AS due_on,
  ['eur', 'usd', 'gbp', 'chf'][(i % 4)::INT + 1] AS currency,
  (((i * 37) % 1000000) / 100.0)::DECIMAL(18,2) AS net,
  (((i * 7) % 20000) / 100.0)::DECIMAL(18,2) AS tax,
  CASE WHEN i % 200 = 100 THEN -1.00
       ELSE (((i * 37) % 1000000) / 100.0 + ((i * 7) % 20000) / 100.0) END::DECIMAL(18,2) AS total,
  ['open', 'paid', 'void'][(i % 3)::INT + 1] AS status,
  TIMESTAMP '2024-01-01 00:00:00' + to_seconds(i % 60000000) AS updated_at,
  'note ' || i AS note
FROM range(1, {rows} + 1) t(i)
"""

# (target, type, expression in the portal's language = DuckDB's, the same in PostgreSQL)
FIELDS: tuple[tuple[str, str, str, bool], ...] = (
    ("invoice_id", "BIGINT", "id", False),
    ("number", "VARCHAR", "upper(trim(number))", False),
    ("customer_id", "BIGINT", "customer_id", False),
    ("customer_name", "VARCHAR", "customer_name", True),
    ("issued_on", "DATE", "issued_on", False),
    ("due_on", "DATE", "due_on", True),
    ("currency", "VARCHAR", "upper(currency)", False),
    ("net", "DECIMAL(18,2)", "net", True),
    ("tax", "DECIMAL(18,2)", "tax", True),
    ("total", "DECIMAL(18,2)", "total", True),
    ("status", "VARCHAR", "case when status = 'paid' then 'settled' else status end", True),
    ("updated_at", "TIMESTAMP", "updated_at", True),
    ("note", "VARCHAR", "note", True),
)
VALIDATIONS = (
    ("total_not_negative", "total >= 0", "total"),
    ("due_after_issue", "due_on >= issued_on", "due_on"),
)
SOURCE_COLUMNS = (
    "id bigint, number text, customer_id bigint, customer_name text, issued_on date, due_on date, currency text,"
    " net numeric(18,2), tax numeric(18,2), total numeric(18,2), status text, updated_at timestamp, note text"
)
TARGET_COLUMNS = (
    "invoice_id bigint not null, number text not null, customer_id bigint not null, customer_name text,"
    " issued_on date not null, due_on date, currency text not null, net numeric(18,2), tax numeric(18,2),"
    " total numeric(18,2), status text, updated_at timestamp, note text"
)
TARGET_NAMES = tuple(field[0] for field in FIELDS)


@dataclass(frozen=True)
class Dataset:
    """Files of one size.

    Attributes:
        rows: source rows.
        csv, ndjson: the source.
        ready: CSV of the mapped, valid rows: what PostgreSQL's own COPY is given.
    """

    rows: int
    csv: Path
    ndjson: Path
    ready: Path

    @property
    def rejected(self) -> int:
        """Rows that break a rule."""
        return 2 * (self.rows // 200) if self.rows % 200 < 100 else 2 * (self.rows // 200) + 1

    @property
    def accepted(self) -> int:
        """Rows that reach the target."""
        return self.rows - self.rejected


def mapped_sql(relation: str) -> str:
    """The mapping as DuckDB SQL over a relation, for the ready file and the peers."""
    columns = ", ".join(f"CAST({expression} AS {type_}) AS {name}" for name, type_, expression, _ in FIELDS)
    return f"SELECT {columns} FROM {relation} WHERE total >= 0 AND due_on >= issued_on"


def make_dataset(folder: Path, rows: int) -> Dataset:
    """Write the files unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Dataset(
        rows, folder / f"invoices_{rows}.csv", folder / f"invoices_{rows}.ndjson", folder / f"ready_{rows}.csv"
    )
    if data.ready.exists():
        return data
    source = ROWS_SQL.format(rows=rows)
    with duckdb.connect() as engine:
        engine.execute(f"COPY ({source}) TO '{data.csv}' (HEADER)")
        engine.execute(f"COPY ({source}) TO '{data.ndjson}' (FORMAT json)")
        engine.execute(f"COPY ({mapped_sql(f'({source})')}) TO '{data.ready}' (HEADER)")
    return data


def flow_definition(
    connection: str, entity: str, target: str, *, disposition: str, mode: str = "full"
) -> dict[str, object]:
    """The benchmark's flow: 13 fields, 2 rules, a key, two control totals."""
    return {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": connection, "entity": entity}},
            {
                "id": "map",
                "kind": "map",
                "config": {
                    "fields": [
                        {"target": name, "type": type_, "expression": expression, "nullable": nullable}
                        for name, type_, expression, nullable in FIELDS
                    ],
                    "filter": None,
                    "validations": [
                        {
                            "id": rule,
                            "expression": expression,
                            "message": rule,
                            "field": field,
                            "severity": "quarantine",
                        }
                        for rule, expression, field in VALIDATIONS
                    ],
                },
            },
            {
                "id": "target",
                "kind": "target",
                "config": {
                    "connection": "warehouse",
                    "entity": target,
                    "disposition": disposition,
                    "keys": ["invoice_id"],
                },
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
        "load": {"mode": mode, "allow_empty": True},
        "reconciliation": {
            "controls": [
                {"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"},
                {"name": "Tax", "source": "tax", "target": "tax", "aggregate": "sum", "tolerance": "0.00"},
            ],
            "count_tolerance": 0,
        },
    }

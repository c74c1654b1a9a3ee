"""The `files` connector: each format through the suite."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.contracts import ConnectionContext, ReadRequest
from tests.connectors.folders import FOLDER
from tests.suites.connector_suite import ConnectorSuite, read_all

ROWS = 1000
BIG_ROWS = 400_000


def _rows() -> list[dict[str, Any]]:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        {
            "id": number,
            "account": f"{number:06d}",
            "name": f'Größe "{number}", neu',
            "total": Decimal(number) * Decimal("1.19"),
            "day": date(2024, 1, 1 + number % 28),
            "updated_at": start.replace(hour=number % 24, minute=number // 24 % 60),
            "paid": number % 2 == 0,
        }
        for number in range(1, ROWS + 1)
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenant's folder with the same thousand invoices in every format, and larger ones for the memory test."""
    base = tmp_path_factory.mktemp("files")
    folder = base / "folder"
    folder.mkdir()
    rows = _rows()
    table = pa.Table.from_pylist(rows).cast(
        pa.schema(
            [
                ("id", pa.int64()),
                ("account", pa.string()),
                ("name", pa.string()),
                ("total", pa.decimal128(18, 2)),
                ("day", pa.date32()),
                ("updated_at", pa.timestamp("us", "UTC")),
                ("paid", pa.bool_()),
            ]
        )
    )
    pq.write_table(table, folder / "invoices.parquet", row_group_size=100)
    lines = [
        ";".join(
            [
                str(row["id"]),
                row["account"],
                '"' + row["name"].replace('"', '""') + '"',
                str(row["total"]),
                row["day"].isoformat(),
                row["updated_at"].isoformat(),
                str(row["paid"]).lower(),
            ]
        )
        for row in rows
    ]
    text = "\n".join(["id;account;name;total;day;updated_at;paid", *lines]) + "\n"
    (folder / "invoices.csv").write_text(text)
    (folder / "packed.csv.gz").write_bytes(gzip.compress(text.encode()))
    with (folder / "invoices.ndjson").open("w") as file:
        for row in rows:
            shown = {**row, "day": row["day"].isoformat(), "updated_at": row["updated_at"].isoformat()}
            total = shown.pop("total")
            file.write(json.dumps(shown)[:-1] + f', "total": {total}}}\n')
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Invoices"
    sheet.append(["id", "account", "name", "total", "day", "updated_at", "paid"])
    for row in rows:
        sheet.append(
            [
                row["id"],
                row["account"],
                row["name"],
                float(row["total"]),
                row["day"].isoformat(),
                row["updated_at"].isoformat(),
                row["paid"],
            ]
        )
    book.create_sheet("Other").append(["only", "header"])
    book.save(folder / "invoices.xlsx")
    with duckdb.connect() as connection:
        columns = "i AS id, repeat('x', 300) AS filler, (i * 1.19)::DECIMAL(18,2) AS total"
        query = f"SELECT {columns} FROM range({BIG_ROWS}) t(i)"
        connection.execute(f"COPY ({query}) TO '{folder}/big.csv' (HEADER)")
        connection.execute(f"COPY ({query}) TO '{folder}/big.ndjson' (FORMAT json)")
        connection.execute(f"COPY ({query}) TO '{folder}/big.parquet' (FORMAT parquet)")
    return base


class FormatSuite(ConnectorSuite):
    connector = "files"
    cursor = "updated_at"
    rows = ROWS
    big = ""

    @pytest.fixture
    def config(self) -> dict[str, Any]:
        return dict(FOLDER)

    @pytest.fixture
    def bad_config(self, root: Path) -> dict[str, Any]:
        (root / "folder" / "no_folder.txt").write_text("x")
        return {**FOLDER, "folder": "no_folder.txt/deeper"}

    @pytest.fixture
    def context(self, root: Path) -> ConnectionContext:
        return ConnectionContext(purpose="suite", files_root=str(root))

    def big_entity(self) -> str:
        return self.big or self.entity

    def test_values_are_exact(self, opened: ConnectorBase) -> None:
        table = read_all(opened, ReadRequest(self.entity))
        assert str(table.schema.field("total").type) == "decimal128(18, 2)"
        row = table.slice(6, 1).to_pylist()[0]
        assert (row["id"], row["account"], row["total"]) == (7, "000007", Decimal("8.33"))
        assert row["name"] == 'Größe "7", neu'
        assert row["day"] == date(2024, 1, 8)
        assert row["updated_at"] == datetime(2024, 1, 1, 7, 0, tzinfo=UTC)
        assert row["paid"] is False
        assert opened.rejected == []


class TestCsv(FormatSuite):
    entity = "invoices.csv"
    big = "big.csv"


class TestPackedCsv(FormatSuite):
    entity = "packed.csv.gz"


class TestNdjson(FormatSuite):
    entity = "invoices.ndjson"
    big = "big.ndjson"


class TestParquet(FormatSuite):
    entity = "invoices.parquet"
    big = "big.parquet"


class TestXlsx(FormatSuite):
    entity = "invoices.xlsx"


del FormatSuite

"""The `files` connector: each format through the suite, awkward files, exact amounts, writing, an object store."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.catalog.files.inference import infer_type
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ConnectionContext, EntitySchema, ReadRequest, WriteRequest
from apps.connectors.exceptions import (
    ColumnGone,
    ConfigInvalid,
    EmptyExtract,
    EntityGone,
    NotSupported,
    SchemaChanged,
    StagingLost,
    UnreadableInput,
)
from apps.connectors.registries import connector_registry
from tests.suites.connector_suite import ConnectorSuite, read_all

FOLDER = {"location": "folder", "folder": ""}
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


def connect(root: Path, **extra: Any) -> ConnectorBase:
    connector = connector_registry.get("files").create(ConnectionContext(purpose="test", files_root=str(root)))
    connector.connect({**FOLDER, **extra}, {})
    return connector


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


# --- awkward files --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(root: Path) -> Path:
    path = root / "folder" / f"t{uuid4().hex[:8]}"
    path.mkdir()
    return path


@pytest.fixture
def files(root: Path, folder: Path) -> ConnectorBase:
    return connect(root, folder=folder.name)


def test_a_quote_that_is_not_closed_names_the_line(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text('id;name\n1;a\n2;"broken\n3;c\n')
    with pytest.raises(UnreadableInput, match=r"Line 3 of a\.csv has a quote that is not closed") as caught:
        read_all(files, ReadRequest("a.csv"))
    assert caught.value.remedy


def test_lines_with_too_many_or_few_fields_are_rejected_not_lost(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,name\n1,a\n2,b,extra\n3\n4,d\n")
    assert read_all(files, ReadRequest("a.csv"))["id"].to_pylist() == [1, 4]
    found = [one for one in files.rejected if one.code == "connectors.csv_line"]
    assert [one.payload["line"] for one in found] == [3, 4]
    assert found[0].payload["text"] == "2,b,extra"
    assert len({one.position for one in found}) == 2


def test_a_wrong_encoding_gives_the_offset_and_the_right_one_reads(
    root: Path, files: ConnectorBase, folder: Path
) -> None:
    (folder / "a.csv").write_bytes("id;name\n1;Müller 5 €\n".encode("windows-1252"))
    with pytest.raises(UnreadableInput, match="byte 11 does not belong") as caught:
        files.describe("a.csv")
    assert "windows-1252" in str(caught.value.remedy)
    right = connect(root, folder=folder.name, encoding="windows-1252")
    assert read_all(right, ReadRequest("a.csv"))["name"].to_pylist() == ["Müller 5 €"]


def test_a_wrong_encoding_far_into_the_file_names_the_line(files: ConnectorBase, folder: Path) -> None:
    good = "".join(f"{number};name {number}\n" for number in range(100_000))
    (folder / "a.csv").write_bytes(b"id;name\n" + good.encode() + "1;Müller\n".encode("latin-1"))
    with pytest.raises(UnreadableInput, match=r"Line 100002 of a\.csv is not in UTF-8"):
        read_all(files, ReadRequest("a.csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_byte_order_marks_are_understood(files: ConnectorBase, folder: Path, encoding: str) -> None:
    (folder / "a.csv").write_bytes("id,name\n1,é\n".encode(encoding))
    assert read_all(files, ReadRequest("a.csv")).to_pylist()[0] == {"id": 1, "name": "é", "_source_position": 0}


def test_ten_megabyte_fields_are_read_and_larger_lines_refused(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,text\n1," + "x" * (10 * 1024**2) + "\n2,b\n")
    table = read_all(files, ReadRequest("a.csv"))
    assert [len(value) for value in table["text"].to_pylist()] == [10 * 1024**2, 1]
    (folder / "b.csv").write_text("id,text\n1," + "x" * (17 * 1024**2) + "\n2,b\n")
    with pytest.raises(UnreadableInput, match=r"Line 2 of b\.csv is longer than 16 MB"):
        read_all(files, ReadRequest("b.csv"))


def test_values_that_do_not_fit_the_sampled_type_are_rejected_with_their_row(
    files: ConnectorBase, folder: Path
) -> None:
    lines = "".join(f"{number},{number}.50\n" for number in range(6_000))
    (folder / "a.csv").write_text(f"id,total\n{lines}x,1.00\n9999,1.005\n10000,2.00\n")
    table = read_all(files, ReadRequest("a.csv"))
    assert table.num_rows == 6_001
    assert [(one.position, one.payload["id"]) for one in files.rejected] == [(6_000, "x"), (6_001, "9999")]
    assert "not DECIMAL(18,2)" in files.rejected[1].message


def test_text_only_leaves_everything_as_it_is_written(root: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("id,total\n007,1.50\n")
    files = connect(root, folder=folder.name, text_only=True)
    assert read_all(files, ReadRequest("a.csv")).to_pylist()[0] == {"id": "007", "total": "1.50", "_source_position": 0}


def test_decimal_commas_are_amounts(root: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("id;total\n1;1234,50\n2;-0,05\n")
    files = connect(root, folder=folder.name, decimal_separator=",")
    assert read_all(files, ReadRequest("a.csv"))["total"].to_pylist() == [Decimal("1234.50"), Decimal("-0.05")]


def test_missing_and_empty_text_differ(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text('id,name,total\n1,,\n2,"",5.00\n')
    assert [(row["name"], row["total"]) for row in read_all(files, ReadRequest("a.csv")).to_pylist()] == [
        (None, None),
        ("", Decimal("5.00")),
    ]


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_empty_files_say_so(files: ConnectorBase, folder: Path, content: bytes) -> None:
    (folder / "a.csv").write_bytes(content)
    with pytest.raises(UnreadableInput):
        files.describe("a.csv")


def test_duplicate_and_missing_column_names_are_made_unique(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,ID,,id\n1,2,3,4\n")
    assert files.describe("a.csv").names == ("id", "ID_2", "column_3", "id_3")


def test_a_file_without_header(root: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("1,a\n2,b\n")
    files = connect(root, folder=folder.name, header=False)
    assert read_all(files, ReadRequest("a.csv"))["column_1"].to_pylist() == [1, 2]


def test_columns_that_went_or_changed_are_named(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,total,old\n1,1.50,x\n")
    planned = files.describe("a.csv")
    (folder / "a.csv").write_text("id,total,new\nA1,1.50,x\n")
    with pytest.raises(ColumnGone, match="old"):
        read_all(files, ReadRequest("a.csv", columns=planned.names))
    with pytest.raises(SchemaChanged, match="id was BIGINT and is VARCHAR"):
        read_all(files, ReadRequest("a.csv", columns=("id", "total"), expected=planned))


def test_json_lines_that_do_not_fit_are_rejected_with_their_number(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.ndjson").write_text(
        '{"id": 1, "total": 12345678901234.56, "lines": [{"qty": 1.10}]}\n'
        "not json\n\n"
        '{"id": "x", "total": 1}\n'
        '[1]\n{"id": 5, "total": 7}\n'
    )
    (folder / "b.ndjson").write_text('{"id": 1}\n{"id": 2.5}\n')
    table = read_all(files, ReadRequest("a.ndjson", columns=("total", "lines")))
    assert table["total"].to_pylist()[0] == Decimal("12345678901234.56")
    assert [one.position for one in files.rejected] == [2, 5]
    files.rejected.clear()
    assert read_all(files, ReadRequest("b.ndjson")).num_rows == 2


def test_a_later_json_value_of_another_type_is_rejected(files: ConnectorBase, folder: Path) -> None:
    good = "".join(json.dumps({"id": number}) + "\n" for number in range(2_500))
    (folder / "a.ndjson").write_text(good + '{"id": "late"}\n{"id": 7}\n')
    table = read_all(files, ReadRequest("a.ndjson"))
    assert table.num_rows == 2_501
    assert [(one.position, one.payload["line"]) for one in files.rejected] == [(2_501, 2_501)]


def test_broken_parquet_and_excel_files_say_so(files: ConnectorBase, folder: Path) -> None:
    for name in ("a.parquet", "a.xlsx"):
        (folder / name).write_bytes(b"not what it says")
        with pytest.raises(UnreadableInput, match="not a readable"):
            files.describe(name)


def test_sheets_are_entities(root: Path) -> None:
    files = connect(root)
    assert files.describe("invoices.xlsx#Other").names == ("only", "header")
    with pytest.raises(EntityGone, match="no sheet"):
        files.describe("invoices.xlsx#Nope")


@pytest.mark.parametrize("path", ["../x.csv", "/etc/passwd", "a/../../x.csv", "..\\x.csv", "a\0.csv", "a\n.csv"])
def test_no_path_leads_out_of_the_folder(root: Path, files: ConnectorBase, path: str) -> None:
    (root / "x.csv").write_text("id\n1\n")
    with pytest.raises((ConfigInvalid, EntityGone)):
        files.describe(path)
    with pytest.raises(ConfigInvalid):
        connect(root, folder=path)


def test_a_link_out_of_the_folder_is_not_followed(root: Path, files: ConnectorBase, folder: Path) -> None:
    (root / "secret.csv").write_text("id\n1\n")
    (folder / "link.csv").symlink_to(root / "secret.csv")
    assert files.discover().entities == ()
    with pytest.raises(EntityGone):
        files.describe("link.csv")


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-20", "+3"], "BIGINT"),
        (["1", "007"], "VARCHAR"),  # a code, not a number
        (["0", "10"], "BIGINT"),
        (["1.5", "2"], "DECIMAL(18,2)"),
        (["1.123"], "DECIMAL(18,3)"),
        (["12345678901234567.12"], "DECIMAL(38,2)"),
        (["1e5", "2"], "DOUBLE"),
        (["1,5"], "VARCHAR"),
        (["true", "FALSE"], "BOOLEAN"),
        (["0", "1"], "BIGINT"),
        (["2024-02-29"], "DATE"),
        (["2024-02-29", "29.02.2024"], "VARCHAR"),
        (["2024-02-29 10:00", "2024-02-29T10:00:00.5"], "TIMESTAMP"),
        (["2024-02-29T10:00:00Z", "2024-02-29 10:00:00+02"], "TIMESTAMPTZ"),
        (["", None], "VARCHAR"),
        (["99999999999999999999"], "DECIMAL(38,2)"),
    ],
)
def test_types_are_inferred_exactly(values: list[str | None], type_: str) -> None:
    assert infer_type(values) == type_


# --- writing --------------------------------------------------------------------------------------------------------

FIELDS = [("id", "BIGINT"), ("name", "VARCHAR"), ("total", "DECIMAL(18,2)"), ("day", "DATE")]
TARGETS = ["out.csv", "out.ndjson", "out.parquet", "out.csv.gz"]


def request(entity: str, disposition: Disposition = Disposition.REPLACE, **extra: Any) -> WriteRequest:
    keys = extra.pop("keys", ())
    return WriteRequest(entity, EntitySchema.of(entity, FIELDS, keys), uuid4(), disposition, keys, **extra)


def batch(first: int, count: int, name: str = 'Größe, "x"\n') -> pa.RecordBatch:
    numbers = list(range(first, first + count))
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(numbers),
            "name": pa.array([name] * count),
            "total": pa.array([Decimal(number) / 100 for number in numbers], pa.decimal128(18, 2)),
            "day": pa.array([date(2024, 1, 1)] * count),
            "_row_id": pa.array(numbers),
        }
    )


@pytest.mark.parametrize("target", TARGETS)
def test_written_files_read_back_exactly(files: ConnectorBase, target: str) -> None:
    for disposition, expected in (
        (Disposition.REPLACE, 300),
        (Disposition.REPLACE, 300),
        (Disposition.APPEND, 600),
    ):
        writer = files.open_writer(request(target, disposition))
        parts = [writer.stage([batch(1, 100)], part="a"), writer.stage([batch(101, 100), batch(201, 100)], part="b/#1")]
        result = writer.finish(parts, allow_empty=False, marker="m")
        assert (result.rows, result.inserted) == (300, 300)
        assert writer.finish(parts, allow_empty=False, marker="m").already_done
        rows = read_all(files, ReadRequest(target)).to_pylist()
        assert len(rows) == expected
    assert (rows[6]["id"], rows[6]["total"], rows[6]["day"]) == (7, Decimal("0.07"), date(2024, 1, 1))
    assert rows[6]["name"] == 'Größe, "x"\n'
    assert [one.name for one in files.discover().entities] == [target]


@pytest.mark.parametrize("target", TARGETS[:3])
def test_the_last_of_duplicate_keys_is_written(files: ConnectorBase, target: str) -> None:
    writer = files.open_writer(request(target, keys=("id",)))
    late = batch(5, 1, "late").set_column(4, "_row_id", pa.array([900]))
    part = writer.stage([batch(1, 10), late], part="a")
    losers = [row for found in writer.duplicates([part]) for row in found.to_pylist()]
    assert [(row["id"], row["_row_id"]) for row in losers] == [(5, 5)]
    result = writer.finish([part], allow_empty=False, marker="m")
    assert (result.inserted, result.duplicates) == (10, 1)
    names = {row["id"]: row["name"] for row in read_all(files, ReadRequest(target)).to_pylist()}
    assert names[5] == "late"


def test_an_empty_extract_keeps_the_file(files: ConnectorBase) -> None:
    writer = files.open_writer(request("out.csv"))
    writer.finish([writer.stage([batch(1, 5)], part="a")], allow_empty=False, marker="m")
    empty = files.open_writer(request("out.csv"))
    with pytest.raises(EmptyExtract):
        empty.finish([empty.stage([], part="a")], allow_empty=False, marker="m")
    assert read_all(files, ReadRequest("out.csv")).num_rows == 5


def test_a_crash_between_announcement_and_marker_appends_once(files: ConnectorBase, folder: Path) -> None:
    writer = files.open_writer(request("out.csv", Disposition.APPEND))
    part = writer.stage([batch(1, 5)], part="a")
    real = writer._settle  # type: ignore[attr-defined]

    def crash(*_args: Any) -> None:
        raise KeyboardInterrupt

    writer._settle = crash  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        writer.finish([part], allow_empty=False, marker="m")
    writer._settle = real  # type: ignore[attr-defined]
    assert writer.finish([part], allow_empty=False, marker="m").inserted == 5
    assert read_all(files, ReadRequest("out.csv")).num_rows == 5


def test_an_aborted_load_cannot_be_finished(files: ConnectorBase) -> None:
    writer = files.open_writer(request("out.csv"))
    part = writer.stage([batch(1, 5)], part="a")
    writer.abort()
    for parts in ([part], []):
        with pytest.raises(StagingLost):
            writer.finish(parts, allow_empty=True, marker="m")


def test_upserts_into_files_and_excel_targets_are_refused(files: ConnectorBase) -> None:
    with pytest.raises(NotSupported):
        files.open_writer(request("out.csv", Disposition.UPSERT, keys=("id",)))
    with pytest.raises(ConfigInvalid, match="not written"):
        files.open_writer(request("out.xlsx"))


# --- object storage -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    """A real S3-compatible server (moto) in its own process."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _store(url: str, **extra: Any) -> ConnectorBase:
    connector = connector_registry.get("files").create(ConnectionContext(purpose="test"))
    config = {"location": "object_store", "bucket": "ledger", "endpoint_url": url, "folder": "in", **extra}
    connector.connect(config, {"access_key": "test", "secret_key": "test"})
    return connector


def test_object_storage_reads_and_writes(object_store: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]
    import s3fs

    s3fs.S3FileSystem(key="test", secret="test", endpoint_url=object_store, skip_instance_cache=True).mkdir("ledger")
    store = _store(object_store)
    assert store.check().ok
    for target in ("deep/out.csv", "out.parquet"):
        writer = store.open_writer(request(target))
        part = writer.stage([batch(1, 50)], part="a")
        assert writer.finish([part], allow_empty=False, marker="m").inserted == 50
        assert read_all(store, ReadRequest(target))["total"].to_pylist()[0] == Decimal("0.01")
    assert [one.name for one in store.discover().entities] == ["deep/out.csv", "out.parquet"]
    with pytest.raises(EntityGone):
        store.describe("nothing.csv")


def test_object_storage_that_fails_says_how(object_store: str, settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]
    result = _store(object_store, bucket="no-such-bucket").check()
    assert not result.ok
    assert result.remedy
    settings.EGRESS_ALLOW_PRIVATE = []
    from apps.core.exceptions import PortalError

    with pytest.raises(PortalError) as caught:
        _store(object_store)
    assert caught.value.code == "core.egress.denied"


def test_a_bucket_is_needed() -> None:
    with pytest.raises(ConfigInvalid, match="needs a bucket"):
        _store("https://s3.example.com", bucket="")

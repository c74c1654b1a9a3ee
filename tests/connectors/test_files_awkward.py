"""Awkward files: what is read as meant, what is rejected with its line, and what is refused with a reason."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.catalog.files import tabular
from apps.connectors.catalog.files.inference import infer_type
from apps.connectors.contracts import SOURCE_POSITION, ReadRequest
from apps.connectors.exceptions import ColumnGone, ConfigInvalid, EntityGone, SchemaChanged, UnreadableInput
from tests.connectors.folders import connect
from tests.suites.connector_suite import read_all


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


def test_sheets_are_entities_and_hidden_ones_are_asked_for_by_name(files: ConnectorBase, folder: Path) -> None:
    book = openpyxl.Workbook()
    hidden = book.active
    hidden.title, hidden.sheet_state = "Notes", "hidden"
    hidden.append(["secret"])
    book.create_sheet("Other").append(["only", "header"])
    book.create_sheet("Empty")
    book.save(folder / "book.xlsx")
    assert files.describe("book.xlsx").names == ("only", "header")
    assert files.describe("book.xlsx#Notes").names == ("secret",)
    with pytest.raises(EntityGone, match="no sheet"):
        files.describe("book.xlsx#Nope")
    with pytest.raises(UnreadableInput, match="no columns"):
        files.describe("book.xlsx#Empty")


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


@pytest.mark.parametrize(
    "content",
    [
        b"id,name\r1,a\r2,b\r",  # old Macintosh
        b"id,name\r\n1,a\r\n2,b\r\n",
        b"id,name\n1,a\r\n2,b\n",  # two files put together
        b"\n\r\nid,name\n1,a\n\n2,b\n",  # blank lines before the header and between records
        b"id,name\n1,a\n2,b",  # no end of line at the end
        "\ufeffid,name\n1,a\n2,b\n".encode("utf-16-le"),
    ],
)
def test_every_kind_of_line_end_gives_the_same_rows(files: ConnectorBase, folder: Path, content: bytes) -> None:
    (folder / "a.csv").write_bytes(content)
    table = read_all(files, ReadRequest("a.csv"))
    assert table.select(["id", "name"]).to_pylist() == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert files.rejected == []


def test_line_ends_inside_quotes_stay_as_they_are(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_bytes(b'id,name\r\n1,"a\nb"\r\n2,"c\r\nd"\r\n')
    assert read_all(files, ReadRequest("a.csv"))["name"].to_pylist() == ["a\nb", "c\r\nd"]


def test_lines_are_counted_as_an_editor_counts_them(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("\n\nid,name\n1,a\n2\n3,c\n")
    assert read_all(files, ReadRequest("a.csv"))["id"].to_pylist() == [1, 3]
    assert [one.payload["line"] for one in files.rejected] == [5]


def test_line_ends_that_change_far_into_the_file_are_explained(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,name\n" + "1,a\n" * 100_000 + "2,b\r\n3,c\r\n", newline="")
    with pytest.raises(UnreadableInput, match="do not all end alike") as caught:
        read_all(files, ReadRequest("a.csv"))
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["a.csv.gz", "a.ndjson.gz"])
@pytest.mark.parametrize(
    "packed",
    [b"not packed", gzip.compress(b'{"id": 1}\n' * 5_000)[:-20], gzip.compress(b"id\n")[:12] + b"\xff\xff\xff\xff"],
    ids=["no archive", "cut short", "broken inside"],  # the bytes hold the time of day
)
def test_damaged_archives_say_so(files: ConnectorBase, folder: Path, name: str, packed: bytes) -> None:
    (folder / name).write_bytes(packed)
    with pytest.raises(UnreadableInput, match="not a complete gzip file") as caught:
        read_all(files, ReadRequest(name))
    assert caught.value.remedy


def test_amounts_and_dates_in_local_spellings_stay_text_for_the_mapping(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text('amount,day,us\n"1,234.50",31.01.2026,01/31/2026\n(12.00),28.02.2026,02/28/2026\n')
    assert {field.type for field in files.describe("a.csv").fields} == {"VARCHAR"}
    assert read_all(files, ReadRequest("a.csv"))["amount"].to_pylist() == ["1,234.50", "(12.00)"]


def test_a_file_with_only_a_header_has_columns_and_no_rows(files: ConnectorBase, folder: Path) -> None:
    for name, content in (("a.csv", "id,name\n"), ("b.csv", "id,name")):
        (folder / name).write_text(content)
        assert files.describe(name).names == ("id", "name")
        assert list(files.read(ReadRequest(name))) == []


def test_json_values_of_mixed_kinds_keep_every_digit(files: ConnectorBase, folder: Path) -> None:
    lines = ['{"a": 1, "b": {"x": 1}, "n": 12345678901234567890123456789012345678901}', '{"a": "x", "b": [1.10]}']
    (folder / "a.ndjson").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert {field.type for field in files.describe("a.ndjson").fields} == {"JSON"}
    rows = read_all(files, ReadRequest("a.ndjson")).to_pylist()
    assert (rows[0]["a"], rows[1]["a"], rows[1]["b"]) == ("1", '"x"', "[1.10]")
    assert rows[0]["n"] == "12345678901234567890123456789012345678901"


def test_parquet_keeps_decimals_moments_and_nested_values(files: ConnectorBase, folder: Path) -> None:
    moment = datetime.fromisoformat("2026-01-02T03:04:05.678901")
    table = pa.table(
        {
            "amount": pa.array([Decimal("1.10"), None], pa.decimal128(12, 2)),
            "at": pa.array([moment, None], pa.timestamp("us")),
            "lines": pa.array([[{"item": "a", "net": Decimal("0.10")}], None]),
        }
    )
    pq.write_table(table, folder / "a.parquet")
    types = {field.name: field.type for field in files.describe("a.parquet").fields}
    assert (types["amount"], types["at"]) == ("DECIMAL(12,2)", "TIMESTAMP")
    row = read_all(files, ReadRequest("a.parquet")).to_pylist()[0]
    assert (row["amount"], row["at"]) == (Decimal("1.10"), moment)
    assert row["lines"] == [{"item": "a", "net": Decimal("0.10")}]


@pytest.mark.parametrize("kind", [pa.duration("s"), pa.decimal256(60, 2)])
def test_parquet_types_that_cannot_be_read_are_named(files: ConnectorBase, folder: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"id": [1], "odd": pa.array([None], kind)}), folder / "a.parquet")
    with pytest.raises(UnreadableInput, match=r"Column odd of .* has the type") as caught:
        files.describe("a.parquet")
    assert caught.value.remedy


def test_excel_days_names_and_merged_cells(files: ConnectorBase, folder: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "day", "at", None, "id"])
    sheet.append([1, date(2026, 1, 2), datetime.fromisoformat("2026-01-02T03:04:05"), "x", 9])
    sheet.append([2, date(2026, 1, 3), datetime.fromisoformat("2026-01-02"), None, 8])
    sheet["A4"] = 3
    sheet["B4"] = date(2026, 1, 4)
    sheet.merge_cells("B4:C4")
    book.save(folder / "a.xlsx")
    described = files.describe("a.xlsx")
    assert [(field.name, field.type) for field in described.fields] == [
        ("id", "BIGINT"),
        ("day", "DATE"),
        ("at", "TIMESTAMP"),
        ("column_4", "VARCHAR"),
        ("id_2", "BIGINT"),
    ]
    rows = read_all(files, ReadRequest("a.xlsx")).to_pylist()
    assert [row["day"].day for row in rows] == [2, 3, 4]
    assert rows[2]["at"] is None


def test_a_small_excel_file_that_unpacks_to_much_is_refused(
    files: ConnectorBase, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = openpyxl.Workbook()
    for number in range(200):
        book.active.append([number, "x" * 100])
    book.save(folder / "a.xlsx")
    monkeypatch.setattr(tabular, "MAX_XLSX_UNPACKED_BYTES", 10_000)
    with pytest.raises(UnreadableInput, match="unpacks to"):
        files.describe("a.xlsx")


def test_wide_records_come_in_small_batches(files: ConnectorBase, folder: Path) -> None:
    (folder / "a.csv").write_text("id,text\n" + "".join(f"{n},{'x' * 1_000_000}\n" for n in range(80)))
    sizes = [batch.num_rows for batch in files.read(ReadRequest("a.csv"))]
    assert sum(sizes) == 80
    assert max(sizes) < 80


def test_a_quote_far_into_the_file_changes_neither_rows_nor_line_numbers(files: ConnectorBase, folder: Path) -> None:
    plain = "".join(f"{number},name {number}\r\n" for number in range(60_000))
    rest = '60000,"a, ""b"""\r\n1,2,3\r\n60001,"two\r\nlines"\r\n,\r\n60002,end'
    (folder / "a.csv").write_text(f"id,name\r\n{plain}{rest}", newline="")
    table = read_all(files, ReadRequest("a.csv"))
    assert table.column("id").to_pylist() == [*range(60_002), None, 60_002]
    assert table.column("name").to_pylist()[60_000:] == ['a, "b"', "two\r\nlines", None, "end"]
    assert table.column(SOURCE_POSITION).to_pylist() == list(range(60_004))
    assert [one.payload["line"] for one in files.rejected] == [60_003]


@pytest.mark.parametrize("spoiler", ['"b"', "b\r", "b\0c", "b\x85c"], ids=["quote", "return", "nul", "next-line"])
def test_the_quick_reader_gives_the_same_rows_as_the_thorough_one(
    files: ConnectorBase, folder: Path, spoiler: str
) -> None:
    values = ["1,a,1.50,2026-01-01", "2, b ,,", ",,0.1,", "+4,é,-3,2026-12-31", "", "5,x'y\\,7,2026-02-28"]
    (folder / "quick.csv").write_text("id,name,total,day\n" + "\n".join(values) + "\n", newline="")
    spoiled = [*values, f"6,{spoiler},8,2026-03-01"]
    (folder / "thorough.csv").write_text("id,name,total,day\n" + "\n".join(spoiled) + "\n", newline="")
    quick = read_all(files, ReadRequest("quick.csv"))
    thorough = read_all(files, ReadRequest("thorough.csv"))
    assert quick.num_rows == len(values) - 1
    assert quick.to_pylist() == thorough.slice(0, quick.num_rows).to_pylist()

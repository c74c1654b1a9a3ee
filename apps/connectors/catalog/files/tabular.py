"""CSV and Excel: tables of text. Quoting, encodings and broken lines; conversion is `inference`'s."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import fastexcel
import pyarrow as pa
import pyarrow.compute as pc

from apps.connectors.catalog.files.spill import Spill, spill_errors
from apps.connectors.contracts import RejectedRecord
from apps.connectors.exceptions import EntityGone, UnreadableInput

SAMPLE_BYTES = 256 * 1024
SAMPLE_ROWS = 5_000
MAX_LINE_BYTES = 16 * 1024**2
BUFFER_BYTES = 2 * MAX_LINE_BYTES
"""Of DuckDB's CSV reader. Below twice the longest line it was seen to lose lines at the buffers' ends."""
MAX_REJECTED = 10_000
MAX_XLSX_BYTES = 50 * 1024**2
MAX_XLSX_UNPACKED_BYTES = 400 * 1024**2
REJECTED_POSITIONS = 1 << 39
"""Positions of rejected lines are counted from here, so that they never meet those of accepted rows."""
COPY_CHARS = 1024 * 1024
BATCH_BYTES = 32 * 1024**2
LEAST_BATCH_ROWS = 16
DELIMITERS = (",", ";", "\t", "|")
FATAL = {"UNQUOTED VALUE", "LINE SIZE OVER MAXIMUM", "INVALID ENCODING"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        skipped_lines: blank lines before the first record.
        record_bytes: average size of a record in the sample.
        uniform_newlines: all records of the sample end alike, with `\\n` or `\\r\\n`; other files are rewritten before
            they are read.
    """

    delimiter: str
    encoding: str
    header: bool
    names: tuple[str, ...]
    skipped_lines: int = 0
    record_bytes: int = 0
    uniform_newlines: bool = True


def find_dialect(path: Path, config: Mapping[str, Any], shown: str) -> Dialect:
    """Encoding, delimiter and column names, from the settings and the file's beginning.

    Raises:
        UnreadableInput: the file is empty, or its beginning is not in the encoding; the message gives the offset.
    """
    with unpacking_errors(shown), open_binary(path) as file:
        sample = file.read(SAMPLE_BYTES)
    if not sample:
        raise UnreadableInput(f"{shown} is empty.", value=shown, remedy="Choose a file with at least a header line.")
    encoding = _find_encoding(sample, str(config.get("encoding") or "auto"), shown)
    text = codecs.getincrementaldecoder(encoding)("strict").decode(sample, final=False).lstrip("\ufeff")
    uniform = _ends_alike(text)
    text = re.sub(r"\r\n?", "\n", text)
    skipped_lines = len(text) - len(text.lstrip("\n"))
    delimiter = str(config.get("delimiter") or "auto")
    if delimiter == "auto":
        delimiter = _find_delimiter(text)
    first = next(iter(_records(text, delimiter)), [])
    header = bool(config.get("header", True))
    names = unique_names(first if header else [f"column_{index + 1}" for index in range(len(first))])
    if not names:
        raise UnreadableInput(f"{shown} has no columns.", value=shown)
    record_bytes = len(sample) // max(1, text.count("\n"))
    return Dialect(delimiter, encoding, header, names, skipped_lines, record_bytes, uniform)


def sample_csv(path: Path, dialect: Dialect, shown: str, spill: Spill) -> dict[str, list[str | None]]:
    """The first records by column, for the inference of types."""
    with utf8_copy(path, dialect, shown, spill) as plain:
        rejected: list[RejectedRecord] = []
        for batch in read_csv(plain, dialect, shown, rejected, batch_rows=SAMPLE_ROWS, limit=SAMPLE_ROWS):
            return {name: batch.column(index).to_pylist() for index, name in enumerate(dialect.names)}
    return {name: [] for name in dialect.names}


def read_csv(
    path: Path,
    dialect: Dialect,
    shown: str,
    rejected: list[RejectedRecord],
    *,
    batch_rows: int,
    limit: int | None = None,
    lines_before: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Every record as text, by a DuckDB that may open this one file and nothing else.

    Lines with too many or too few fields are collected in `rejected` with their line number, counted from
    `lines_before` when `path` is the end of a file.

    Raises:
        UnreadableInput: a quote that is not closed, a byte sequence of another encoding, or a line above 16 MB:
            with the line number, since everything after it would be guesswork.
    """
    with duckdb.connect(config={"threads": 2, "memory_limit": "384MB"}) as connection:
        connection.execute(f"SET allowed_paths = [{_literal(str(path))}]")
        connection.execute("SET temp_directory = ''")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        columns = ", ".join(f"{_literal(name)}: 'VARCHAR'" for name in dialect.names)
        options = ", ".join(
            [
                "auto_detect=false",
                f"delim={_literal(dialect.delimiter)}",
                "quote='\"'",
                "escape='\"'",
                f"header={str(dialect.header).lower()}",
                f"skip={dialect.skipped_lines}",
                f"columns={{{columns}}}",
                "nullstr=''",
                "allow_quoted_nulls=false",
                "strict_mode=true",
                "store_rejects=true",
                f"rejects_limit={MAX_REJECTED + 1}",
                f"max_line_size={MAX_LINE_BYTES}",
                # DuckDB would take 16 times the longest line for each buffer, which is more than the limit above.
                f"buffer_size={BUFFER_BYTES}",
            ]
        )
        # Every part is a constant or a quoted literal, and the connection can open this one file only.
        statement = f"SELECT * FROM read_csv({_literal(str(path))}, {options})"  # noqa: S608
        if limit is not None:
            statement += f" LIMIT {limit}"
        try:
            yield from connection.sql(statement).to_arrow_reader(fitting_rows(batch_rows, dialect.record_bytes))
            errors = connection.execute(
                "SELECT line, min(error_type::VARCHAR), min(left(csv_line, 2000)), min(error_message) "
                "FROM reject_errors GROUP BY line ORDER BY line"
            ).fetchall()
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # the stream's own faults come as OSError
            raise _unreadable_csv(error, shown) from error
    counted = [(int(line) + lines_before, *found) for line, *found in errors]
    _take_rejects(counted, shown, rejected, complete=limit is None)


@contextmanager
def utf8_copy(path: Path, dialect: Dialect, shown: str, spill: Spill) -> Iterator[Path]:
    """The file in UTF-8 without compression, lines ending alike: itself, or a temporary copy made as a stream.

    Raises:
        UnreadableInput: a byte sequence that the encoding does not have, with its offset.
    """
    compressed = path.suffix == ".gz"
    if dialect.encoding == "utf-8" and not compressed and dialect.uniform_newlines:
        yield path
        return
    decoder = codecs.getincrementaldecoder(dialect.encoding)("strict")
    newlines = io.IncrementalNewlineDecoder(None, translate=not dialect.uniform_newlines)
    with spill.file(suffix=".csv") as target:
        with spill_errors(), unpacking_errors(shown), open_binary(path) as source, target.open("wb") as file:
            offset = 0
            try:
                while chunk := source.read(COPY_CHARS):
                    text = newlines.decode(decoder.decode(chunk))
                    file.write(text.lstrip("\ufeff").encode() if offset == 0 else text.encode())
                    offset += len(chunk)
                file.write(newlines.decode(decoder.decode(b"", final=True), final=True).encode())
            except UnicodeDecodeError as error:
                raise _not_in_encoding(shown, dialect.encoding, offset + error.start) from None
        yield target


def read_xlsx(path: Path, sheet: str | None, config: Mapping[str, Any], shown: str) -> pa.Table:
    """A sheet as a table of text. Excel files are read whole, hence the limit on their size.

    Raises:
        UnreadableInput: too large, or not an Excel file.
        EntityGone: no such sheet.
    """
    table = _load_sheet(_open_xlsx(path, shown), sheet, shown)
    if not table.num_columns:
        raise UnreadableInput(f"{shown} has no columns.", value=shown, remedy="Choose a sheet with a header line.")
    given = [""] * table.num_columns
    if bool(config.get("header", True)) and table.num_rows:
        given = [str(column[0].as_py() or "") for column in table.columns]
        table = table.slice(1)
    table = table.rename_columns(list(unique_names(given)))
    midnight = re.compile(r"\d{4}-\d\d-\d\d 00:00:00")
    for index, name in enumerate(table.schema.names):
        # Excel has no days without a time; a column of midnights is one of days.
        if all(value is None or midnight.fullmatch(value) for value in table.column(index).to_pylist()):
            days = pc.utf8_slice_codeunits(table.column(index), 0, 10)
            table = table.set_column(index, name, days)
    return table


def _load_sheet(reader: Any, sheet: str | None, shown: str) -> pa.Table:
    """The sheet, or the first one that is not hidden; its header is a row like the others."""
    names = reader.sheet_names
    if sheet is not None and sheet not in names:
        raise EntityGone(f"{shown} has no sheet {sheet!r}.", value=sheet, remedy=f"Sheets: {', '.join(names)}.")
    for name in [sheet] if sheet is not None else names:
        loaded = reader.load_sheet(name, header_row=None, dtypes="string")
        if sheet is not None or loaded.visible == "visible":
            return pa.table(loaded.to_arrow())
    raise EntityGone(f"All sheets of {shown} are hidden.", value=shown, remedy=f"Name one: {', '.join(names)}.")


def unique_names(names: list[str]) -> tuple[str, ...]:
    """Column names that are not empty and differ from each other."""
    found: list[str] = []
    taken: set[str] = set()
    for index, name in enumerate(names):
        base = " ".join(str(name).split())[:200] or f"column_{index + 1}"
        candidate, number = base, 1
        while candidate.lower() in taken:
            number += 1
            candidate = f"{base}_{number}"
        taken.add(candidate.lower())
        found.append(candidate)
    return tuple(found)


def fitting_rows(batch_rows: int, record_bytes: int) -> int:
    """Rows of a batch, fewer for wide records, so that memory is bounded by bytes, too."""
    return min(batch_rows, max(LEAST_BATCH_ROWS, BATCH_BYTES // max(1, record_bytes)))


@contextmanager
def unpacking_errors(shown: str) -> Iterator[None]:
    """The faults of a `.gz` as the portal's."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableInput(
            f"{shown} is not a complete gzip file: {error}.", value=shown, remedy="Transfer the file again."
        ) from None


def open_binary(path: Path) -> BinaryIO:
    """The file's bytes, decompressed if it is a `.gz`."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _open_xlsx(path: Path, shown: str) -> Any:
    if path.stat().st_size > MAX_XLSX_BYTES:
        raise UnreadableInput(
            f"{shown} is larger than {MAX_XLSX_BYTES // 1024**2} MB.", value=shown, remedy="Save it as CSV."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_XLSX_UNPACKED_BYTES:
            raise UnreadableInput(
                f"{shown} unpacks to {unpacked // 1024**2:,} MB, more than {MAX_XLSX_UNPACKED_BYTES // 1024**2} MB.",
                value=shown,
                remedy="Save it as CSV.",
            )
        return fastexcel.read_excel(path)
    except (fastexcel.FastExcelError, zipfile.BadZipFile) as error:
        raise UnreadableInput(f"{shown} is not a readable Excel file: {str(error)[:200]}", value=shown) from error


def _find_encoding(sample: bytes, wanted: str, shown: str) -> str:
    if wanted == "auto":
        if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        wanted = "utf-8"
    if wanted == "utf-8" and sample.startswith(codecs.BOM_UTF8):
        wanted = "utf-8-sig"
    try:
        codecs.getincrementaldecoder(wanted)("strict").decode(sample, final=False)
    except UnicodeDecodeError as error:
        raise _not_in_encoding(shown, wanted, error.start) from None
    return wanted


def _not_in_encoding(shown: str, encoding: str, offset: int) -> UnreadableInput:
    return UnreadableInput(
        f"{shown} is not in the encoding {encoding.removesuffix('-sig')}: byte {offset} does not belong to it.",
        field="config.encoding",
        value=encoding,
        remedy="Choose the encoding in the connection's settings; files from Windows are often windows-1252.",
        offset=offset,
    )


def _ends_alike(text: str) -> bool:
    """Whether all records end with `\\n`, or all with `\\r\\n`; what stands in quotes does not count."""
    # A carriage return at the very end of the sample may be half of a pair.
    ends = set(re.findall(r"\r\n|\r|\n", re.sub(r'"[^"]*"', "", text.removesuffix("\r"))))
    return ends <= {"\n"} or ends == {"\r\n"}


def _find_delimiter(text: str) -> str:
    """The delimiter that splits the first records most often, and alike."""
    best, best_score = ",", (0, 0)
    for delimiter in DELIMITERS:
        widths = [len(record) for record in _records(text, delimiter)]
        if widths and widths[0] > 1:
            score = (widths.count(widths[0]) * 100 // len(widths), widths[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _records(text: str, delimiter: str) -> list[list[str]]:
    found: list[list[str]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    previous = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        for record in reader:
            if record:
                found.append(record)
            if len(found) >= 50:
                break
    except csv.Error:
        return found
    finally:
        csv.field_size_limit(previous)
    return found


def _unreadable_csv(error: Exception, shown: str) -> UnreadableInput:
    if "state machine" in str(error):
        reason, remedy = "has lines that do not all end alike", "Save it with one kind of line end, then load again"
    else:
        reason = f"cannot be read as CSV: {str(error).splitlines()[0][:300].rstrip('.')}"
        remedy = "Check the delimiter and the encoding in the connection's settings"
    return UnreadableInput(f"{shown} {reason}.", value=shown, remedy=f"{remedy}.")


def _take_rejects(errors: list[tuple[Any, ...]], shown: str, rejected: list[RejectedRecord], *, complete: bool) -> None:
    for line, kind, text, _message in errors:
        if kind not in FATAL:
            continue
        if kind == "INVALID ENCODING":
            reason, remedy = "is not in UTF-8", "Choose the file's encoding in the connection's settings."
        elif kind == "UNQUOTED VALUE":
            reason, remedy = "has a quote that is not closed or not doubled", "Correct the line, then load again."
        else:
            reason, remedy = f"is longer than {MAX_LINE_BYTES // 1024**2} MB", "Look for a quote that is not closed."
        if complete or kind != "LINE SIZE OVER MAXIMUM":
            raise UnreadableInput(f"Line {line} of {shown} {reason}.", value=text[:200], remedy=remedy, line=line)
    if len(errors) > MAX_REJECTED:
        raise UnreadableInput(
            f"More than {MAX_REJECTED} lines of {shown} have the wrong number of fields, the first is line "
            f"{errors[0][0]}.",
            remedy="Check the delimiter in the connection's settings.",
        )
    for line, _kind, text, message in errors:
        rejected.append(
            RejectedRecord(
                REJECTED_POSITIONS + int(line),
                "connectors.csv_line",
                f"Line {line}: {message}.",
                {"line": line, "text": text},
            )
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

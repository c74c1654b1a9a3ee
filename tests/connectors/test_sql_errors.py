"""Drivers' errors become the portal's, with a code that says what to do."""

from __future__ import annotations

import psycopg
import pytest

from apps.connectors.catalog.files.storage import storage_errors
from apps.connectors.exceptions import (
    ConnectorFailed,
    CredentialsRefused,
    EntityGone,
    OutOfSpace,
    SystemUnavailable,
    TlsFailed,
    TransactionConflict,
    WriteRefused,
)
from apps.connectors.sql.copy_encoding import column_type
from apps.connectors.sql.errors import translate, translate_connect, translate_stream, translated
from apps.connectors.sql.types import duckdb_type, merge_types, postgres_type
from apps.core.exceptions import PortalError, TransientError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.DiskFull("no space left"), OutOfSpace),
        (psycopg.errors.UndefinedTable("x"), EntityGone),
        (psycopg.errors.InsufficientPrivilege("x"), EntityGone),
        (psycopg.errors.AdminShutdown("x"), SystemUnavailable),
        (psycopg.errors.TooManyConnections("x"), SystemUnavailable),
        (psycopg.errors.SerializationFailure("x"), TransactionConflict),
        (psycopg.OperationalError("server closed the connection"), SystemUnavailable),
        (psycopg.errors.NumericValueOutOfRange("x"), WriteRefused),
        (psycopg.errors.SyntaxError("x"), ConnectorFailed),
    ],
)
def test_states_map_to_consequences(error: psycopg.Error, expected: type[PortalError]) -> None:
    found = translate(error, entity="sales.invoices", writing=True)
    assert type(found) is expected
    assert found.remedy or expected is ConnectorFailed
    assert isinstance(found, TransientError) is (expected in (SystemUnavailable, TransactionConflict))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[libpq] Execution error [PGRES_FATAL_ERROR]: ERROR:  canceling statement due to statement timeout\n", True),
        ("[libpq] Fetch header failed: server closed the connection unexpectedly", True),
        ("[libpq] FATAL:  terminating connection due to administrator command", True),
        ("[libpq] Execution error [PGRES_FATAL_ERROR]: ERROR:  division by zero\n", False),
    ],
    ids=["timeout", "line-broke", "shut-down", "refused"],
)
def test_faults_while_rows_stream_pass_or_not(text: str, expected: bool) -> None:
    found = translate_stream(OSError(text))
    assert isinstance(found, SystemUnavailable if expected else ConnectorFailed)
    assert found.message.endswith(".")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FATAL:  password authentication failed for user "x"', CredentialsRefused),
        ("fe_sendauth: no password supplied", CredentialsRefused),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', CredentialsRefused),
        ('FATAL:  database "x" does not exist', EntityGone),
        ("server does not support SSL, but SSL was required", TlsFailed),
        ("SSL error: certificate verify failed", TlsFailed),
        ("FATAL:  the database system is starting up", SystemUnavailable),
    ],
)
def test_refused_log_ins_say_why(text: str, expected: type[PortalError]) -> None:
    found = translate_connect(psycopg.OperationalError(text), host="h", database="x", user="u")
    assert type(found) is expected
    assert found.remedy


def test_a_full_disk_below_files_is_said_plainly() -> None:
    with pytest.raises(OutOfSpace), storage_errors("a.csv"):
        raise OSError(28, "No space left on device")


def test_portal_errors_pass_through() -> None:
    with pytest.raises(WriteRefused), translated():
        raise WriteRefused("x")


@pytest.mark.parametrize(
    ("existing", "wanted", "merged"),
    [
        ("integer", "bigint", "bigint"),
        ("bigint", "smallint", "bigint"),
        ("numeric(6,2)", "numeric(10,4)", "numeric(10,4)"),
        ("numeric(18,2)", "numeric(18,4)", "numeric(20,4)"),
        ("integer", "numeric(18,2)", "numeric(18,2)"),
        ("bigint", "numeric(18,2)", "numeric(21,2)"),
        ("numeric", "numeric(18,2)", "numeric"),
        ("character varying(10)", "text", "text"),
        ("date", "timestamp without time zone", "timestamp without time zone"),
        ("real", "double precision", "double precision"),
        # Lossy or meaningless: refused.
        ("text", "integer", None),
        ("bigint", "double precision", None),
        ("numeric(18,2)", "double precision", None),
        ("timestamp without time zone", "timestamp with time zone", None),
        ("uuid", "text", None),
    ],
)
def test_only_lossless_changes_are_widenings(existing: str, wanted: str, merged: str | None) -> None:
    assert merge_types(existing, wanted) == merged


@pytest.mark.parametrize(
    ("type_", "native"),
    [
        ("DECIMAL(18, 2)", "numeric(18,2)"),
        ("HUGEINT", "numeric(39,0)"),
        ("UBIGINT", "numeric(20,0)"),
        ("VARCHAR[]", "text[]"),
        ("DECIMAL(10,2)[]", "numeric(10,2)[]"),
        ("BIGINT[][]", "jsonb"),
        ("STRUCT(a BIGINT)", "jsonb"),
        ("STRUCT(a BIGINT)[]", "jsonb"),
        ("MAP(VARCHAR, BIGINT)", "jsonb"),
        ("ENUM('a', 'b')", "text"),
        ("timestamp with time zone", "timestamp with time zone"),
    ],
)
def test_types_map_to_postgresql(type_: str, native: str) -> None:
    assert postgres_type(type_) == native


@pytest.mark.parametrize(
    ("native", "type_"),
    [
        ("numeric(18,2)", "DECIMAL(18,2)"),
        ("numeric(50,2)", "VARCHAR"),
        ("numeric(3,-2)", "DECIMAL(5,0)"),
        ("timestamp(3) with time zone", "TIMESTAMPTZ"),
        ("character varying(20)", "VARCHAR"),
        ("integer[]", "INTEGER[]"),
        ("numeric[]", "JSON"),
        ("sales.status", "VARCHAR"),
        ("tsvector", "VARCHAR"),
    ],
)
def test_types_map_from_postgresql(native: str, type_: str) -> None:
    assert duckdb_type(native) == type_


def test_sized_types_share_an_encoding_and_unknown_ones_are_refused() -> None:
    assert column_type("timestamp(3) with time zone") is column_type("timestamp with time zone")
    assert column_type("character varying(5)") is column_type("text")
    with pytest.raises(WriteRefused, match="cannot be loaded in bulk"):
        column_type("tsvector")

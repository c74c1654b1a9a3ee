"""The `postgresql` connector as a source: the suite, every type, and everything that can be wrong with a source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import psycopg
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Aggregate, PartitionKind, WatermarkMethod
from apps.connectors.contracts import (
    ConnectionContext,
    Control,
    CursorRange,
    QueryRequest,
    ReadRequest,
    StatsRequest,
)
from apps.connectors.exceptions import ColumnGone, EntityGone, SchemaChanged, SnapshotGone
from apps.connectors.registries import connector_registry
from tests.connectors.systems import source_database
from tests.suites.connector_suite import ConnectorSuite, read_all

INVOICES = "sales.invoices"


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, Any]]:
    with source_database() as found:
        yield found


@pytest.fixture
def config(database: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in database.items() if name != "admin"}


@pytest.fixture
def admin(database: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database["admin"], autocommit=True) as session:
        yield session


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]


def connect(config: Mapping[str, Any], password: str = "let me read") -> ConnectorBase:
    connector = connector_registry.get("postgresql").create(ConnectionContext(purpose="test"))
    connector.connect(config, {"password": password})
    return connector


@pytest.fixture
def source(config: dict[str, Any]) -> Iterator[ConnectorBase]:
    with connect(config) as connector:
        yield connector


class TestPostgresqlSuite(ConnectorSuite):
    connector = "postgresql"
    entity = INVOICES
    cursor = "updated_at"
    rows = 1000

    def big_entity(self) -> str:
        return "sales.big"

    @pytest.fixture
    def secrets(self) -> Mapping[str, str]:
        return {"password": "let me read"}

    @pytest.fixture
    def bad_config(self, config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "database": "no_such_database"}


def test_types_are_described_and_read_exactly(source: ConnectorBase) -> None:
    schema = source.describe(INVOICES)
    types = {field.name: field.type for field in schema.fields}
    assert types == {
        "id": "BIGINT",
        "number": "VARCHAR",
        "customer_id": "INTEGER",
        "currency": "VARCHAR",
        "net": "DECIMAL(18,2)",
        "total": "DECIMAL(18,2)",
        "rate": "DECIMAL(38,12)",
        "status": "VARCHAR",
        "tags": "VARCHAR[]",
        "attributes": "JSON",
        "token": "UUID",
        "note": "VARCHAR",
        "issued_on": "DATE",
        "paid": "BOOLEAN",
        "weight": "DOUBLE",
        "updated_at": "TIMESTAMPTZ",
    }
    assert schema.keys == ("id",)
    assert ("number",) in schema.unique_keys
    assert schema.cursor_candidates[0] == "updated_at"
    row = read_all(source, ReadRequest(INVOICES, cursor=CursorRange("id", "7", "8"))).to_pylist()[0]
    assert row["net"] == Decimal("7.07")
    assert row["rate"] == Decimal("0.875")
    assert row["status"] == "paid"
    assert row["tags"] == ["a", "7"]
    assert json.loads(row["attributes"])["n"] == 7
    assert '"x": 0.10' in row["attributes"]
    assert row["note"] == "Grüße 7"
    assert row["issued_on"] == date(2024, 1, 8)
    assert row["updated_at"] == datetime(2024, 1, 1, 0, 7, tzinfo=UTC)


def test_awkward_values_arrive_or_are_reported(admin: Any, source: ConnectorBase) -> None:
    admin.execute("DROP TABLE IF EXISTS sales.awkward")
    admin.execute(
        "CREATE DOMAIN sales.amount AS numeric(10,2)"
        if admin.execute("SELECT to_regtype('sales.amount')").fetchone()[0] is None
        else "SELECT 1"
    )
    admin.execute(
        "CREATE TABLE sales.awkward (id int, big numeric(38,10), free numeric, money sales.amount, day date, "
        "at timestamp, bytes bytea, grid int[], price numeric(6,2)[], span interval, net inet, time time, o oid)"
    )
    admin.execute(
        "INSERT INTO sales.awkward VALUES "
        "(1, 1234567890123456789012345678.0123456789, 1e10, 12.34, 'infinity', '-infinity', '\\x00ff', '{1,2}', "
        " '{1.5}', '1 day', '10.0.0.1', '12:34:56.789', 7), "
        "(2, NULL, 'NaN', -0.01, '0001-01-01', '9999-12-31 23:59:59.999999', NULL, NULL, NULL, NULL, NULL, NULL, "
        " NULL), "
        "(3, 0, 0.1234567890123, NULL, NULL, NULL, '', '{}', '{}', '0', '::1', '00:00', 0), "
        "(4, 0, 4, 4, '2024-02-29', '2024-02-29', NULL, '{{1,2},{3,4}}', NULL, NULL, NULL, NULL, NULL)"
    )
    admin.execute("GRANT SELECT ON sales.awkward TO PUBLIC")
    table = read_all(source, ReadRequest("sales.awkward", columns=("id", "big", "free", "money", "bytes", "price")))
    assert table["id"].to_pylist() == [1, 4]
    assert table["big"][0].as_py() == Decimal("1234567890123456789012345678.0123456789")
    assert table["money"][0].as_py() == Decimal("12.34")
    assert table["price"][0].as_py() == "[1.50]"
    assert sorted(one.position for one in source.rejected) == [1, 2]
    assert source.rejected[0].payload == {
        "id": 2,
        "big": None,
        "free": "NaN",
        "money": Decimal("-0.01"),
        "bytes": None,
        "price": None,
    }
    assert source.rejected[0].message == "free is NaN, which DECIMAL(38,12) does not hold."
    source.rejected.clear()
    days = read_all(source, ReadRequest("sales.awkward", columns=("day", "at", "grid")))
    assert [one.position for one in source.rejected] == [3]
    assert days["day"].cast("int32").to_pylist()[:2] == [2**31 - 1, -719162]
    assert days["at"].cast("int64").to_pylist()[0] == -(2**63) + 1


def test_partitions_by_blocks_when_there_is_no_key(admin: Any, source: ConnectorBase) -> None:
    admin.execute(
        "DROP TABLE IF EXISTS sales.heap; CREATE TABLE sales.heap AS "
        "SELECT i, repeat('x', 500) AS filler FROM generate_series(1, 2000) i; ANALYZE sales.heap"
    )
    admin.execute("GRANT SELECT ON sales.heap TO PUBLIC")
    parts = source.plan_partitions("sales.heap", 3)
    assert [part.kind for part in parts] == [PartitionKind.BLOCKS] * 3
    seen = [
        value
        for part in parts
        for value in read_all(source, ReadRequest("sales.heap", columns=("i",), partition=part))["i"].to_pylist()
    ]
    assert sorted(seen) == list(range(1, 2001))


def test_partitions_by_an_integer_key(source: ConnectorBase) -> None:
    parts = source.plan_partitions(INVOICES, 4)
    assert [part.column for part in parts] == ["id"] * 4
    assert parts[0].lower is None
    assert parts[-1].upper is None


def test_a_snapshot_shows_every_reader_the_same_state(admin: Any, source: ConnectorBase) -> None:
    admin.execute("TRUNCATE public.plain")
    admin.execute("INSERT INTO public.plain VALUES (1, 'a')")
    with source.open_snapshot() as snapshot:
        admin.execute("INSERT INTO public.plain VALUES (2, 'b')")
        seen = read_all(source, ReadRequest("public.plain", snapshot=snapshot.id))
        totals = source.stats(StatsRequest("public.plain", (Control("rows", Aggregate.COUNT),), snapshot=snapshot.id))
    assert seen["a"].to_pylist() == [1]
    assert totals == {"rows": "1"}
    assert read_all(source, ReadRequest("public.plain")).num_rows == 2
    with pytest.raises(SnapshotGone):
        read_all(source, ReadRequest("public.plain", snapshot=snapshot.id))


def test_stats_agree_with_the_rows(source: ConnectorBase) -> None:
    controls = (
        Control("rows", Aggregate.COUNT),
        Control("total", Aggregate.SUM, "total"),
        Control("first", Aggregate.MIN, "issued_on"),
        Control("keys", Aggregate.KEY_HASH, columns=("id",)),
    )
    totals = source.stats(StatsRequest(INVOICES, controls, cursor=CursorRange("id", "1", "101")))
    assert totals["rows"] == "100"
    assert totals["total"] == "6009.50"
    assert totals["first"] == "2024-01-02"
    same = duckdb.sql("SELECT sum(('0x' || substr(md5(i::VARCHAR), 1, 15))::BIGINT)::VARCHAR FROM range(1, 101) t(i)")
    assert same.fetchall() == [(totals["keys"],)]


def test_query_runs_read_only(source: ConnectorBase) -> None:
    request = QueryRequest("SELECT id, total FROM sales.invoices WHERE id <= %(top)s ORDER BY id", {"top": 2})
    assert [row["total"] for batch in source.query(request) for row in batch.to_pylist()] == [
        Decimal("1.19"),
        Decimal("2.38"),
    ]
    from apps.core.exceptions import PortalError

    with pytest.raises(PortalError):
        list(source.query(QueryRequest("WITH gone AS (DELETE FROM sales.invoices RETURNING 1) SELECT * FROM gone")))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "step"),
    [
        ({"database": "no_such_db"}, "connectors.entity_gone", "Sign in"),
        ({"user": "no_such_user"}, "connectors.credentials_refused", "Sign in"),
        ({"port": 1}, "core.egress.unreachable", "Reach the port"),
        ({"tls_mode": "require"}, "connectors.tls_failed", "Sign in"),
        ({"schema": "no_such_schema"}, "connectors.entity_gone", "Read tables"),
    ],
)
def test_check_names_the_step_that_fails(config: Any, change: dict[str, Any], code: str, step: str) -> None:
    with connect({**config, **change}) as connector:
        result = connector.check()
    assert (result.ok, result.code) == (False, code)
    assert result.steps[-1].name == step
    assert result.remedy
    assert "let me read" not in json.dumps(result.to_json())


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("10.0.0.1", "core.egress.denied"),
        ("169.254.169.254", "core.egress.denied"),
        ("no-such-host.invalid", "core.egress.host_unresolved"),
    ],
)
def test_private_and_unknown_hosts_are_refused_before_any_packet(config: Any, host: str, code: str) -> None:
    from apps.core.exceptions import PortalError

    with pytest.raises(PortalError) as caught:
        connect({**config, "host": host})
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_table_that_vanished_is_named(admin: Any, source: ConnectorBase) -> None:
    admin.execute("CREATE TABLE IF NOT EXISTS sales.short_lived (id int); GRANT SELECT ON sales.short_lived TO PUBLIC")
    assert source.describe("sales.short_lived").names == ("id",)
    admin.execute("DROP TABLE sales.short_lived")
    with pytest.raises(EntityGone, match=r"sales\.short_lived does not exist"):
        list(source.read(ReadRequest("sales.short_lived")))


def test_a_table_without_rights_says_which_grant_is_missing(admin: Any, source: ConnectorBase) -> None:
    admin.execute("CREATE TABLE IF NOT EXISTS sales.private_one (id int)")
    with pytest.raises(EntityGone) as caught:
        source.describe("sales.private_one")
    assert "GRANT SELECT" in str(caught.value.remedy)


def test_columns_added_removed_and_retyped_are_seen(admin: Any, source: ConnectorBase) -> None:
    admin.execute(
        "DROP TABLE IF EXISTS sales.moving; CREATE TABLE sales.moving (id int, amount numeric(10,2), old text)"
    )
    admin.execute("GRANT SELECT ON sales.moving TO PUBLIC; INSERT INTO sales.moving VALUES (1, 1.50, 'x')")
    planned = source.describe("sales.moving")
    admin.execute("ALTER TABLE sales.moving ADD COLUMN extra text, DROP COLUMN old, ALTER COLUMN amount TYPE text")
    assert source.describe("sales.moving").names == ("id", "amount", "extra")
    with pytest.raises(ColumnGone, match="old"):
        list(source.read(ReadRequest("sales.moving", columns=planned.names)))
    with pytest.raises(SchemaChanged, match=r"amount was DECIMAL\(10,2\) and is VARCHAR"):
        list(source.read(ReadRequest("sales.moving", columns=("id", "amount"), expected=planned)))


# --- late commits ---------------------------------------------------------------------------------------------------


def _events_table(admin: Any, *, partitioned: bool = False) -> None:
    part = "CREATE TABLE sales.events_a PARTITION OF sales.events FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    tail = f" PARTITION BY HASH (id); {part}" if partitioned else ""
    admin.execute(
        "DROP TABLE IF EXISTS sales.events; DROP SEQUENCE IF EXISTS sales.events_ids; "
        "CREATE SEQUENCE sales.events_ids; GRANT USAGE ON SEQUENCE sales.events_ids TO PUBLIC;"
        "CREATE TABLE sales.events (id bigint DEFAULT nextval('sales.events_ids') PRIMARY KEY,"
        f" at timestamptz DEFAULT now()){tail};"
        "GRANT SELECT ON sales.events TO PUBLIC; INSERT INTO sales.events (at) VALUES (now() - interval '1 hour')"
    )


def _read_increment(source: ConnectorBase, column: str, state: Any) -> tuple[set[int], Any]:
    mark = source.watermark("sales.events", column)
    cursor = CursorRange(
        column,
        lower=state.value if state else None,
        upper=mark.value,
        upper_inclusive=mark.upper_inclusive,
        since_snapshot=state.snapshot if state else None,
    )
    return set(read_all(source, ReadRequest("sales.events", cursor=cursor))["id"].to_pylist()), mark


@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize("column", ["at", "id"])
def test_rows_that_commit_late_are_read_by_a_later_run_exactly_once(
    admin: Any, database: dict[str, Any], source: ConnectorBase, column: str, partitioned: bool
) -> None:
    _events_table(admin, partitioned=partitioned)
    with psycopg.connect(database["admin"]) as slow:
        late = slow.execute("INSERT INTO sales.events DEFAULT VALUES RETURNING id").fetchone()[0]
        admin.execute("SELECT pg_sleep(0.02)")
        early = admin.execute("INSERT INTO sales.events DEFAULT VALUES RETURNING id").fetchone()[0]
        first, state = _read_increment(source, column, None)
        slow.commit()
    second, state = _read_increment(source, column, state)
    third, _state = _read_increment(source, column, state)
    assert late not in first
    assert {late, early} <= first | second
    assert first & second == set()
    assert third == set()


def test_accounts_that_see_all_sessions_hold_the_watermark_back(
    admin: Any, database: dict[str, Any], config: dict[str, Any]
) -> None:
    _events_table(admin)
    owner = str(admin.execute("SELECT current_user").fetchone()[0])
    own_password = admin.info.password or "unused"
    with connect({**config, "user": owner}, own_password) as source, psycopg.connect(database["admin"]) as slow:
        slow.execute("INSERT INTO sales.events DEFAULT VALUES")
        admin.execute("INSERT INTO sales.events DEFAULT VALUES")
        mark = source.watermark("sales.events", "at")
        slow.rollback()
    assert mark.method == WatermarkMethod.OPEN_TRANSACTIONS
    assert mark.held_back_by_s is not None
    assert "open for" in mark.note


def test_an_empty_table_has_no_watermark(source: ConnectorBase) -> None:
    assert source.watermark("public.empty", "updated_at").value is None


def test_a_cursor_column_that_is_gone_is_named(source: ConnectorBase) -> None:
    with pytest.raises(ColumnGone, match="by which the load is incremental"):
        list(source.read(ReadRequest(INVOICES, cursor=CursorRange("changed_at"))))


def test_passwords_are_not_shown(config: Any) -> None:
    with connect(config) as connector:
        assert "let me read" not in repr(connector.__dict__["endpoint"])

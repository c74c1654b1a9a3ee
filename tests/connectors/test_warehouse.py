"""The staged writer on the tenant's warehouse: dispositions, counts, idempotence, evolution, what must not happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow as pa
import pytest

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Aggregate, Disposition
from apps.connectors.contracts import Control, EntitySchema, ReadRequest, StagedPart, StatsRequest, WriteRequest
from apps.connectors.exceptions import (
    ConfigInvalid,
    DuplicateKeys,
    EmptyExtract,
    SchemaChanged,
    StagingLost,
    WriteRefused,
)
from apps.connectors.services.sessions import connect
from apps.connectors.sql.staging import collect_staging
from tests.suites.connector_suite import read_all

FIELDS = [("id", "BIGINT"), ("name", "VARCHAR"), ("total", "DECIMAL(18,2)"), ("day", "DATE")]


@pytest.fixture
def warehouse(as_acme: Any) -> Iterator[ConnectorBase]:
    with connect("warehouse", {}, {}, purpose="test") as connector:
        yield connector


@pytest.fixture
def entity(unique: Callable[[str], str], warehouse: ConnectorBase) -> Iterator[str]:
    name = unique("invoices")
    yield name
    with warehouse.session() as session:
        session.execute(f'DROP TABLE IF EXISTS "{name}" CASCADE')
        session.commit()


def batch(rows: list[tuple[Any, ...]], *, start: int = 0, types: list[tuple[str, str]] | None = None) -> pa.RecordBatch:
    """Rows of FIELDS with `_row_id` counted from `start`."""
    arrow = {"BIGINT": pa.int64(), "VARCHAR": pa.string(), "DECIMAL(18,2)": pa.decimal128(18, 2), "DATE": pa.date32()}
    columns = {
        name: pa.array([row[index] for row in rows], arrow.get(type_))
        for index, (name, type_) in enumerate(types or FIELDS)
    }
    columns["_row_id"] = pa.array(range(start, start + len(rows)), pa.int64())
    return pa.RecordBatch.from_pydict(columns)


def rows_of(count: int, *, first: int = 1, bonus: str = "0") -> list[tuple[Any, ...]]:
    return [
        (i, f"Name {i}", Decimal(i) * Decimal("1.10") + Decimal(bonus), date(2024, 1, 1 + i % 28))
        for i in range(first, first + count)
    ]


def request(entity: str, disposition: Disposition, **extra: Any) -> WriteRequest:
    keys = extra.pop("keys", ("id",))
    fields = extra.pop("fields", FIELDS)
    return WriteRequest(
        entity, EntitySchema.of(entity, fields, keys), extra.pop("run_id", uuid4()), disposition, keys, **extra
    )


def load(warehouse: ConnectorBase, wanted: WriteRequest, *batches: pa.RecordBatch, allow_empty: bool = False) -> Any:
    writer = warehouse.open_writer(wanted)
    part = writer.stage(batches, part="load/part[0]#1.1")
    return writer.finish([part], allow_empty=allow_empty, marker="load/finish")


def content(warehouse: ConnectorBase, entity: str) -> list[tuple[Any, ...]]:
    table = read_all(warehouse, ReadRequest(entity))
    return sorted(tuple(row[name] for name in ("id", "name", "total", "day")) for row in table.to_pylist())


def test_replace_makes_the_table_with_key_and_lineage(warehouse: ConnectorBase, entity: str) -> None:
    result = load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(500)))
    assert (result.rows, result.inserted, result.deleted) == (500, 500, 0)
    assert content(warehouse, entity) == rows_of(500)
    schema = warehouse.describe(entity)
    assert schema.keys == ("id",)
    table = read_all(warehouse, ReadRequest(entity))
    assert sorted(table["_row_id"].to_pylist()) == list(range(500))
    assert set(table["_load_id"].to_pylist()) == {result.load_id}


def test_replace_keeps_grants_indexes_and_comments(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(10)))
    with warehouse.session() as session:
        session.execute(f'GRANT SELECT ON "{entity}" TO PUBLIC')
        session.execute(f'CREATE INDEX "{entity}_by_day" ON "{entity}" (day DESC) WHERE total > 0')
        session.execute(f"COMMENT ON TABLE \"{entity}\" IS 'Invoices'")
        session.execute(f"COMMENT ON COLUMN \"{entity}\".total IS 'Gross'")
        session.commit()
    result = load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(7, first=100)))
    assert (result.inserted, result.deleted, result.facts["how"]) == (7, 10, "swap")
    assert content(warehouse, entity) == rows_of(7, first=100)
    with warehouse.session() as session:
        found = session.execute(
            "SELECT has_table_privilege('public', %(t)s, 'SELECT'), obj_description(%(t)s::regclass), "
            "col_description(%(t)s::regclass, (SELECT attnum FROM pg_attribute WHERE attrelid = %(t)s::regclass "
            "AND attname = 'total')), (SELECT array_agg(indexname::text ORDER BY 1) FROM pg_indexes "
            "WHERE tablename = %(n)s)",
            {"t": f'"{entity}"', "n": entity},
        ).fetchone()
    assert found is not None
    assert found[:3] == (True, "Invoices", "Gross")
    assert sorted(found[3]) == [f"{entity}_by_day", f"{entity}_pkey"]
    assert warehouse.describe(entity).find_field("total").description == "Gross"  # type: ignore[union-attr]


def test_replace_under_a_view_keeps_the_view_working(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(3)))
    with warehouse.session() as session:
        session.execute(f'CREATE VIEW "{entity}_view" AS SELECT sum(total) AS total FROM "{entity}"')
        session.commit()
    result = load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(2)))
    assert result.facts["how"] == "copy"
    assert read_all(warehouse, ReadRequest(f"{entity}_view"))["total"].to_pylist() == [Decimal("3.30")]


def test_append_adds(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.APPEND, keys=()), batch(rows_of(3)))
    result = load(warehouse, request(entity, Disposition.APPEND, keys=()), batch(rows_of(3)))
    assert result.inserted == 3
    assert len(content(warehouse, entity)) == 6


def test_append_with_keys_refuses_a_key_that_is_there(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.APPEND), batch(rows_of(3)))
    with pytest.raises(DuplicateKeys, match="same key"):
        load(warehouse, request(entity, Disposition.APPEND), batch(rows_of(2, first=3)))
    assert len(content(warehouse, entity)) == 3


@pytest.mark.parametrize(("changed", "how"), [(2, "merge"), (10_000, "rebuild")])
def test_upsert_counts_and_keeps_what_it_does_not_touch(
    warehouse: ConnectorBase, entity: str, changed: int, how: str
) -> None:
    load(warehouse, request(entity, Disposition.UPSERT), batch(rows_of(12_000)))
    rows = rows_of(changed, bonus="1") + rows_of(11_000 - changed, first=changed + 1) + rows_of(5, first=50_000)
    result = load(warehouse, request(entity, Disposition.UPSERT), batch(rows, start=20_000))
    assert (result.inserted, result.updated, result.unchanged, result.deleted) == (5, changed, 11_000 - changed, 0)
    assert result.facts["how"] == how
    expected = rows_of(changed, bonus="1") + rows_of(12_000 - changed, first=changed + 1) + rows_of(5, first=50_000)
    assert content(warehouse, entity) == expected
    assert warehouse.describe(entity).keys == ("id",)
    table = {row["id"]: row for row in read_all(warehouse, ReadRequest(entity)).to_pylist()}
    assert table[1]["_load_id"] == result.load_id
    assert table[1]["_row_id"] == 20_000
    assert table[11_500]["_load_id"] != result.load_id


@pytest.mark.parametrize("changed", [2, 10_000])
def test_upsert_of_a_full_extract_deletes_what_is_gone(warehouse: ConnectorBase, entity: str, changed: int) -> None:
    load(warehouse, request(entity, Disposition.UPSERT), batch(rows_of(12_000)))
    rows = rows_of(changed, bonus="1") + rows_of(11_000 - changed, first=changed + 1)
    result = load(warehouse, request(entity, Disposition.UPSERT, retire_missing=True), batch(rows))
    assert (result.updated, result.unchanged, result.deleted) == (changed, 11_000 - changed, 1_000)
    assert content(warehouse, entity) == rows


def test_upsert_sees_a_change_to_and_from_null(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.UPSERT), batch([(1, None, None, None), (2, "b", None, None)]))
    result = load(warehouse, request(entity, Disposition.UPSERT), batch([(1, "a", None, None), (2, None, None, None)]))
    assert (result.updated, result.unchanged) == (2, 0)


def test_versions_are_kept(warehouse: ConnectorBase, entity: str) -> None:
    first, second, third = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3))
    load(warehouse, request(entity, Disposition.SCD2, changed_at=first.isoformat()), batch(rows_of(3)))
    rows = [*rows_of(1), *rows_of(1, first=2, bonus="5"), *rows_of(1, first=9)]
    result = load(
        warehouse,
        request(entity, Disposition.SCD2, changed_at=second.isoformat(), retire_missing=True),
        batch(rows),
    )
    assert (result.inserted, result.updated, result.unchanged, result.deleted) == (1, 1, 1, 1)
    found = sorted(
        (row["id"], row["valid_from"], row["valid_to"], row["is_current"])
        for row in read_all(warehouse, ReadRequest(entity)).to_pylist()
    )
    assert found == [
        (1, first, None, True),
        (2, first, second, False),
        (2, second, None, True),
        (3, first, second, False),
        (9, second, None, True),
    ]
    again = load(warehouse, request(entity, Disposition.SCD2, changed_at=third.isoformat()), batch(rows))
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, 3)
    totals = warehouse.stats(StatsRequest(entity, (Control("rows", Aggregate.COUNT),)))
    assert totals == {"rows": "3"}


def test_versions_need_a_versioned_table(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(3)))
    with pytest.raises(SchemaChanged, match="keeps no versions"):
        load(warehouse, request(entity, Disposition.SCD2), batch(rows_of(3)))


# --- what must never happen -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [{"disposition": Disposition.REPLACE}, {"retire_missing": True}])
def test_an_empty_extract_changes_nothing_unless_allowed(
    warehouse: ConnectorBase, entity: str, extra: dict[str, Any]
) -> None:
    wanted = {"disposition": Disposition.UPSERT, **extra}
    load(warehouse, request(entity, **wanted), batch(rows_of(3)))
    with pytest.raises(EmptyExtract, match="existing rows were kept"):
        load(warehouse, request(entity, **wanted))
    assert len(content(warehouse, entity)) == 3
    result = load(warehouse, request(entity, **wanted), allow_empty=True)
    assert result.deleted == 3
    assert content(warehouse, entity) == []


@pytest.mark.parametrize("disposition", [Disposition.UPSERT, Disposition.APPEND, Disposition.SCD2])
def test_an_increment_without_rows_is_a_finished_load(
    warehouse: ConnectorBase, entity: str, disposition: Disposition
) -> None:
    load(warehouse, request(entity, disposition), batch(rows_of(3)))
    wanted = request(entity, disposition)
    result = load(warehouse, wanted)
    assert (result.rows, result.inserted, result.deleted, result.facts["how"]) == (0, 0, 0, "nothing")
    assert load(warehouse, wanted).already_done
    assert len(content(warehouse, entity)) == 3


def test_finishing_twice_returns_the_first_result(warehouse: ConnectorBase, entity: str) -> None:
    writer = warehouse.open_writer(request(entity, Disposition.APPEND, keys=()))
    part = writer.stage([batch(rows_of(5))], part="p0")
    first = writer.finish([part], allow_empty=False, marker="m")
    second = writer.finish([part], allow_empty=False, marker="m")
    assert second.already_done
    assert (second.inserted, second.load_id) == (first.inserted, first.load_id)
    assert len(content(warehouse, entity)) == 5


def test_finishing_at_the_same_time_loads_once(warehouse: ConnectorBase, entity: str) -> None:
    wanted = request(entity, Disposition.APPEND, keys=())
    part = warehouse.open_writer(wanted).stage([batch(rows_of(500))], part="p0")
    results: list[Any] = []

    def finish() -> None:
        results.append(warehouse.open_writer(wanted).finish([part], allow_empty=False, marker="m"))

    threads = [threading.Thread(target=finish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.already_done for result in results].count(False) == 1
    assert len(content(warehouse, entity)) == 500


def test_a_part_staged_again_counts_once(warehouse: ConnectorBase, entity: str) -> None:
    writer = warehouse.open_writer(request(entity, Disposition.REPLACE))
    stale = writer.stage([batch(rows_of(300, bonus="9"))], part="p0")
    part = writer.stage([batch(rows_of(200)), batch(rows_of(100, first=201), start=200)], part="p0")
    with pytest.raises(StagingLost):
        writer.finish([stale], allow_empty=False, marker="m")
    result = writer.finish([part], allow_empty=False, marker="m")
    assert result.rows == 300
    assert content(warehouse, entity) == rows_of(300)


def test_parts_that_do_not_count_leave_no_rows(warehouse: ConnectorBase, entity: str) -> None:
    """A worker that was overtaken staged its part under another name and may still be at it."""
    writer = warehouse.open_writer(request(entity, Disposition.REPLACE))
    writer.stage([batch(rows_of(50, first=1000))], part="p0#1")
    part = writer.stage([batch(rows_of(50))], part="p0#2")
    result = writer.finish([part], allow_empty=False, marker="m")
    assert result.rows == 50
    assert content(warehouse, entity) == rows_of(50)


def test_parallel_parts_come_together(warehouse: ConnectorBase, entity: str) -> None:
    wanted = request(entity, Disposition.REPLACE)
    parts: dict[int, StagedPart] = {}

    def stage(number: int) -> None:
        rows = batch(rows_of(1000, first=number * 1000), start=number * 1000)
        parts[number] = warehouse.open_writer(wanted).stage([rows, rows.slice(0, 0)], part=f"p{number}")

    threads = [threading.Thread(target=stage, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = warehouse.open_writer(wanted).finish(list(parts.values()), allow_empty=False, marker="m")
    assert result.inserted == 4000
    assert content(warehouse, entity) == rows_of(4000, first=0)


def test_a_worker_stuck_in_staging_cannot_hold_the_load(
    warehouse: ConnectorBase, entity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.connectors.sql import writer as writer_module

    monkeypatch.setattr(
        writer_module,
        "FINISH_SETTINGS",
        writer_module.FINISH_SETTINGS.replace("lock_timeout = '10s'", "lock_timeout = '1s'"),
    )
    wanted = request(entity, Disposition.REPLACE)
    release = threading.Event()
    outcome: list[BaseException] = []

    def stuck() -> Iterator[pa.RecordBatch]:
        yield batch(rows_of(10, first=900))
        started.set()
        release.wait(30)

    def run() -> None:
        try:
            warehouse.open_writer(wanted).stage(stuck(), part="p0#1")
        except BaseException as error:
            outcome.append(error)

    started = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    writer = warehouse.open_writer(wanted)
    part = writer.stage([batch(rows_of(20))], part="p0#2")
    result = writer.finish([part], allow_empty=False, marker="m")
    release.set()
    thread.join()
    assert result.rows == 20
    assert outcome
    assert content(warehouse, entity) == rows_of(20)


def test_an_aborted_load_changes_nothing_and_cannot_be_finished(warehouse: ConnectorBase, entity: str) -> None:
    wanted = request(entity, Disposition.REPLACE)
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(3)))
    writer = warehouse.open_writer(wanted)
    part = writer.stage([batch(rows_of(9))], part="p0")
    writer.abort()
    writer.abort()
    for parts in ([part], []):
        with pytest.raises(StagingLost):
            writer.finish(parts, allow_empty=True, marker="m")
    assert len(content(warehouse, entity)) == 3
    part = writer.stage([batch(rows_of(4))], part="p0")
    assert writer.finish([part], allow_empty=False, marker="m").rows == 4


# --- duplicates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disposition", list(Disposition))
def test_of_duplicate_keys_the_last_by_source_position_wins(
    warehouse: ConnectorBase, entity: str, disposition: Disposition
) -> None:
    rows = [*rows_of(3), (2, "later", Decimal("7.00"), None), (2, "latest", Decimal("8.00"), None)]
    writer = warehouse.open_writer(request(entity, disposition))
    part = writer.stage([batch(rows)], part="p0")
    losers = [row for found in writer.duplicates([part]) for row in found.to_pylist()]
    assert sorted((row["id"], row["name"], row["_row_id"]) for row in losers) == [(2, "Name 2", 1), (2, "later", 3)]
    result = writer.finish([part], allow_empty=False, marker="m")
    assert (result.rows, result.inserted, result.duplicates) == (5, 3, 2)
    assert [row[1] for row in content(warehouse, entity)] == ["Name 1", "latest", "Name 3"]


def test_without_duplicates_there_are_none(warehouse: ConnectorBase, entity: str) -> None:
    writer = warehouse.open_writer(request(entity, Disposition.UPSERT))
    part = writer.stage([batch(rows_of(30))], part="p0")
    assert list(writer.duplicates([part])) == []
    assert writer.finish([part], allow_empty=False, marker="m").inserted == 30


def test_duplicates_can_be_refused(warehouse: ConnectorBase, entity: str) -> None:
    with pytest.raises(DuplicateKeys, match="same id"):
        load(warehouse, request(entity, Disposition.UPSERT, on_duplicate="refuse"), batch(rows_of(2) + rows_of(1)))


# --- schema ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disposition", list(Disposition))
def test_new_columns_are_added_and_narrow_ones_widened(
    warehouse: ConnectorBase, entity: str, disposition: Disposition
) -> None:
    narrow = [("id", "INTEGER"), ("total", "DECIMAL(6,2)")]
    first = pa.RecordBatch.from_pydict({"id": pa.array([1, 2], pa.int32()), "total": pa.array([Decimal("1.10")] * 2)})
    load(warehouse, request(entity, disposition, fields=narrow), first)
    wide = [("id", "BIGINT"), ("total", "DECIMAL(18,4)"), ("extra", "VARCHAR")]
    second = pa.RecordBatch.from_pydict(
        {"id": pa.array([2**40]), "total": pa.array([Decimal("12345678.1234")]), "extra": pa.array(["new"])}
    )
    load(warehouse, request(entity, disposition, fields=wide), second)
    schema = warehouse.describe(entity)
    assert [schema.find_field(name).type for name in ("id", "total", "extra")] == [  # type: ignore[union-attr]
        "BIGINT",
        "DECIMAL(18,4)",
        "VARCHAR",
    ]
    rows = {row["id"]: row for row in read_all(warehouse, ReadRequest(entity)).to_pylist()}
    assert rows[2**40]["total"] == Decimal("12345678.1234")
    if disposition != Disposition.REPLACE:
        assert rows[1]["total"] == Decimal("1.1000")
        assert rows[1]["extra"] is None


def test_a_replace_with_fewer_columns_loses_none(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(2)))
    fewer = [("id", "BIGINT")]
    load(warehouse, request(entity, Disposition.REPLACE, fields=fewer), pa.RecordBatch.from_pydict({"id": [1]}))
    assert set(warehouse.describe(entity).names) >= {"id", "name", "total", "day"}
    assert content(warehouse, entity) == [(1, None, None, None)]


def test_changes_that_lose_values_or_are_not_allowed_are_refused(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.APPEND, keys=()), batch(rows_of(2)))
    text = [("id", "VARCHAR"), ("name", "VARCHAR")]
    rows = pa.RecordBatch.from_pydict({"id": ["x"], "name": ["y"]})
    with pytest.raises(SchemaChanged, match="Column id"):
        load(warehouse, request(entity, Disposition.APPEND, keys=(), fields=text), rows)
    more = [("id", "BIGINT"), ("extra", "VARCHAR")]
    extra = pa.RecordBatch.from_pydict({"id": [5], "extra": ["y"]})
    with pytest.raises(SchemaChanged, match="no column extra"):
        load(warehouse, request(entity, Disposition.APPEND, keys=(), fields=more, allow_evolution=False), extra)
    assert len(content(warehouse, entity)) == 2


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ({"id": ["x"], "total": ["1"]}, "id"),
        ({"id": [1], "total": ["1.999"]}, "total"),
        ({"id": [2**63 - 1], "total": ["99999999999999999.99"]}, "total"),
        ({"id": [None], "total": ["1"]}, "id"),
    ],
)
def test_values_that_do_not_fit_name_the_column(
    warehouse: ConnectorBase, entity: str, rows: dict[str, Any], field: str
) -> None:
    fields = [("id", "BIGINT"), ("total", "DECIMAL(18,2)")]
    writer = warehouse.open_writer(request(entity, Disposition.APPEND, fields=fields))
    with pytest.raises(WriteRefused) as caught:
        writer.stage([pa.RecordBatch.from_pydict(rows)], part="p0")
    assert caught.value.field == field
    assert caught.value.remedy


def test_text_with_a_null_character_is_refused_with_the_column(warehouse: ConnectorBase, entity: str) -> None:
    with pytest.raises(WriteRefused) as caught:
        load(warehouse, request(entity, Disposition.APPEND), batch([(1, "a\0b", None, None)]))
    assert caught.value.field == "name"


def test_keys_are_checked_when_the_writer_opens(warehouse: ConnectorBase) -> None:
    with pytest.raises(ConfigInvalid, match="needs keys"):
        warehouse.open_writer(request("x", Disposition.UPSERT, keys=()))
    with pytest.raises(ConfigInvalid, match="not fields"):
        warehouse.open_writer(WriteRequest("x", EntitySchema.of("x", FIELDS), uuid4(), keys=("nope",)))


def test_a_view_is_no_target(warehouse: ConnectorBase, entity: str) -> None:
    with warehouse.session() as session:
        session.execute(f'CREATE VIEW "{entity}_v" AS SELECT 1::bigint AS id')
        session.commit()
    with pytest.raises(WriteRefused, match="not a table"):
        load(warehouse, request(f"{entity}_v", Disposition.APPEND), batch(rows_of(1)))
    with warehouse.session() as session:
        session.execute(f'DROP VIEW "{entity}_v"')
        session.commit()


def test_ten_megabyte_values_pass(warehouse: ConnectorBase, entity: str) -> None:
    big = "é" * (5 * 1024**2)
    load(warehouse, request(entity, Disposition.REPLACE), batch([(i, big, None, None) for i in range(5)]))
    with warehouse.session() as session:
        assert session.execute(f'SELECT sum(octet_length(name)) FROM "{entity}"').fetchone() == (50 * 1024**2,)


# --- push-down, staged totals, staging area -------------------------------------------------------------------------


def test_a_statement_can_be_staged_inside_the_database(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(100)))
    copy = f"{entity}_copy"
    writer = warehouse.open_writer(request(copy, Disposition.REPLACE))
    select = (
        f"SELECT id AS _row_id, id, upper(name) AS name, total, day FROM {warehouse.table_sql(entity)} WHERE id <= 60"
    )
    part = writer.stage_select(select, part="p0")
    controls = (Control("rows", Aggregate.COUNT), Control("total", Aggregate.SUM, "total"))
    assert writer.staged_stats([part], controls) == {"rows": "60", "total": "2013.00"}
    assert writer.finish([part], allow_empty=False, marker="m").inserted == 60
    assert content(warehouse, copy)[0][1] == "NAME 1"
    with warehouse.session() as session:
        session.execute(f'DROP TABLE "{copy}"')
        session.commit()


def test_stats_of_one_run_see_what_it_wrote(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.UPSERT), batch(rows_of(5)))
    run_id = uuid4()
    load(warehouse, request(entity, Disposition.UPSERT, run_id=run_id), batch(rows_of(2, bonus="1")))
    controls = (Control("rows", Aggregate.COUNT), Control("total", Aggregate.SUM, "total"))
    assert warehouse.stats(StatsRequest(entity, controls, run_id=run_id)) == {"rows": "2", "total": "5.30"}


def test_forgotten_staging_is_collected(warehouse: ConnectorBase, entity: str) -> None:
    kept, forgotten = uuid4(), uuid4()
    for run_id in (kept, forgotten):
        writer = warehouse.open_writer(request(entity, Disposition.REPLACE, run_id=run_id))
        writer.stage([batch(rows_of(2))], part="p0")
    endpoint, schema = warehouse.endpoint, warehouse.default_schema  # type: ignore[attr-defined]
    assert collect_staging(endpoint, schema, older_than_s=3600) == []
    dropped = collect_staging(endpoint, schema, older_than_s=0, keep=[kept])
    assert any(forgotten.hex in name for name in dropped)
    assert not any(kept.hex in name for name in dropped)
    warehouse.open_writer(request(entity, Disposition.REPLACE, run_id=kept)).abort()


def test_own_tables_of_the_portal_are_not_entities(warehouse: ConnectorBase, entity: str) -> None:
    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(2)))
    assert [one.name for one in warehouse.discover("_aip_").entities] == []
    assert [one.name for one in warehouse.discover(entity).entities] == [entity]


# --- tenancy --------------------------------------------------------------------------------------------------------


def test_one_tenants_warehouse_is_closed_to_another(
    warehouse: ConnectorBase, entity: str, acme: Any, globex: Any
) -> None:
    from apps.tenancy.services.context import tenant_context

    load(warehouse, request(entity, Disposition.REPLACE), batch(rows_of(2)))
    with tenant_context(globex), connect("warehouse", {}, {}, purpose="test") as other:
        assert other.discover(entity).entities == ()
        with other.session() as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(f'SELECT * FROM "{acme.warehouse_schema}"."{entity}"')


def test_check_of_the_warehouse_passes(warehouse: ConnectorBase) -> None:
    result = warehouse.check()
    assert result.ok, result
    assert isinstance(warehouse.context.tenant_id, UUID)


def test_source_and_warehouse_on_one_server_know_it(warehouse: ConnectorBase, settings: Any) -> None:
    from django.db import connection

    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]
    found = connection.settings_dict
    config = {
        "host": found["HOST"] or "127.0.0.1",
        "port": int(found["PORT"] or 5432),
        "database": found["NAME"],
        "user": found["USER"],
    }
    with connect("postgresql", config, {"password": found["PASSWORD"]}, purpose="test") as source:
        assert source.pushdown_url() == warehouse.pushdown_url()
    elsewhere = {**config, "database": "postgres"}
    with connect("postgresql", elsewhere, {"password": found["PASSWORD"]}, purpose="test") as other:
        assert other.pushdown_url() != warehouse.pushdown_url()


def test_the_daily_task_collects_the_tenants_staging(warehouse: ConnectorBase, entity: str) -> None:
    from apps.connectors.services.staging import collect_warehouse_staging

    writer = warehouse.open_writer(request(entity, Disposition.REPLACE))
    writer.stage([batch(rows_of(2))], part="p0")
    assert collect_warehouse_staging() == []
    assert collect_warehouse_staging(older_than_s=0)

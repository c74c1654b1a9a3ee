"""Change capture in trouble: changed structures, lost slots, full disks, missing rights; and what it says then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from apps.connectors.exceptions import CaptureRefused, ConnectionInUse, NotSupported
from apps.connectors.models import ChangeCapture, Connection
from apps.connectors.services.capture_health import measure_capture, tend_capture
from apps.connectors.services.captures import (
    create_capture,
    delete_capture,
    pause_capture,
    restart_capture,
    resume_capture,
)
from apps.connectors.services.connections import archive_connection
from apps.tenancy.models import Tenant
from tests.connectors.captures import (
    SYSTEM,
    Source,
    capture,
    capturing,
    change_source,
    connected,
    events_of,
    reload,
    wait_for,
    wait_until_streaming,
)


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with change_source() as found:
        yield found


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]


@pytest.fixture
def link(committed_acme: Tenant, source: Source) -> Iterator[Any]:
    with connected(committed_acme, source) as row:
        yield row


def slots(source: Source) -> list[str]:
    with psycopg.connect(source.conninfo) as session:
        found = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        return [row[0] for row in session.execute(found).fetchall()]


def test_changed_columns_are_announced_and_followed(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE shaped (id int PRIMARY KEY, a text, b int)")
    row = capture(link, "shaped")
    with capturing():
        wait_until_streaming(row)
        source.execute(
            "INSERT INTO shaped VALUES (1, 'x', 1); ALTER TABLE shaped ADD c numeric(9,2);"
            "INSERT INTO shaped VALUES (2, 'y', 2, 1.50); ALTER TABLE shaped DROP a, ALTER b TYPE bigint;"
            "INSERT INTO shaped VALUES (3, 3, 2.50)"
        )
        wait_for(lambda: len(events_of(row.id)) == 3, "three rows")
    assert [one["after"] for one in events_of(row.id)] == [
        {"id": 1, "a": "x", "b": 1},
        {"id": 2, "a": "y", "b": 2, "c": "1.50"},
        {"id": 3, "b": 3, "c": "2.50"},
    ]
    first, second = events_of(row.id, "capture.schema_changed.v1")
    assert (first["added"], first["removed"], first["retyped"]) == (["c"], [], {})
    assert (second["removed"], second["retyped"]) == (["a"], {"b": ["integer", "bigint"]})
    assert [one["name"] for one in reload(row).tables[0]["columns"]] == ["id", "b", "c"]


def test_lost_key_stops_the_capture_and_a_restart_takes_the_new_one(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE keyed (id int PRIMARY KEY, other int NOT NULL)")
    row = capture(link, "keyed")
    with capturing():
        wait_until_streaming(row)
        source.execute("INSERT INTO keyed VALUES (1, 10)")
        source.execute("ALTER TABLE keyed DROP id, ADD PRIMARY KEY (other)")
        source.execute("INSERT INTO keyed VALUES (20)")
        wait_for(lambda: reload(row).status == "failed", "the stop")
        assert row.problem["code"] == "connectors.capture_key_changed"
        assert "key column id" in row.problem["message"] and "Restart" in row.problem["remedy"]
        [failed] = events_of(row.id, "capture.failed.v1")
        assert failed["code"] == row.problem["code"]
        restart_capture(row.id, actor=SYSTEM)
        wait_for(lambda: len(events_of(row.id)) == 3, "the rows read again")
    assert [(one["op"], one["key"]) for one in events_of(row.id)] == [
        ("insert", {"id": 1}),
        ("read", {"other": 10}),
        ("read", {"other": 20}),
    ]


def test_lost_slot_is_said_and_a_restart_reads_everything_again(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE losing (id int PRIMARY KEY); INSERT INTO losing VALUES (1)")
    row = capture(link, "losing")
    with capturing():
        wait_until_streaming(row)
        pause_capture(row.id, actor=SYSTEM)
        wait_for(lambda: _drop(source, row.slot), "the slot to be free")
        resume_capture(row.id, actor=SYSTEM)
        wait_for(lambda: reload(row).status == "failed", "the stop")
        assert row.problem["code"] == "connectors.capture_slot_lost"
        restart_capture(row.id, actor=SYSTEM)
        wait_for(lambda: len(events_of(row.id)) == 2, "the row read again")
    assert [one["op"] for one in events_of(row.id)] == ["read", "read"]


def _drop(source: Source, slot: str) -> bool:
    with psycopg.connect(source.conninfo, autocommit=True) as session:
        try:
            session.execute("SELECT pg_drop_replication_slot(%s)", [slot])
        except psycopg.errors.ObjectInUse:
            return False
    return True


def test_slot_that_somebody_else_moved_is_a_gap(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE moved (id int PRIMARY KEY)")
    row = capture(link, "moved")
    with capturing():
        wait_until_streaming(row)
        pause_capture(row.id, actor=SYSTEM)
        source.execute("INSERT INTO moved VALUES (1)")

        def advanced() -> bool:
            with psycopg.connect(source.conninfo, autocommit=True) as session:
                try:
                    session.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [row.slot])
                except psycopg.errors.ObjectInUse:
                    return False
            return True

        wait_for(advanced, "the slot to be free")
        resume_capture(row.id, actor=SYSTEM)
        wait_for(lambda: reload(row).status == "failed", "the stop")
    assert row.problem["code"] == "connectors.capture_gap"
    assert events_of(row.id) == []


def test_disk_guard_warns_then_drops_the_slot(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE guarded (id int PRIMARY KEY)")
    row = capture(link, "guarded")
    with capturing():
        wait_until_streaming(row)
    pause_capture(row.id, actor=SYSTEM)
    source.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1048576), true)")
    # Other tests write to the same server's log, so it is the limits that move.
    limits = ChangeCapture.objects.filter(id=row.id)
    limits.update(warn_wal_bytes=1 << 50, max_wal_bytes=1 << 51)
    measured = measure_capture(row.id, actor=SYSTEM)
    assert (measured.alarm, measured.health["wal_status"]) == ("ok", "reserved")
    assert measured.health["retained_bytes"] >= measured.health["lag_bytes"] >= 1 << 20
    limits.update(warn_wal_bytes=1 << 19)
    measured = measure_capture(row.id, actor=SYSTEM)
    assert (measured.status, measured.alarm) == ("paused", "warning")
    limits.update(max_wal_bytes=1 << 20, drop_at_limit=False)
    assert measure_capture(row.id, actor=SYSTEM).alarm == "critical"
    assert row.slot in slots(source)
    limits.update(drop_at_limit=True)
    measured = measure_capture(row.id, actor=SYSTEM)
    assert (measured.status, measured.problem["code"]) == ("failed", "connectors.capture_slot_dropped")
    assert measured.problem["needs_restart"] is True
    assert "limit is 1 MB" in measured.problem["message"] and "restart" in measured.problem["remedy"]
    assert row.slot not in slots(source)
    tend_capture(row.id)
    assert reload(row).problem["code"] == "connectors.capture_slot_dropped"
    assert [one["level"] for one in events_of(row.id, "capture.alarm.v1")] == ["warning", "critical"]
    assert len(events_of(row.id, "capture.failed.v1")) == 1


def test_deleting_leaves_nothing_at_the_source(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE leaving (id int PRIMARY KEY)")
    row = capture(link, "leaving")
    with capturing():
        wait_until_streaming(row)
        with pytest.raises(ConnectionInUse, match=row.name):
            archive_connection(link.id, actor=SYSTEM)
        delete_capture(row.id, actor=SYSTEM)
        assert row.slot not in slots(source)
    with psycopg.connect(source.conninfo) as session:
        assert session.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", [row.publication]).fetchone() is None
    assert not ChangeCapture.objects.filter(id=row.id).exists()


def test_what_is_missing_is_named_with_the_statement_that_helps(committed_acme: Tenant) -> None:
    with change_source(replication=False) as source, connected(committed_acme, source) as link:
        source.execute(
            "CREATE TABLE keyless (a int); CREATE TABLE fine (id int PRIMARY KEY); CREATE VIEW seen AS TABLE fine"
        )
        with pytest.raises(CaptureRefused) as refused:
            capture(link, "keyless", "gone", "seen", "fine")
    found = {problem.code.removeprefix("connectors.capture_"): problem for problem in refused.value.problems}
    assert set(found) == {"replication_right", "key_missing", "table_gone", "table_kind"}
    assert f'ALTER ROLE "{source.config["user"]}" REPLICATION' in found["replication_right"].hint
    assert 'ALTER TABLE "public"."keyless" ADD PRIMARY KEY' in found["key_missing"].hint
    assert found["key_missing"].path == "tables[0]" and found["table_gone"].path == "tables[1]"


def test_publication_of_an_administrator_is_checked_and_used(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE given (id int PRIMARY KEY); CREATE TABLE added (id int PRIMARY KEY)")
    with pytest.raises(CaptureRefused) as refused:
        capture(link, "given", publication="by_admin")
    assert 'CREATE PUBLICATION "by_admin" FOR TABLE "public"."given"' in refused.value.problems[0].hint
    source.execute("CREATE PUBLICATION by_admin FOR TABLE given WITH (publish_via_partition_root = true)")
    with pytest.raises(CaptureRefused) as refused:
        capture(link, "given", "added", publication="by_admin")
    assert refused.value.problems[0].hint == 'ALTER PUBLICATION "by_admin" ADD TABLE "public"."added";'
    row = capture(link, "given", publication="by_admin")
    with capturing():
        wait_until_streaming(row)
        source.execute("INSERT INTO given VALUES (1)")
        wait_for(lambda: len(events_of(row.id)) == 1, "the row")
    delete_capture(row.id, actor=SYSTEM)
    with psycopg.connect(source.conninfo) as session:
        assert session.execute("SELECT 1 FROM pg_publication WHERE pubname = 'by_admin'").fetchone()


def test_partitioned_table_is_one_table(link: Any, source: Source) -> None:
    source.execute(
        "CREATE TABLE parted (id int PRIMARY KEY, version int) PARTITION BY RANGE (id);"
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);"
        "INSERT INTO parted VALUES (1, 1), (11, 1)"
    )
    row = capture(link, "parted")
    with capturing():
        wait_until_streaming(row)
        source.execute("UPDATE parted SET version = 2")
        wait_for(lambda: len(events_of(row.id)) == 4, "four events")
    assert {one["table"] for one in events_of(row.id)} == {"public.parted"}


def test_connectors_without_changes_say_so(committed_acme: Tenant, link: Any) -> None:
    warehouse = Connection.objects.get(slug="warehouse")
    with pytest.raises(NotSupported, match="cannot be captured"):
        create_capture("Warehouse", warehouse.id, ["public.t"], actor=SYSTEM)


def test_source_that_is_away_is_tried_again(link: Any, source: Source) -> None:
    source.execute("CREATE TABLE away (id int PRIMARY KEY)")
    row = capture(link, "away")
    Connection.objects.filter(id=link.id).update(config={**link.config, "port": 1})
    with capturing():
        wait_for(lambda: reload(row).failures > 0, "the first failure")
        assert (row.status, row.problem["code"]) == ("running", "connectors.unavailable")
        assert row.problem["needs_restart"] is False
        assert measure_capture(row.id, actor=SYSTEM).alarm == "warning"
        Connection.objects.filter(id=link.id).update(config=link.config)
        wait_until_streaming(row)
        wait_for(lambda: reload(row).problem is None, "the recovery")
    assert measure_capture(row.id, actor=SYSTEM).alarm == "ok"

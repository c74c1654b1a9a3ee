"""Change capture from a real PostgreSQL: every kind of change and value, the first snapshot, large transactions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from apps.connectors.capture import pgoutput
from apps.connectors.capture.rows import CapturedTable
from apps.connectors.capture.snapshots import Segment, Segments, Visibility
from apps.connectors.capture.values import encode
from apps.connectors.exceptions import CaptureStreamInvalid
from apps.connectors.models import ChangeCapture
from apps.connectors.services.capture_state import claim_captures
from apps.connectors.services.capture_work import CaptureWorker
from apps.connectors.services.captures import pause_capture, resume_capture
from apps.tenancy.models import Tenant
from tests.connectors.captures import (
    Source,
    Writer,
    capture,
    capturing,
    change_source,
    check_history,
    connected,
    events_of,
    mark,
    reload,
    versions,
    wait_for,
    wait_for_key,
    wait_until_streaming,
)

KINDS = """
CREATE TABLE kinds (
  id int, part text, flag boolean, big bigint, amount numeric(30,10), ratio double precision, born date,
  at timestamptz, local timestamp, doc jsonb, raw json, tags text[], token uuid, code char(5), bytes bytea,
  span interval, doubled bigint GENERATED ALWAYS AS (big * 2) STORED, PRIMARY KEY (id, part))
"""
ROW = """
INSERT INTO kinds VALUES (%s, 'a/b "ü"', true, 9007199254740993, 12345678901234567890.1234567890, 'NaN', '2026-02-28',
  '2026-02-28 10:00:00.5+02', '2026-02-28 10:00', '{"n": 1.10, "big": 123456789012345678901234567890}',
  '{"a": "x\\u0000y", "lone": "\\ud800", "ok": "\\u00e9"}', '{a,"b c"}',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab', '\\x00ff', '1 day 02:03')
"""


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


def numbered_table(source: Source, name: str, rows: int, *, key: str = "int", value: str = "i") -> None:
    source.execute(
        f"CREATE TABLE {name} (id {key} PRIMARY KEY, version int NOT NULL, note text);"
        f"INSERT INTO {name} SELECT {value}, 1, 'n' FROM generate_series(1, {rows}) i"
    )


def test_every_type_has_one_form_in_snapshot_and_stream(link: Any, source: Source) -> None:
    source.execute(KINDS)
    with psycopg.connect(source.conninfo, autocommit=True) as session:
        session.execute(ROW, [1])
        row = capture(link, "kinds")
        with capturing():
            wait_until_streaming(row)
            session.execute(ROW, [2])
            wait_for(lambda: len(events_of(row.id)) == 2, "both rows")
    read, inserted = events_of(row.id)
    assert (read["op"], inserted["op"]) == ("read", "insert")
    assert {**read["after"], "id": 2} == inserted["after"]
    assert inserted["key"] == {"id": 2, "part": 'a/b "ü"'}
    after = inserted["after"]
    assert "doubled" not in after
    assert (after["flag"], after["big"], after["ratio"]) == (True, 9007199254740993, "NaN")
    assert after["amount"] == "12345678901234567890.1234567890"
    assert (after["born"], after["at"], after["local"]) == (
        "2026-02-28",
        "2026-02-28T08:00:00.5Z",
        "2026-02-28T10:00:00",
    )
    assert after["doc"]["n"] == 1.1 and after["raw"] == {"a": "x\ufffdy", "lone": "\ufffd", "ok": "é"}
    assert (after["tags"], after["code"], after["bytes"]) == ('{a,"b c"}', "ab   ", "\\x00ff")
    assert (read["transaction"], read["committed_at"], inserted["place"]) == (None, None, 1)
    assert inserted["transaction"] > 0 and inserted["committed_at"]


def test_updates_deletes_keys_and_truncation(link: Any, source: Source) -> None:
    source.execute(
        "CREATE TABLE plain (id int PRIMARY KEY, v text, big text); ALTER TABLE plain ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE whole (id int PRIMARY KEY, v text, big text); ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;"
        "ALTER TABLE whole REPLICA IDENTITY FULL"
    )
    row = capture(link, "public.plain", "whole")
    with capturing():
        wait_until_streaming(row)
        for table in ("plain", "whole"):
            source.execute(
                f"INSERT INTO {table} VALUES (1, 'a', repeat('x', 9000)); UPDATE {table} SET v = 'b';"
                f"UPDATE {table} SET id = 2; DELETE FROM {table}; "
            )
            source.execute(f"INSERT INTO {table} VALUES (7, 'huge', repeat('é', 40000)); TRUNCATE {table}")
        wait_for(lambda: len(events_of(row.id)) == 14, "fourteen events")
    of = {
        table: [one for one in events_of(row.id) if one["table"] == f"public.{table}"] for table in ("plain", "whole")
    }
    for found in of.values():
        ops = [(one["op"], one["key"].get("id")) for one in found]
        assert ops == [
            ("insert", 1), ("update", 1), ("delete", 1), ("insert", 2), ("delete", 2), ("insert", 7), ("truncate", None)
        ]  # fmt: skip
        assert found[5]["omitted"] == ["big"] and found[5]["after"] == {"id": 7, "v": "huge"}
    plain, whole = of["plain"], of["whole"]
    assert plain[1]["before"] is None and plain[1]["unchanged"] == ["big"] and "big" not in plain[1]["after"]
    assert plain[4]["before"] is None
    assert whole[1]["before"]["v"] == "a" and whole[1]["unchanged"] == []
    assert whole[1]["after"] == {"id": 1, "v": "b", "big": "x" * 9000}
    assert whole[4]["before"] == {"id": 2, "v": "b", "big": "x" * 9000}


@pytest.mark.parametrize(
    ("key", "value", "random"),
    [
        ("int", "i", "1 + floor(random() * 3000)::int"),
        pytest.param("text", "'k-' || i", "'k-' || 1 + floor(random() * 3000)::int", marks=pytest.mark.slow),
    ],
    ids=["integer_key", "text_key"],
)
def test_snapshot_and_stream_join_although_rows_change_and_it_is_interrupted(
    link: Any, source: Source, committed_acme: Tenant, key: str, value: str, random: str
) -> None:
    table = f"busy_{key}"
    numbered_table(source, table, 3000, key=key, value=value)
    row = capture(link, table)
    with Writer(source, table, random) as writer:
        wait_for(lambda: writer.count > 20, "the writer")
        for rows_wanted in (500, 1500):
            [(capture_id, fence)] = claim_captures("test", lease_s=60, most=1)
            worker = CaptureWorker(committed_acme, capture_id, fence)  # type: ignore[arg-type]
            with running_worker(worker):
                wait_for(lambda n=rows_wanted: reload(row).rows_read >= n, "a part of the snapshot")
                worker.stop.set()
        with capturing():
            wait_until_streaming(row)
            before = writer.count
            wait_for(lambda: writer.count > before + 20, "changes after the snapshot")
            writer.__exit__()
            rows = versions(source, table)
            wait_for(lambda: reload(row).changes > 0 and _last(row, rows), "the last change")
    events = events_of(row.id)
    assert {one["op"] for one in events} == {"read", "update"}
    check_history(events, rows)
    assert reload(row).rows_read == 3000


def _last(row: ChangeCapture, rows: dict[Any, int]) -> bool:
    known: dict[Any, int] = {}
    for event in events_of(row.id):
        known[event["key"]["id"]] = event["after"]["version"]
    return known == rows


class running_worker:  # noqa: N801 - used like a function
    """A worker in a thread, ended when the block ends."""

    def __init__(self, worker: CaptureWorker) -> None:
        import threading

        self._worker, self._thread = worker, threading.Thread(target=worker.run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._worker.stop.set()
        self._thread.join(20)


@pytest.mark.slow
def test_large_transaction_arrives_whole_and_in_order(link: Any, source: Source) -> None:
    numbered_table(source, "large", 10)
    row = capture(link, "large", with_snapshot=False)
    with capturing():
        wait_until_streaming(row)
        source.execute("INSERT INTO large SELECT i, 1, repeat('x', 200) FROM generate_series(100, 8099) i")
        with psycopg.connect(source.conninfo) as session:
            session.execute("INSERT INTO large SELECT i, 1 FROM generate_series(10000, 12000) i")
            session.execute("SAVEPOINT s")
            session.execute("DELETE FROM large WHERE id < 5000")
            session.execute("ROLLBACK TO s")
            session.rollback()
        mark(source, "large", 9999)
        wait_for_key(row.id, 9999)
    keys = [one["key"]["id"] for one in events_of(row.id)]
    assert keys == [*range(100, 8100), 9999]
    places = [one["place"] for one in events_of(row.id)]
    assert places == [*range(1, 8001), 1]


@pytest.mark.slow
def test_two_processes_never_write_the_same_change(link: Any, source: Source, committed_acme: Tenant) -> None:
    numbered_table(source, "contested", 50)
    row = capture(link, "contested")
    with capturing():
        wait_until_streaming(row)
        with Writer(source, "contested", "1 + floor(random() * 50)::int") as writer:
            for round_ in range(3):
                # As if the lease had run out while its holder was frozen: another one claims the capture.
                ChangeCapture.objects.filter(id=row.id).update(lease_until=None)
                wait_for(lambda n=round_: reload(row).fence > n + 1, "the next holder")
                start = writer.count
                wait_for(lambda s=start: writer.count > s + 30, "more changes")
        rows = versions(source, "contested")
        wait_for(lambda: _last(row, rows), "the last change")
    check_history(events_of(row.id), rows)


def test_pause_keeps_the_changes_for_later(link: Any, source: Source) -> None:
    numbered_table(source, "paused", 3)
    row = capture(link, "paused")
    from tests.connectors.captures import SYSTEM

    with capturing():
        wait_until_streaming(row)
        pause_capture(row.id, actor=SYSTEM)
        source.execute("UPDATE paused SET version = version + 1")
        assert [one["op"] for one in events_of(row.id)] == ["read"] * 3
        resume_capture(row.id, actor=SYSTEM)
        wait_for(lambda: len(events_of(row.id)) == 6, "the changes of the pause")
    check_history(events_of(row.id), versions(source, "paused"))


@pytest.mark.parametrize(
    "payload", [b"", b"Z", b"I\x00\x00", b"B\x00", b"I\x00\x00\x00\x01N\x00\x01t\x00\x00\x00\x09x"]
)
def test_broken_messages_are_refused(payload: bytes) -> None:
    with pytest.raises(CaptureStreamInvalid):
        pgoutput.decode(payload)


@pytest.mark.parametrize(
    ("snapshot", "transaction", "shown"),
    [
        ("100:110:105", 99, True),
        ("100:110:105", 104, True),
        ("100:110:105", 105, False),
        ("100:110:105", 110, False),
        (f"{(1 << 32) + 5}:{(1 << 32) + 9}:", (1 << 32) - 3, True),
        (f"{(1 << 32) - 9}:{(1 << 32) - 5}:", 3, False),
    ],
)
def test_visibility_follows_the_snapshot_over_a_wrap(snapshot: str, transaction: int, shown: bool) -> None:
    assert Visibility.parse(snapshot).shows(transaction) is shown


def test_segments_cover_the_rest_of_a_table_only() -> None:
    table = CapturedTable("public.t", ("id",), [("id", 23, "integer")])
    segments = Segments(
        [Segment("public.t", ("9",), "50:50:", 1000), Segment("public.t", ("100",), "80:80:", 2000)],
        {"public.t": table},
    )
    contained = [segments.contain(table, (key,), number) for key, number in [("9", 40), ("10", 40), ("10", 60)]]
    assert contained == [False, True, False]
    assert segments.contain(table, ("101",), 60)
    assert not segments.is_over(2000) and segments.is_over(2001)


@pytest.mark.parametrize(
    ("type_oid", "value"),
    [(114, b'1},{"op":"read"'), (3802, b"[" * 100_000), (20, b'1,"op":"read"'), (701, b"x"), (25, b"\xff")],
    ids=["two_values", "too_deep", "no_integer", "no_float", "no_utf8"],
)
def test_values_that_are_not_of_their_type_are_refused(type_oid: int, value: bytes) -> None:
    with pytest.raises(CaptureStreamInvalid):
        encode(value, type_oid)


@pytest.mark.parametrize("text", ['{"a":"\\\\u0000"}', '"\\ud83d\\ude00"', '{"n":1.10}'])
def test_json_is_kept_as_it_was_written(text: str) -> None:
    assert encode(text.encode(), 114) == text
    json.loads(text)

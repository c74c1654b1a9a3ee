"""Whatever a database superuser does to the log is noticed; a cut tail and a full rewrite by the anchor."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.access.contracts import Actor
from apps.audit.choices import Damage
from apps.audit.contracts import Anchor, ChainReport
from apps.audit.exceptions import AnchorFileUnreadable
from apps.audit.models import AuditEntry
from apps.audit.services.anchors import append_anchors, read_anchors, take_anchors
from apps.audit.services.chain import GENESIS, compute_link
from apps.audit.services.entries import content_hash_of, record_audit
from apps.audit.services.verification import read_head, verify_chain
from apps.core.clock import now
from apps.tenancy.services.context import tenant_context

ENTRIES = 30
TAMPERS = int(os.environ.get("AUDIT_TAMPERS", "300"))
SYSTEM = Actor.system("tests")


class Attacker:
    """Somebody with the tables' owner's rights: triggers off, everything allowed, and rolled back afterwards."""

    def __init__(self, tenant: Any) -> None:
        self.tenant = tenant

    def sql(self, statement: str, *values: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            for table in ("audit_entry", "audit_head"):
                cursor.execute(f"ALTER TABLE t_acme.{table} DISABLE TRIGGER USER")
            statement = statement.replace("audit_", "t_acme.audit_")
            cursor.execute(statement, values)
            rows = cursor.fetchall() if cursor.description else None
            for table in ("audit_entry", "audit_head"):
                cursor.execute(f"ALTER TABLE t_acme.{table} ENABLE TRIGGER USER")
            return rows

    def verify(self, *anchors: Anchor) -> ChainReport:
        with tenant_context(self.tenant):
            return verify_chain(anchors)

    def rehash(self, start: int = 1) -> None:
        """Compute the chain anew from `start`, as somebody with the code would."""
        with tenant_context(self.tenant):
            entries = list(AuditEntry.objects.filter(number__gte=start).order_by("number"))
            before = AuditEntry.objects.filter(number=start - 1).first()
        previous = GENESIS if before is None else bytes(before.hash)
        for entry in entries:
            content = content_hash_of(entry, str(self.tenant.id))
            link = compute_link(previous, entry.number, content)
            self.sql(
                "UPDATE audit_entry SET content_hash = %s, prev_hash = %s, hash = %s WHERE id = %s",
                content,
                previous,
                link,
                entry.id,
            )
            previous = link
        self.sql("UPDATE audit_head SET number = %s, hash = %s", entries[-1].number, previous)


@pytest.fixture
def attacker(acme: Any) -> Iterator[Attacker]:
    with tenant_context(acme):
        for number in range(ENTRIES):
            record_audit(
                actor=SYSTEM,
                action="flow.published",
                target_type="flow",
                target_id=number,
                summary=f"Published {number}.",
                facts={"number": number, "list": ["a", {"b": None}]},
            )
        report = verify_chain()
    assert report.ok
    assert report.entries >= ENTRIES
    return Attacker(acme)


def kinds(report: ChainReport) -> set[Damage]:
    return {finding.kind for finding in report.findings}


def last(attacker: Attacker) -> int:
    return int(attacker.sql("SELECT number FROM audit_head")[0][0])


def edit_summary(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET summary = summary || '!' WHERE number = %s", n)


def edit_facts(a: Attacker, n: int) -> None:
    a.sql("""UPDATE audit_entry SET facts = facts || '{"x": 1}' WHERE number = %s""", n)


def edit_number_spelling(a: Attacker, n: int) -> None:
    a.sql("""UPDATE audit_entry SET facts = facts || '{"number": 7.0}' WHERE number = %s""", n)


def edit_time(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET at = at + interval '1 microsecond' WHERE number = %s", n)


def edit_actor(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET actor_id = gen_random_uuid() WHERE number = %s", n)


def edit_id(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET id = gen_random_uuid() WHERE number = %s", n)


def edit_hash(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET hash = sha256(hash) WHERE number = %s", n)


def edit_link(a: Attacker, n: int) -> None:
    a.sql("UPDATE audit_entry SET prev_hash = sha256(prev_hash) WHERE number = %s", n)


def edit_and_rehash_one(a: Attacker, n: int) -> None:
    edit_summary(a, n)
    with tenant_context(a.tenant):
        entry = AuditEntry.objects.get(number=n)
        content = content_hash_of(entry, str(a.tenant.id))
    link = compute_link(bytes(entry.prev_hash), n, content)
    a.sql("UPDATE audit_entry SET content_hash = %s, hash = %s WHERE number = %s", content, link, n)


def delete_one(a: Attacker, n: int) -> None:
    a.sql("DELETE FROM audit_entry WHERE number = %s", n)


def delete_and_renumber(a: Attacker, n: int) -> None:
    delete_one(a, n)
    a.sql("UPDATE audit_entry SET number = -number WHERE number > %s", n)
    a.sql("UPDATE audit_entry SET number = -number - 1 WHERE number < 0")
    a.sql("UPDATE audit_head SET number = number - 1")


def swap_two(a: Attacker, n: int) -> None:
    other = n - 1 if n > 1 else n + 1
    a.sql("UPDATE audit_entry SET number = -1 WHERE number = %s", n)
    a.sql("UPDATE audit_entry SET number = %s WHERE number = %s", n, other)
    a.sql("UPDATE audit_entry SET number = %s WHERE number = -1", other)


def swap_contents(a: Attacker, n: int) -> None:
    other = n - 1 if n > 1 else n + 1
    a.sql(
        "UPDATE audit_entry x SET summary = y.summary, content_hash = y.content_hash, target_id = y.target_id, "
        "facts = y.facts FROM audit_entry y WHERE x.number = %s AND y.number = %s",
        n,
        other,
    )


COPY = (
    "INSERT INTO audit_entry SELECT gen_random_uuid(), at, actor_kind, actor_id, actor_name, action, target_type, "
    "target_id, summary, facts, request_id, content_hash, {number}, prev_hash, hash FROM audit_entry WHERE number = %s"
)
COLUMNS = (
    "(id, at, actor_kind, actor_id, actor_name, action, target_type, target_id, summary, facts, request_id, "
    "content_hash, number, prev_hash, hash)"
)


def insert_as(number: str) -> Callable[[Attacker, int], None]:
    def insert(a: Attacker, n: int) -> None:
        a.sql(COPY.format(number=number).replace("audit_entry SELECT", f"audit_entry {COLUMNS} SELECT", 1), n)

    insert.__name__ = f"insert_as_{number}"
    return insert


NOTICED = [
    edit_summary, edit_facts, edit_number_spelling, edit_time, edit_actor, edit_id, edit_hash, edit_link,
    edit_and_rehash_one, delete_one, delete_and_renumber, swap_two, swap_contents,
    insert_as("NULL"), insert_as("0"), insert_as("-5"), insert_as("(SELECT max(number) + 1 FROM audit_entry)"),
]  # fmt: skip


@pytest.mark.parametrize("tamper", NOTICED, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_each_tampering_is_noticed_by_the_chain_alone(attacker: Attacker, tamper: Any, place: str) -> None:
    end = last(attacker)
    tamper(attacker, {"first": 1, "middle": end // 2, "last": end}[place])

    assert not attacker.verify().ok


def test_random_tampering_is_always_noticed(attacker: Attacker) -> None:
    rng = random.Random(20260301)
    end = last(attacker)
    missed: list[str] = []
    for _ in range(TAMPERS):
        tamper = rng.choice(NOTICED)
        with connection.cursor() as cursor:
            cursor.execute("SAVEPOINT tamper")
            tamper(attacker, rng.randint(1, end))
            if attacker.verify().ok:
                missed.append(tamper.__name__)
            cursor.execute("ROLLBACK TO SAVEPOINT tamper")
        # The rollback took the session's path and role with it.
        connection.search_path_set_schemas = None

    assert missed == []
    assert attacker.verify().ok


def test_a_deleted_tail_is_noticed_by_the_head(attacker: Attacker) -> None:
    attacker.sql("DELETE FROM audit_entry WHERE number > %s", last(attacker) - 3)

    assert Damage.HEAD_MISMATCH in kinds(attacker.verify())


def test_a_hole_as_wide_as_the_numbers_go_is_crossed_at_once(attacker: Attacker) -> None:
    end = last(attacker)
    attacker.sql("UPDATE audit_entry SET number = 9000000000000000000 WHERE number = %s", end)
    attacker.sql("UPDATE audit_head SET number = 9000000000000000000")

    report = attacker.verify()

    assert report.entries == end
    assert Damage.MISSING in kinds(report)


def test_a_tail_cut_off_with_its_head_is_noticed_by_the_anchor_only(attacker: Attacker) -> None:
    with tenant_context(attacker.tenant):
        anchor = read_head()
    end = last(attacker)
    attacker.sql("DELETE FROM audit_entry WHERE number > %s", end - 3)
    attacker.sql(
        "UPDATE audit_head SET number = %s, hash = (SELECT hash FROM audit_entry WHERE number = %s)", end - 3, end - 3
    )

    assert attacker.verify().ok
    assert kinds(attacker.verify(anchor)) == {Damage.ANCHOR_MISSING}


def test_a_log_emptied_whole_is_noticed_by_the_anchor(attacker: Attacker) -> None:
    with tenant_context(attacker.tenant):
        anchor = read_head()
    attacker.sql("DELETE FROM audit_entry")
    attacker.sql("UPDATE audit_head SET number = 0, hash = %s", GENESIS)

    assert attacker.verify().ok
    assert kinds(attacker.verify(anchor)) == {Damage.ANCHOR_MISSING}


@pytest.mark.parametrize("depth", [1, 5, ENTRIES - 1])
def test_a_chain_computed_anew_is_noticed_by_the_anchor_only(attacker: Attacker, depth: int) -> None:
    with tenant_context(attacker.tenant):
        anchor = read_head()
    start = last(attacker) - depth
    edit_summary(attacker, start)
    attacker.rehash(start)

    assert attacker.verify().ok
    assert kinds(attacker.verify(anchor)) == {Damage.ANCHOR_MISMATCH}


def test_a_rewrite_is_noticed_even_after_honest_entries_followed(attacker: Attacker) -> None:
    with tenant_context(attacker.tenant):
        anchor = read_head()
    edit_summary(attacker, 2)
    attacker.rehash(2)
    with tenant_context(attacker.tenant):
        record_audit(actor=SYSTEM, action="a.b", target_type="t", target_id=1, summary="After.")

    assert kinds(attacker.verify(anchor)) == {Damage.ANCHOR_MISMATCH}


def test_another_tenants_chain_does_not_pass_for_this_one(attacker: Attacker, globex: Any) -> None:
    with connection.cursor() as cursor:
        for table in ("audit_entry", "audit_head"):
            cursor.execute(f"ALTER TABLE t_globex.{table} DISABLE TRIGGER USER")
            cursor.execute(f"DELETE FROM t_globex.{table}")
            cursor.execute(f"INSERT INTO t_globex.{table} SELECT * FROM t_acme.{table}")
            cursor.execute(f"ALTER TABLE t_globex.{table} ENABLE TRIGGER USER")
    with tenant_context(globex):
        assert Damage.CONTENT_CHANGED in kinds(verify_chain())


def test_anchors_of_other_tenants_are_ignored(attacker: Attacker) -> None:
    other = Anchor(tenant_id="other", number=10_000, hash="00", at=now())

    report = attacker.verify(other)

    assert (report.ok, report.anchors_checked) == (True, 0)


def test_anchors_survive_their_file(attacker: Attacker, tmp_path: Path) -> None:
    path = tmp_path / "anchors" / "audit.ndjson"

    taken = take_anchors(path) + take_anchors(path)

    assert read_anchors(path) == taken
    assert {anchor.tenant_id for anchor in taken} >= {str(attacker.tenant.id)}


@pytest.mark.parametrize(
    "text", ["{", '{"tenant_id": "x"}', '["a"]', '{"tenant_id":"x","number":"n","hash":"","at":""}']
)
def test_a_damaged_anchor_file_names_the_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "anchors"
    append_anchors(path, [Anchor("t", 1, "00", now())])
    path.write_text(path.read_text() + "\n" + text)

    with pytest.raises(AnchorFileUnreadable, match="Line 3"):
        read_anchors(path)
    with pytest.raises(AnchorFileUnreadable):
        read_anchors(tmp_path / "absent")


def test_the_commands_tell_intact_from_damaged(attacker: Attacker, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "anchors"
    call_command("audit_anchor", file=path)
    call_command("audit_verify", anchors=path)
    assert "acme: " in capsys.readouterr().out

    edit_summary(attacker, 3)

    with pytest.raises(CommandError, match="acme"):
        call_command("audit_verify", anchors=path)
    assert "entry 3: the entry does not match its own hash" in capsys.readouterr().out


def test_a_missing_head_stops_writing_rather_than_starting_anew(acme: Any) -> None:
    attacker = Attacker(acme)
    attacker.sql("DELETE FROM audit_head")
    with tenant_context(acme):
        record_audit(actor=SYSTEM, action="a.b", target_type="t", target_id=1, summary="After.")
        with pytest.raises(Exception, match="missing") as caught:
            verify_chain()
    assert isinstance(caught.value.__cause__, psycopg.Error)

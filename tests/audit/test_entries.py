"""Writing entries: chained by the commit, gone with a rollback, never changed again."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
import structlog
from django.db import DatabaseError, connection, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.audit.exceptions import AuditImmutable
from apps.audit.models import AuditEntry, AuditHead
from apps.audit.services.entries import record_audit
from apps.audit.services.verification import verify_chain
from apps.core.ids import uuid7
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.services.context import public_context, tenant_context

ANNA = Actor(kind="user", id=uuid7(), name="anna@acme.example", permissions=frozenset())


def record(number: int = 0, **facts: Any) -> Any:
    return record_audit(
        actor=ANNA,
        action="flow.published",
        target_type="flow",
        target_id=uuid7(),
        summary=f"Published version {number}.",
        facts=facts or {"number": number},
    )


def test_an_entry_says_who_did_what_to_what(as_acme: Any) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        entry_id = record_audit(
            actor=ANNA,
            action="flow.published",
            target_type="flow",
            target_id="f1",
            summary="Published version 3.",
            facts={"limit": Decimal("10.50"), "tags": ("a", "b")},
        )

    entry = AuditEntry.objects.get(id=entry_id)
    assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("user", ANNA.id, "anna@acme.example")
    assert (entry.action, entry.target_type, entry.target_id) == ("flow.published", "flow", "f1")
    assert entry.facts == {"limit": "10.50", "tags": ["a", "b"]}
    assert entry.request_id == "req-1"


def test_other_apps_write_through_the_sink(as_acme: Any) -> None:
    audit_sink.record(actor=ANNA, action="role.created", target_type="role", target_id="r", summary="Made a role.")

    assert AuditEntry.objects.filter(action="role.created").exists()


def test_an_entry_outside_a_tenant_is_refused(db: None) -> None:
    with pytest.raises(TenantContextMissing):
        record()


def test_a_rolled_back_change_leaves_no_entry(committed_acme: Any) -> None:
    with tenant_context(committed_acme):
        before = verify_chain()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            record(number=1 // (record() is None))
        after = verify_chain()

    assert (after.ok, after.entries, after.head_hash) == (True, before.entries, before.head_hash)


def test_tenants_have_their_own_chains(acme: Any, globex: Any) -> None:
    with tenant_context(globex):
        others = AuditEntry.objects.count()
    with tenant_context(acme):
        record()
        assert AuditEntry.objects.filter(action="flow.published").count() == 1
    with tenant_context(globex):
        assert AuditEntry.objects.count() == others


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET summary = 'x'",
        "UPDATE audit_entry SET number = number + 1000",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "UPDATE audit_head SET number = 0",
        "DELETE FROM audit_head",
        "INSERT INTO audit_entry (id, at, actor_kind, actor_name, action, target_type, target_id, summary, facts,"
        " request_id, content_hash, number) VALUES (gen_random_uuid(), now(), '', '', '', '', '', '', '{}', '', '', 7)",
    ],
)
@pytest.mark.parametrize("role", ["tenant", "owner"])
def test_the_database_refuses_to_change_the_log(acme: Any, statement: str, role: str) -> None:
    with tenant_context(acme):
        record()
        verify_chain()
    if role == "owner":
        for table in ("audit_entry", "audit_head"):
            statement = statement.replace(table, f"t_acme.{table}")
    with tenant_context(acme) if role == "tenant" else public_context():
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_the_model_refuses_to_change_an_entry(as_acme: Any) -> None:
    entry = AuditEntry.objects.get(id=record())
    entry.summary = "other"

    with pytest.raises(AuditImmutable):
        entry.save()
    with pytest.raises(AuditImmutable):
        entry.delete()


def test_concurrent_writers_make_one_chain_without_gaps(committed_acme: Any) -> None:
    failures: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(25):
                with tenant_context(committed_acme), transaction.atomic():
                    record(number)
                    record(number)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    with tenant_context(committed_acme):
        before = AuditHead.objects.get().number
    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with tenant_context(committed_acme):
        report = verify_chain()
        assert (report.findings, report.head_number) == ((), before + 300)


def test_writers_do_not_deadlock_on_the_head(committed_acme: Any) -> None:
    """One records and then locks a row, the other locks that row and then records: the naive lock order deadlocks."""
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(first_record: bool) -> None:
        try:
            for number in range(10):
                barrier.wait()
                with tenant_context(committed_acme), transaction.atomic(), connection.cursor() as cursor:
                    if first_record:
                        record(number)
                    cursor.execute("SELECT pg_advisory_xact_lock(4711)")
                    if not first_record:
                        record(number)
        except BaseException as error:
            failures.append(error)
            barrier.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(order,)) for order in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert failures == []

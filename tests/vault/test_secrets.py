"""Storing, revealing and deleting secrets on a real database."""

from __future__ import annotations

import base64
import os
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from structlog.testing import capture_logs

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.ids import uuid7
from apps.tenancy.exceptions import TenantContextMissing
from apps.tenancy.services.context import tenant_context
from apps.vault.exceptions import KeyEncryptionKeyMissing, SecretInvalid, SecretUnreadable
from apps.vault.models import Secret
from apps.vault.services.secrets import (
    delete_secrets,
    list_secret_names,
    list_secret_names_by_owner,
    reveal_secrets,
    store_secrets,
)

SYSTEM = Actor.system("tests")
CANARY = "canary-7f3a91-Ünï"


def store(owner_id: UUID | None = None, **values: str | None) -> UUID:
    owner_id = owner_id or uuid7()
    store_secrets("connection", owner_id, values, actor=SYSTEM)
    return owner_id


def test_a_stored_secret_is_revealed_to_its_owner(as_acme: Any) -> None:
    owner_id = store(password=CANARY, token="t")

    assert dict(reveal_secrets("connection", owner_id, purpose="connection.check")) == {
        "password": CANARY,
        "token": "t",
    }


def test_storing_again_replaces_adds_and_deletes(as_acme: Any) -> None:
    owner_id = store(password="old", token="t", extra="x")

    store(owner_id, password="new", token=None, fresh="f")

    assert dict(reveal_secrets("connection", owner_id, purpose="connection.check")) == {
        "password": "new",
        "extra": "x",
        "fresh": "f",
    }


def test_names_are_listed_without_decrypting(as_acme: Any) -> None:
    first, second = store(b="1", a="2"), store(c="3")
    Secret.objects.update(ciphertext=b"broken")

    assert list_secret_names("connection", first) == ["a", "b"]
    assert list_secret_names_by_owner("connection", [first, second]) == {first: ["a", "b"], second: ["c"]}


def test_an_owner_without_secrets_has_an_empty_dict(as_acme: Any) -> None:
    assert len(reveal_secrets("connection", uuid7(), purpose="connection.check")) == 0


def test_deleting_takes_all_and_may_be_repeated(as_acme: Any) -> None:
    owner_id = store(a="1", b="2")

    assert delete_secrets("connection", owner_id, actor=SYSTEM) == 2
    assert delete_secrets("connection", owner_id, actor=SYSTEM) == 0
    assert list_secret_names("connection", owner_id) == []


def test_storing_needs_the_permission(as_acme: Any) -> None:
    viewer = Actor(kind="user", id=uuid7(), name="v", permissions=frozenset({"connection:view"}))
    owner_id = store(a="1")

    with pytest.raises(PermissionDenied):
        store_secrets("connection", owner_id, {"a": "2"}, actor=viewer)
    with pytest.raises(PermissionDenied):
        delete_secrets("connection", owner_id, actor=viewer)
    assert reveal_secrets("connection", owner_id, purpose="connection.check")["a"] == "1"


def test_nothing_works_outside_a_tenant(db: None) -> None:
    with pytest.raises(TenantContextMissing):
        store(a="1")
    with pytest.raises(TenantContextMissing):
        reveal_secrets("connection", uuid7(), purpose="connection.check")


def test_the_second_tenant_sees_nothing(acme: Any, globex: Any) -> None:
    with tenant_context(acme):
        owner_id = store(password=CANARY)
    with tenant_context(globex):
        assert list_secret_names("connection", owner_id) == []
        assert dict(reveal_secrets("connection", owner_id, purpose="connection.check")) == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [("owner_id", "0198f000-0000-7000-8000-000000000001"), ("field", "other"), ("owner_type", "flow")],
)
def test_a_ciphertext_moved_to_another_place_does_not_decrypt(as_acme: Any, column: str, value: str) -> None:
    owner_id = store(password=CANARY)
    Secret.objects.filter(owner_id=owner_id).update(**{column: value})
    moved = Secret.objects.get(**{column: value})

    with pytest.raises(SecretUnreadable):
        reveal_secrets(moved.owner_type, moved.owner_id, purpose="connection.check")


def test_a_ciphertext_copied_to_another_tenant_does_not_decrypt_even_with_its_key(acme: Any, globex: Any) -> None:
    with tenant_context(acme):
        owner_id = store(password=CANARY)
    with tenant_context(globex):
        store(a="1")
    with connection.cursor() as cursor:
        for table in ("vault_datakey", "vault_secret"):
            cursor.execute(f"DELETE FROM t_globex.{table}")
            cursor.execute(f"INSERT INTO t_globex.{table} SELECT * FROM t_acme.{table}")
    with tenant_context(globex), pytest.raises(SecretUnreadable):
        reveal_secrets("connection", owner_id, purpose="connection.check")


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"a b": "1"}, "vault.name_invalid"),  # not an identifier
        ({"": "1"}, "vault.name_invalid"),  # nothing
        ({"a": ""}, "vault.empty"),  # empty is not "unset"
        ({"a": 5}, "vault.not_text"),  # a number
        ({"a": "x" * 70_000}, "vault.too_long"),  # a file
        ({"a": "\ud800"}, "vault.not_text"),  # half a character
    ],
)
def test_bad_input_is_named_and_nothing_is_stored(as_acme: Any, values: dict[str, Any], code: str) -> None:
    owner_id = uuid7()

    with pytest.raises(SecretInvalid) as caught:
        store_secrets("connection", owner_id, {"good": "kept-out", **values}, actor=SYSTEM)

    assert [problem.code for problem in caught.value.problems] == [code]
    assert "kept-out" not in repr(caught.value.__dict__)
    assert list_secret_names("connection", owner_id) == []


def test_a_reveal_says_why_in_the_log_and_never_what(as_acme: Any) -> None:
    owner_id = store(password=CANARY)

    with capture_logs() as lines:
        reveal_secrets("connection", owner_id, purpose="connection.check")

    [line] = [line for line in lines if line["event"] == "secrets_revealed"]
    assert line["purpose"] == "connection.check"
    assert line["names"] == ["password"]
    assert CANARY not in repr(lines)


def test_a_reveal_without_a_proper_purpose_is_refused(as_acme: Any) -> None:
    with pytest.raises(SecretInvalid):
        reveal_secrets("connection", uuid7(), purpose="just because")


def test_chosen_purposes_are_audited(as_acme: Any, settings: Any) -> None:
    settings.VAULT_AUDITED_PURPOSES = ["export.*"]
    owner_id = store(password=CANARY)

    reveal_secrets("connection", owner_id, purpose="export.handover")
    reveal_secrets("connection", owner_id, purpose="connection.check")

    [entry] = AuditEntry.objects.filter(action="vault.secrets_revealed")
    assert entry.facts == {"purpose": "export.handover", "names": ["password"]}


def test_a_missing_key_encryption_key_is_a_clear_error(as_acme: Any, settings: Any) -> None:
    owner_id = store(password=CANARY)
    settings.VAULT_KEYS = {"other": base64.b64encode(os.urandom(32)).decode()}

    with pytest.raises(KeyEncryptionKeyMissing) as caught:
        reveal_secrets("connection", owner_id, purpose="connection.check")
    assert "VAULT_KEYS" in str(caught.value.remedy)


def test_canaries_are_nowhere_but_in_ciphertext(as_acme: Any) -> None:
    canaries = [f"canary-{number:03d}-{os.urandom(6).hex()}" for number in range(200)]
    spellings = [
        form
        for canary in canaries
        for form in (canary, base64.b64encode(canary.encode()).decode().rstrip("="), canary.encode().hex())
    ]
    owners: list[UUID] = []
    with capture_logs() as lines:
        for canary in canaries:
            owners.append(store(password=canary))
            reveal_secrets("connection", owners[-1], purpose="connection.check")
            delete_secrets("connection", owners[-1], actor=SYSTEM) if len(owners) % 10 == 0 else None

    dump = repr(lines)
    with connection.cursor() as cursor:
        for table in ("vault_secret", "vault_datakey", "audit_entry", "events_event"):
            cursor.execute(f"SELECT row_to_json(t)::text FROM {table} t")
            dump += "\n".join(row[0] for row in cursor.fetchall())

    assert len(dump) > 100_000
    assert [form for form in spellings if form in dump] == []

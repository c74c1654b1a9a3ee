"""Rotation of keys, interruption, and destruction."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.access.contracts import Actor
from apps.access.exceptions import PermissionDenied
from apps.audit.models import AuditEntry
from apps.core.ids import uuid7
from apps.tenancy.services.context import tenant_context
from apps.vault.choices import KeyStatus
from apps.vault.contracts import RotationProgress
from apps.vault.exceptions import KeysDestroyed
from apps.vault.models import DataKey, Secret
from apps.vault.services import rotation
from apps.vault.services.rotation import (
    destroy_tenant_keys,
    renew_after_destruction,
    resume_rotation,
    rewrap_data_keys,
    rotate_data_keys,
)
from apps.vault.services.secrets import reveal_secrets, store_secrets

SYSTEM = Actor.system("tests")


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def fill(count: int) -> dict[UUID, str]:
    values = {uuid7(): f"value-{number}" for number in range(count)}
    for owner_id, value in values.items():
        store_secrets("connection", owner_id, {"password": value}, actor=SYSTEM)
    return values


def check(values: dict[UUID, str]) -> None:
    for owner_id, value in values.items():
        assert reveal_secrets("connection", owner_id, purpose="test.check")["password"] == value


def test_after_rewrapping_the_former_key_may_go(as_acme: Any, settings: Any) -> None:
    values = fill(3)
    settings.VAULT_KEYS = {"new": new_key(), **settings.VAULT_KEYS}

    assert rewrap_data_keys(actor=SYSTEM) == 1
    assert rewrap_data_keys(actor=SYSTEM) == 0

    settings.VAULT_KEYS = {"new": settings.VAULT_KEYS["new"]}
    check(values)


def test_rotation_reencrypts_everything_and_destroys_the_former_key(as_acme: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 7)
    values = fill(20)
    progress: list[RotationProgress] = []

    assert rotate_data_keys(actor=SYSTEM, on_progress=progress.append) == 20

    check(values)
    assert set(Secret.objects.values_list("key_version", flat=True)) == {2}
    assert [
        (key.version, key.status, bytes(key.wrapped_key) == b"") for key in DataKey.objects.order_by("version")
    ] == [
        (1, KeyStatus.DESTROYED, True),
        (2, KeyStatus.ACTIVE, False),
    ]
    assert [step.done for step in progress] == [7, 14, 20]


def test_a_rotation_killed_after_any_batch_is_finished_by_resuming(as_acme: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 1)
    values = fill(8)
    for point in range(1, 8):

        def die(step: RotationProgress, point: int = point) -> None:
            if step.done == point:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rotate_data_keys(actor=SYSTEM, on_progress=die)
        check(values)
        owner_id = uuid7()
        store_secrets("connection", owner_id, {"password": f"during-{point}"}, actor=SYSTEM)
        values[owner_id] = f"during-{point}"

    resume_rotation()

    check(values)
    active = DataKey.objects.get(status=KeyStatus.ACTIVE)
    assert set(Secret.objects.values_list("key_version", flat=True)) == {active.version}
    assert not DataKey.objects.filter(status=KeyStatus.RETIRED).exists()


def test_writers_and_readers_go_on_during_rotations(
    committed_acme: Any, committed_db: None, unique: Callable[[str], str]
) -> None:
    written: dict[UUID, str] = {}
    failures: list[BaseException] = []
    stop = threading.Event()

    def write(worker: int) -> None:
        number = 0
        try:
            while not stop.is_set():
                owner_id, value = uuid7(), f"{worker}-{number}"
                with tenant_context(committed_acme):
                    store_secrets("rotating", owner_id, {"password": value}, actor=SYSTEM)
                    assert reveal_secrets("rotating", owner_id, purpose="test.check")["password"] == value
                written[owner_id] = value
                number += 1
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    with tenant_context(committed_acme):
        for _ in range(6):
            rotate_data_keys(actor=SYSTEM)
    stop.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(written) > 20
    with tenant_context(committed_acme):
        for owner_id, value in written.items():
            assert reveal_secrets("rotating", owner_id, purpose="test.check")["password"] == value


def test_rotation_needs_the_permission(as_acme: Any) -> None:
    nobody = Actor(kind="user", id=uuid7(), name="n")

    for act in (rotate_data_keys, rewrap_data_keys, renew_after_destruction):
        with pytest.raises(PermissionDenied):
            act(actor=nobody)  # type: ignore[operator]
    with pytest.raises(PermissionDenied):
        destroy_tenant_keys(actor=nobody, reason="x")


def test_destroyed_keys_leave_secrets_unreadable_and_unwritable(as_acme: Any) -> None:
    values = fill(2)

    destroy_tenant_keys(actor=SYSTEM, reason="contract ended")

    for owner_id in values:
        with pytest.raises(KeysDestroyed):
            reveal_secrets("connection", owner_id, purpose="test.check")
        with pytest.raises(KeysDestroyed):
            store_secrets("connection", owner_id, {"password": "x"}, actor=SYSTEM)
    assert not any(bytes(key.wrapped_key) for key in DataKey.objects.all())
    assert AuditEntry.objects.get(action="vault.keys_destroyed").facts["reason"] == "contract ended"


def test_a_renewed_tenant_stores_secrets_again(as_acme: Any) -> None:
    fill(2)
    destroy_tenant_keys(actor=SYSTEM, reason="drill")

    version = renew_after_destruction(actor=SYSTEM)

    assert version == 2
    assert Secret.objects.count() == 0
    check(fill(2))


def test_shredding_one_tenant_leaves_the_other(acme: Any, globex: Any) -> None:
    with tenant_context(globex):
        values = fill(2)
    call_command("vault_shred", "acme", confirm="acme", reason="drill")
    with tenant_context(globex):
        check(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"confirm": "globex", "reason": "r"}, "Nothing was destroyed"), ({"confirm": "acme"}, "--reason")],
)
def test_shredding_needs_the_slug_and_a_reason(acme: Any, options: dict[str, str], message: str) -> None:
    with tenant_context(acme):
        values = fill(1)
    with pytest.raises(CommandError, match=message):
        call_command("vault_shred", "acme", **options)
    with tenant_context(acme):
        check(values)


def test_the_rotate_command_visits_every_tenant(acme: Any, globex: Any, capsys: Any) -> None:
    values = {}
    for tenant in (acme, globex):
        with tenant_context(tenant):
            values[tenant] = fill(2)

    call_command("vault_rotate", "--dek")
    call_command("vault_rotate", "--kek")
    call_command("vault_rotate", "--resume", "--tenant", "acme")

    assert "globex: 2 secrets re-encrypted" in capsys.readouterr().out
    for tenant, stored in values.items():
        with tenant_context(tenant):
            check(stored)
            assert not Secret.objects.filter(key_version=1).exists()

"""AES-256-GCM with place-bound ciphertexts."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.vault.exceptions import KeyEncryptionKeyMissing, SecretUnreadable, VaultNotConfigured
from apps.vault.services import crypto

KEY = bytes(range(32))


def encoded_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@given(st.binary(max_size=2000), st.lists(st.text(max_size=20), min_size=1, max_size=6))
def test_what_is_encrypted_decrypts_at_the_same_place(plaintext: bytes, parts: list[str]) -> None:
    place = crypto.build_associated_data(*[part.encode("utf-8", "replace").decode() for part in parts])

    assert crypto.decrypt(KEY, crypto.encrypt(KEY, plaintext, place), place) == plaintext


def test_the_same_text_is_encrypted_differently_each_time() -> None:
    assert len({crypto.encrypt(KEY, b"text", b"place") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "parts",
    [
        ("tenant-b", "connection", "1", "password", "1"),  # another tenant
        ("tenant-a", "flow", "1", "password", "1"),  # another kind of owner
        ("tenant-a", "connection", "2", "password", "1"),  # another row
        ("tenant-a", "connection", "1", "token", "1"),  # another field
        ("tenant-a", "connection", "1", "password", "2"),  # another key version
        ("tenant-a", "connection", "1password", "", "1"),  # the same characters, cut elsewhere
    ],
)
def test_a_ciphertext_does_not_decrypt_at_another_place(parts: tuple[str, ...]) -> None:
    place = crypto.build_associated_data("tenant-a", "connection", "1", "password", "1")
    blob = crypto.encrypt(KEY, b"s3cret", place)

    with pytest.raises(SecretUnreadable):
        crypto.decrypt(KEY, blob, crypto.build_associated_data(*parts))


def test_every_changed_bit_is_noticed() -> None:
    blob = crypto.encrypt(KEY, b"s3cret", b"place")

    for position in range(len(blob) * 8):
        changed = bytearray(blob)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(SecretUnreadable):
            crypto.decrypt(KEY, bytes(changed), b"place")


@pytest.mark.parametrize("length", [0, 1, 12, 28])
def test_a_cut_off_ciphertext_is_refused(length: int) -> None:
    with pytest.raises(SecretUnreadable):
        crypto.decrypt(KEY, crypto.encrypt(KEY, b"", b"place")[:length], b"place")


def test_the_first_key_wraps_and_every_key_unwraps() -> None:
    old, new = encoded_key(), encoded_key()
    before = crypto.KeyRing({"old": old})
    after = crypto.KeyRing({"new": new, "old": old})
    key_id, wrapped = before.wrap(KEY, tenant_id="t", version=1)

    assert after.active_id == "new"
    assert after.unwrap(wrapped, key_id=key_id, tenant_id="t", version=1) == KEY


def test_a_wrapped_key_of_another_tenant_or_version_is_refused() -> None:
    ring = crypto.KeyRing({"k": encoded_key()})
    key_id, wrapped = ring.wrap(KEY, tenant_id="t", version=1)

    with pytest.raises(SecretUnreadable):
        ring.unwrap(wrapped, key_id=key_id, tenant_id="other", version=1)
    with pytest.raises(SecretUnreadable):
        ring.unwrap(wrapped, key_id=key_id, tenant_id="t", version=2)


def test_a_missing_key_encryption_key_is_named() -> None:
    ring = crypto.KeyRing({"k": encoded_key()})

    with pytest.raises(KeyEncryptionKeyMissing, match="gone"):
        ring.unwrap(b"", key_id="gone", tenant_id="t", version=1)


@pytest.mark.parametrize("keys", [{}, {"k": ""}, {"k": "short"}, {"k": base64.b64encode(b"x" * 16).decode()}])
def test_a_malformed_key_ring_is_refused(keys: dict[str, str]) -> None:
    with pytest.raises(VaultNotConfigured):
        crypto.KeyRing(keys)


def test_a_key_ring_shows_no_key() -> None:
    key = encoded_key()

    assert key not in repr(crypto.KeyRing({"k": key}))

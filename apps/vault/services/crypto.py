"""The vault's arithmetic: AES-256-GCM (NIST SP 800-38D) with the place of the secret as associated data.

A ciphertext is bound to tenant, owner, field and key version. Copied to any other row it does not decrypt, which plain
Fernet would not notice. Nonces are random 96-bit numbers: safe for 2**32 encryptions per key (SP 800-38D §8.3), far
more than the secrets of one tenant between two rotations.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apps.vault.exceptions import KeyEncryptionKeyMissing, SecretUnreadable, VaultNotConfigured

KEY_BYTES = 32
NONCE_BYTES = 12
FORMAT_1 = b"\x01"


def build_associated_data(*parts: str) -> bytes:
    """Unambiguous bytes of the parts, each preceded by its length, so that no two lists give the same bytes."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def new_data_key() -> bytes:
    """32 random bytes from the operating system."""
    return os.urandom(KEY_BYTES)


def encrypt(key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Format byte, nonce, then ciphertext with its tag."""
    nonce = os.urandom(NONCE_BYTES)
    return FORMAT_1 + nonce + AESGCM(key).encrypt(nonce, plaintext, FORMAT_1 + associated_data)


def decrypt(key: bytes, blob: bytes, associated_data: bytes) -> bytes:
    """The plaintext.

    Raises:
        SecretUnreadable: wrong key, wrong place, unknown format or changed bytes.
    """
    if len(blob) < 1 + NONCE_BYTES + 16 or blob[:1] != FORMAT_1:
        raise SecretUnreadable
    nonce, body = blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, body, FORMAT_1 + associated_data)
    except InvalidTag:
        # `from None`: the library's error carries nothing that helps, and frames that hold the key.
        raise SecretUnreadable from None


class KeyRing:
    """The key-encryption keys, by id; the first one wraps, all of them unwrap."""

    def __init__(self, encoded: Mapping[str, str]) -> None:
        """Decode `{id: base64 of 32 bytes}`.

        Raises:
            VaultNotConfigured: no key, or one that is not 32 bytes of base64.
        """
        self._keys: dict[str, bytes] = {}
        for key_id, text in encoded.items():
            try:
                key = base64.b64decode(text, validate=True)
            except ValueError:
                key = b""
            if len(key) != KEY_BYTES:
                raise VaultNotConfigured(f"Vault key {key_id!r} is not base64 of {KEY_BYTES} bytes.")
            self._keys[key_id] = key
        if not self._keys:
            raise VaultNotConfigured

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    @property
    def active_id(self) -> str:
        """Id of the key that wraps new data keys."""
        return next(iter(self._keys))

    def wrap(self, data_key: bytes, *, tenant_id: str, version: int) -> tuple[str, bytes]:
        """(id of the wrapping key, wrapped data key)."""
        key_id = self.active_id
        return key_id, encrypt(self._keys[key_id], data_key, _wrapping_place(tenant_id, version, key_id))

    def unwrap(self, wrapped: bytes, *, key_id: str, tenant_id: str, version: int) -> bytes:
        """The data key.

        Raises:
            KeyEncryptionKeyMissing: VAULT_KEYS does not hold `key_id`.
            SecretUnreadable: the wrapped key was changed or belongs to another tenant or version.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise KeyEncryptionKeyMissing(f"VAULT_KEYS does not hold the key {key_id!r}.", value=key_id)
        return decrypt(key, wrapped, _wrapping_place(tenant_id, version, key_id))


def _wrapping_place(tenant_id: str, version: int, key_id: str) -> bytes:
    return build_associated_data("data-key", tenant_id, str(version), key_id)

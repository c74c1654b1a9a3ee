"""What can go wrong between a secret and its reader."""

from __future__ import annotations

from apps.core.exceptions import NotFound, PortalError, TerminalError, ValidationFailed


class VaultNotConfigured(PortalError):
    """The vault has no key-encryption key."""

    code = "vault.not_configured"
    status = 500
    default_remedy = "Set VAULT_KEYS to `id:base64 of 32 random bytes`."


class KeyEncryptionKeyMissing(PortalError):
    """A data key is wrapped by a key that VAULT_KEYS no longer holds."""

    code = "vault.kek_missing"
    status = 500
    default_remedy = "Put the key back at the end of VAULT_KEYS, run `vault_rotate --kek`, then remove it."


class SecretUnreadable(TerminalError):
    """A stored secret cannot be decrypted: it was changed, or it was copied from another place."""

    code = "vault.unreadable"
    status = 500
    default_remedy = "Enter the secret again."


class KeysDestroyed(TerminalError):
    """The organisation's data keys were destroyed; its secrets cannot be read any more."""

    code = "vault.keys_destroyed"
    status = 422
    default_remedy = "Enter the secrets again after an administrator has run `vault_shred --renew`."


class SecretMissing(NotFound):
    """There is no such secret."""

    code = "vault.secret_missing"
    default_remedy = "Enter the secret first."


class SecretInvalid(ValidationFailed):
    """The secret cannot be stored like this."""

    code = "vault.secret_invalid"

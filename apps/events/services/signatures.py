"""Signatures of Standard Webhooks: `v1,` + base64 of HMAC-SHA256 over `id.timestamp.body`.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence

from apps.events.exceptions import SubscriptionInvalid

SECRET_PREFIX = "whsec_"  # noqa: S105 - names the format, is none
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64


def make_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def to_key(secret: str) -> bytes:
    """The key bytes of a secret, with or without `whsec_`.

    Raises:
        SubscriptionInvalid: not base64, or not 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise SubscriptionInvalid(
            f"A signing secret is base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes, with or without whsec_.",
            field="secret",
        )
    return key


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature with its version."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(to_key(secret), signed, "sha256")).decode()


def build_headers(secrets_: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers; one signature for each secret, so that receivers may hold the old or the new one."""
    signatures = [sign(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in secrets_]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }

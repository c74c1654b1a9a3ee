"""Verify webhooks that come in: raw body, constant time, one version per scheme, and a clock that is not far off.

A header that comes twice is refused (peers disagree on which one counts), an older version of a scheme is ignored, and
nothing of the body is parsed before its signature holds.

Sources: standard-webhooks/spec; docs.stripe.com/webhooks/signature; api.slack.com/authentication/verifying-requests;
docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.exceptions import Problem
from apps.events.choices import SignatureScheme
from apps.events.exceptions import EndpointInvalid, SignatureRefused, SubscriptionInvalid
from apps.events.services.signatures import sign, to_key

TIMESTAMP = re.compile(r"^[0-9]{1,12}\Z")
HEADER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}\Z")
MAX_ID_CHARS = 256
MAX_SIGNATURES = 16
MIN_SECRET_CHARS = 16
ALGORITHMS = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
TEMPLATES = {
    "body": "{body}",
    "timestamp.body": "{timestamp}.{body}",
    "id.timestamp.body": "{id}.{timestamp}.{body}",
}
HMAC_DEFAULTS = {
    "signature_header": "X-Signature",
    "timestamp_header": "",
    "id_header": "",
    "algorithm": "sha256",
    "encoding": "hex",
    "prefix": "",
    "signed": "body",
}


@dataclass(frozen=True)
class Incoming:
    """A request before it is verified.

    Attributes:
        headers: values by lower-case name, in the order they came.
        body: the bytes as they came.
        received_at: seconds since the epoch.
    """

    headers: Mapping[str, Sequence[str]]
    body: bytes
    received_at: float

    def one(self, name: str) -> str:
        """The header's only value.

        Raises:
            SignatureRefused: it is missing or comes twice.
        """
        values = self.headers.get(name.lower(), ())
        if len(values) != 1:
            raise SignatureRefused(f"The header {name} {'is missing' if not values else 'comes more than once'}.")
        return values[0]


@dataclass(frozen=True)
class VerifyRules:
    """What an endpoint expects."""

    scheme: str
    config: Mapping[str, Any]
    secrets: tuple[str, ...]
    tolerance_s: int = 300


def verify(rules: VerifyRules, incoming: Incoming) -> str:
    """Check the signature.

    Returns:
        The sender's id of the message; deduplicate on it.

    Raises:
        SignatureRefused: it does not hold; nothing about the secret is told.
    """
    return _VERIFIERS[rules.scheme](rules, incoming)


def check_scheme(scheme: str, config: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
    """The scheme's settings, complete.

    Raises:
        EndpointInvalid: a setting or the secret cannot be used.
    """
    problems: list[Problem] = []
    if scheme not in SignatureScheme.values:
        known = ", ".join(SignatureScheme.values)
        raise EndpointInvalid(f"There is no scheme {scheme!r}. Use one of: {known}.", field="scheme")
    if secret is not None:
        problems += _secret_problems(scheme, secret)
    settings = dict(config)
    if scheme == SignatureScheme.HMAC:
        settings = {**HMAC_DEFAULTS, **config}
        problems += _hmac_problems(settings)
    elif config:
        problems.append(Problem("config", "events.config_unknown", f"The scheme {scheme} has no settings."))
    if problems:
        raise EndpointInvalid(problems[0].message, field=problems[0].path, problems=problems)
    return settings


def _secret_problems(scheme: str, secret: str) -> list[Problem]:
    if scheme == SignatureScheme.STANDARD:
        try:
            to_key(secret)
        except SubscriptionInvalid as error:
            return [Problem("secret", "events.secret", error.message)]
    elif len(secret) < MIN_SECRET_CHARS or not secret.isprintable():
        return [Problem("secret", "events.secret", f"A secret has at least {MIN_SECRET_CHARS} printable characters.")]
    return []


def _hmac_problems(settings: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(f"config.{name}", "events.config_unknown", f"There is no setting {name}.")
        for name in sorted(set(settings) - set(HMAC_DEFAULTS))
    ]
    allowed = {"algorithm": set(ALGORITHMS), "encoding": {"hex", "base64"}, "signed": set(TEMPLATES)}
    for name, values in allowed.items():
        if settings[name] not in values:
            problems.append(Problem(f"config.{name}", "events.config", f"Use one of {', '.join(sorted(values))}."))
    for name in ("signature_header", "timestamp_header", "id_header"):
        value = settings[name]
        if not isinstance(value, str) or not (HEADER_NAME.match(value) or (not value and name != "signature_header")):
            problems.append(Problem(f"config.{name}", "events.config", "This is not the name of a header."))
    if not isinstance(settings["prefix"], str) or len(settings["prefix"]) > 40:
        problems.append(Problem("config.prefix", "events.config", "A prefix has at most 40 characters."))
    for part, name in (("timestamp", "timestamp_header"), ("id", "id_header")):
        if part in str(settings["signed"]).split(".") and not settings[name]:
            problems.append(Problem(f"config.{name}", "events.config", f"What is signed needs the {part}'s header."))
    return problems


def _standard(rules: VerifyRules, incoming: Incoming) -> str:
    message_id = _id(incoming.one("webhook-id"))
    timestamp = _timestamp(rules, incoming, incoming.one("webhook-timestamp"))
    given = [item[3:] for item in incoming.one("webhook-signature").split() if item.startswith("v1,")]
    expected = [
        sign(secret, message_id=message_id, timestamp=timestamp, body=incoming.body)[3:] for secret in rules.secrets
    ]
    _compare(given, expected)
    return message_id


def _stripe(rules: VerifyRules, incoming: Incoming) -> str:
    parts = [item.strip().partition("=") for item in incoming.one("stripe-signature").split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    if len(stamps) != 1:
        raise SignatureRefused("The signature has no time, or more than one.")
    timestamp = _timestamp(rules, incoming, stamps[0])
    signed = f"{timestamp}.".encode() + incoming.body
    given = [value for name, _, value in parts if name == "v1"]
    _compare(given, [_hex(secret, signed) for secret in rules.secrets])
    return _id_in_body(incoming, "id")


def _slack(rules: VerifyRules, incoming: Incoming) -> str:
    timestamp = _timestamp(rules, incoming, incoming.one("x-slack-request-timestamp"))
    signature = incoming.one("x-slack-signature")
    signed = f"v0:{timestamp}:".encode() + incoming.body
    given = [signature[3:]] if signature.startswith("v0=") else []
    _compare(given, [_hex(secret, signed) for secret in rules.secrets])
    return _id_in_body(incoming, "event_id")


def _github(rules: VerifyRules, incoming: Incoming) -> str:
    # `X-Hub-Signature` (SHA-1) may come along; only the SHA-256 one counts. GitHub signs no time.
    signature = incoming.one("x-hub-signature-256")
    given = [signature[7:]] if signature.startswith("sha256=") else []
    _compare(given, [_hex(secret, incoming.body) for secret in rules.secrets])
    return _id(incoming.one("x-github-delivery"))


def _hmac(rules: VerifyRules, incoming: Incoming) -> str:
    config = {**HMAC_DEFAULTS, **rules.config}
    message_id = _id(incoming.one(config["id_header"])) if config["id_header"] else ""
    stamp = incoming.one(config["timestamp_header"]) if config["timestamp_header"] else ""
    if stamp:
        _timestamp(rules, incoming, stamp)
    head = TEMPLATES[config["signed"]].removesuffix("{body}").format(id=message_id, timestamp=stamp)
    signed = head.encode() + incoming.body
    signature = incoming.one(config["signature_header"])
    if not signature.startswith(config["prefix"]):
        raise SignatureRefused(f"The signature does not begin with {config['prefix']}.")
    algorithm = ALGORITHMS[config["algorithm"]]
    digests = [hmac.new(secret.encode(), signed, algorithm).digest() for secret in rules.secrets]
    if config["encoding"] == "base64":
        expected = [base64.b64encode(digest).decode() for digest in digests]
    else:
        expected = [digest.hex() for digest in digests]
    _compare([signature[len(config["prefix"]) :]], expected)
    return message_id or _digest_id(stamp.encode() + b"." + incoming.body)


_VERIFIERS = {
    SignatureScheme.STANDARD.value: _standard,
    SignatureScheme.STRIPE.value: _stripe,
    SignatureScheme.SLACK.value: _slack,
    SignatureScheme.GITHUB.value: _github,
    SignatureScheme.HMAC.value: _hmac,
}


def _compare(given: Sequence[str], expected: Sequence[str]) -> None:
    if not given:
        raise SignatureRefused("There is no signature of the version that this endpoint takes.")
    matched = False
    for mine in given[:MAX_SIGNATURES]:
        for wanted in expected:
            # Every pair is compared, so that the time tells neither which key nor which signature held.
            matched |= hmac.compare_digest(mine.encode("utf-8", "replace"), wanted.encode())
    if not matched:
        raise SignatureRefused("The signature does not match.")


def _timestamp(rules: VerifyRules, incoming: Incoming, text: str) -> int:
    if not TIMESTAMP.match(text):
        raise SignatureRefused("The time of the signature is not a number of seconds.")
    if abs(incoming.received_at - int(text)) > rules.tolerance_s:
        raise SignatureRefused(f"The time of the signature is more than {rules.tolerance_s} s away.")
    return int(text)


def _id(text: str) -> str:
    if not text or len(text) > MAX_ID_CHARS or not text.isascii() or not text.isprintable():
        raise SignatureRefused(f"The id of a message has 1 to {MAX_ID_CHARS} printable ASCII characters.")
    return text


def _id_in_body(incoming: Incoming, name: str) -> str:
    """The verified body's own id; a digest of the body when it has none."""
    try:
        body = json.loads(incoming.body)
    except (ValueError, RecursionError):
        body = None
    value = body.get(name) if isinstance(body, dict) else None
    if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and value.isprintable():
        return value
    return _digest_id(incoming.body)


def _digest_id(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

"""Delivery to a tenant's own HTTPS endpoint: a CloudEvent in structured mode, signed by Standard Webhooks."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

from django.conf import settings

from apps.core.clock import now
from apps.core.exceptions import PortalError, Problem
from apps.core.services.egress import EgressSession, check_url
from apps.events.contracts import DeliveryTarget, OutgoingMessage, SendResult
from apps.events.exceptions import SubscriptionInvalid
from apps.events.services.signatures import build_headers

MAX_URL_CHARS = 2000
MAX_HEADERS = 20
MAX_EXCERPT_CHARS = 1000
MAX_RETRY_AFTER_S = 24 * 3600.0
HEADER_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")
RESERVED_HEADERS = {
    "host",
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "user-agent",
    "cookie",
    "authorization",
    "accept-encoding",
}
GONE = 410
BUSY = {429, 503}


class WebhookTarget(DeliveryTarget):
    """POST to a URL. Any 2xx is taken, 410 ends the subscription, a redirect is a failure and never followed."""

    type: ClassVar[str] = "webhook"
    title: ClassVar[str] = "Webhook"
    is_signed: ClassVar[bool] = True

    def check_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """`{"url": "https://…", "headers": {name: value}}`; headers are shown to everybody, so no secrets.

        Raises:
            SubscriptionInvalid: the URL may not be called, or a header may not be set.
        """
        unknown = set(config) - {"url", "headers"}
        url, headers = config.get("url"), config.get("headers") or {}
        problems = [
            Problem(f"config.{name}", "events.config_unknown", f"There is no setting {name}.")
            for name in sorted(unknown)
        ]
        if not isinstance(url, str) or not url or len(url) > MAX_URL_CHARS:
            problems.append(Problem("config.url", "events.url", f"A URL of at most {MAX_URL_CHARS} characters."))
        else:
            problems += _url_problems(url)
        if not isinstance(headers, Mapping) or len(headers) > MAX_HEADERS:
            problems.append(Problem("config.headers", "events.headers", f"At most {MAX_HEADERS} headers."))
            headers = {}
        for name, value in headers.items():
            if not HEADER_NAME.match(str(name)) or name.lower() in RESERVED_HEADERS or _is_ours(name):
                problems.append(Problem(f"config.headers.{name}", "events.header", f"{name} cannot be set."))
            elif not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 1000:
                problems.append(Problem(f"config.headers.{name}", "events.header", "A header's value is plain text."))
        if problems:
            raise SubscriptionInvalid(problems[0].message, field=problems[0].path, problems=problems)
        return {"url": url, "headers": dict(headers)}

    async def send(self, session: EgressSession, message: OutgoingMessage) -> SendResult:
        """One attempt, within the session's limits."""
        body = build_body(message)
        signed = build_headers(
            message.signing_secrets, message_id=str(message.event.id), timestamp=int(now().timestamp()), body=body
        )
        headers = {
            **message.config.get("headers", {}),
            "content-type": "application/cloudevents+json",
            **signed,
            "portal-delivery-id": str(message.delivery_id),
            "portal-attempt": str(message.attempt),
        }
        began = time.monotonic()
        try:
            answer = await session.request("POST", message.config["url"], headers=headers, body=body)
        except PortalError as error:
            return SendResult(False, error=f"{error.code}: {error.message}"[:500], duration_ms=_since(began))
        ok = 200 <= answer.status < 300
        return SendResult(
            ok=ok,
            response_status=answer.status,
            error="" if ok else _explain(answer.status),
            excerpt=answer.body.decode("utf-8", "replace").replace("\x00", "\ufffd")[:MAX_EXCERPT_CHARS],
            retry_after_s=parse_retry_after(answer.headers.get("Retry-After")) if answer.status in BUSY else None,
            gone=answer.status == GONE,
            duration_ms=_since(began),
        )


def build_body(message: OutgoingMessage) -> bytes:
    """The event in CloudEvents JSON format; the same bytes are signed and sent."""
    event = message.event.to_cloudevent()
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def parse_retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header (a number, or an HTTP date), 0 to one day; None when it says nothing."""
    if not value:
        return None
    text = value.strip()
    if text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S) if len(text) < 12 else MAX_RETRY_AFTER_S
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_S)


def _url_problems(url: str) -> list[Problem]:
    try:
        checked = check_url(url)
    except PortalError as error:
        return [Problem("config.url", error.code, error.message)]
    if checked.scheme == "http" and not getattr(settings, "WEBHOOKS_ALLOW_HTTP", False):
        return [Problem("config.url", "events.url_plain", "Use https://: events must not travel in the clear.")]
    return []


def _is_ours(name: str) -> bool:
    return name.lower().startswith(("webhook-", "portal-", "proxy-", "x-forwarded-"))


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _explain(status: int) -> str:
    if status == GONE:
        return "The endpoint wants no more events (410)."
    if 300 <= status < 400:
        return f"The endpoint redirects ({status}); redirects are not followed. Enter the final address."
    if status in BUSY:
        return f"The endpoint asks for a pause ({status})."
    return f"The endpoint answered {status}."

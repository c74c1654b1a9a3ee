"""`POST /hooks/<public id>`: webhooks of other systems, on a lean path before Django.

Tenant by the exact host, endpoint by its public id (both cached for seconds), signature over the raw body, one commit
shared with the requests that came meanwhile, then 202. Everything that is refused says why in a problem document.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from channels.db import database_sync_to_async

from apps.core.api.problems import CONTENT_TYPE, problem_document
from apps.core.exceptions import PortalError, TooLarge, TransientError
from apps.events.choices import EndpointStatus, SignatureScheme
from apps.events.exceptions import EndpointNotFound, SignatureRefused
from apps.events.services.inbound_intake import KnownEndpoint, VerifiedMessage, endpoint_cache, intake
from apps.events.services.inbound_limits import rate_gate
from apps.events.services.inbound_metrics import inbound_metrics
from apps.events.services.inbound_schemes import Incoming, verify
from apps.events.services.live_access import executor, find_tenant_of_host
from apps.tenancy.contracts import TenantRef

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
Application = Callable[[Scope, Channel, Channel], Awaitable[Any]]

PREFIX = "/hooks/"
READ_TIMEOUT_S = 20.0
HOST_CACHE_S = 10.0
MAX_HOSTS = 10_000
MAX_PUBLIC_ID_CHARS = 40
RETRY_AFTER_S = 5
# Headers worth keeping with a message; credentials and signatures are not.
KEPT_PREFIXES = ("webhook-id", "webhook-timestamp", "x-github-", "x-slack-request-", "user-agent", "x-request-id")

_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_ACCEPTED = json.dumps({"status": "accepted"}).encode()
_DUPLICATE = json.dumps({"status": "duplicate"}).encode()


class EndpointPaused(TransientError):
    """This endpoint takes no webhooks at the moment."""

    code = "events.endpoint_paused"


class MethodRefused(PortalError):
    """Webhooks are sent with POST."""

    code = "events.method"
    status = 405


class ReadTimeout(PortalError):
    """The body did not arrive in time."""

    code = "events.body_timeout"
    status = 408


class SenderGone(Exception):
    """The sender hung up."""


class InboundWebhooks:
    """ASGI application that answers `/hooks/` itself and hands everything else on."""

    def __init__(self, inner: Application) -> None:
        """Stand before an application."""
        self._inner = inner
        self._hosts: OrderedDict[str, tuple[float, TenantRef | None]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> Any:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            return await self._inner(scope, receive, send)
        began = time.perf_counter()
        try:
            status, body, headers = await self._answer(scope, receive)
        except SenderGone:
            inbound_metrics.refused["sender_gone"] += 1
            return None
        except PortalError as error:
            inbound_metrics.refused[error.code] += 1
            status, headers = error.status, [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
            body = json.dumps(problem_document(error, instance=scope["path"])).encode()
            wait_s = error.facts.get("retry_after_s") or (RETRY_AFTER_S if isinstance(error, TransientError) else None)
            if wait_s:
                headers.append((b"retry-after", str(wait_s).encode()))
        inbound_metrics.observe(time.perf_counter() - began)
        await send({"type": "http.response.start", "status": status, "headers": _sized(headers, body)})
        await send({"type": "http.response.body", "body": body})
        return None

    async def _answer(self, scope: Scope, receive: Channel) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if scope["method"] != "POST":
            raise MethodRefused()
        headers = _headers(scope)
        endpoint = await self._find(headers, scope["path"])
        try:
            return await _take(endpoint, headers, receive)
        except PortalError as error:
            intake.note_rejection(endpoint, error.message)
            raise

    async def _find(self, headers: dict[str, list[str]], path: str) -> KnownEndpoint:
        public_id = path[len(PREFIX) :].removesuffix("/")
        host = headers.get("host", [])
        if len(host) != 1 or not public_id.isalnum() or len(public_id) > MAX_PUBLIC_ID_CHARS:
            raise EndpointNotFound()
        tenant = await self._tenant(host[0])
        if tenant is None:
            raise EndpointNotFound()
        known, endpoint = endpoint_cache.peek(tenant.id, public_id)
        if not known:
            try:
                endpoint = await _in_thread(endpoint_cache.load, tenant, public_id)
            except Exception as error:
                log.warning("webhook_endpoint_not_read", error=f"{type(error).__name__}: {error}")
                raise TransientError("The endpoint cannot be looked up right now.") from error
        if endpoint is None:
            raise EndpointNotFound()
        return endpoint

    async def _tenant(self, host: str) -> TenantRef | None:
        found = self._hosts.get(host)
        if found is None or time.monotonic() - found[0] > HOST_CACHE_S:
            tenant = await _in_thread(find_tenant_of_host, host)
            found = self._hosts[host] = (time.monotonic(), tenant)
            self._hosts.move_to_end(host)
            while len(self._hosts) > MAX_HOSTS:
                self._hosts.popitem(last=False)
        return found[1]


async def _take(
    endpoint: KnownEndpoint, headers: dict[str, list[str]], receive: Channel
) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Take one webhook: the rate first, so that what is too much costs no reading."""
    rate_gate.check(endpoint)
    incoming = Incoming(headers, await _read(receive, headers, endpoint.max_bytes), time.time())
    message_id = verify(endpoint.rules, incoming)
    if endpoint.status == EndpointStatus.PAUSED:
        raise EndpointPaused()
    if endpoint.rules.scheme == SignatureScheme.SLACK and (challenge := _challenge(incoming.body)) is not None:
        inbound_metrics.taken["challenge"] += 1
        return 200, challenge, [(b"content-type", b"text/plain; charset=utf-8")]
    message = VerifiedMessage(
        endpoint, message_id, _first(headers, "content-type")[:200], _kept(headers), incoming.body
    )
    try:
        stored = await intake.store(message)
    except PortalError:
        raise
    except Exception as error:
        raise TransientError("The webhook could not be stored.") from error
    inbound_metrics.taken["duplicate" if stored.duplicate else "accepted"] += 1
    return 202, _DUPLICATE if stored.duplicate else _ACCEPTED, _JSON


async def _in_thread(function: Any, *arguments: Any) -> Any:
    return await database_sync_to_async(function, thread_sensitive=False, executor=executor)(*arguments)


async def _read(receive: Channel, headers: dict[str, list[str]], max_bytes: int) -> bytes:
    declared = _first(headers, "content-length")
    if declared.isdigit() and int(declared) > max_bytes:
        raise TooLarge(f"This endpoint takes at most {max_bytes} bytes.")
    if _first(headers, "content-encoding").lower() not in {"", "identity"}:
        raise SignatureRefused("Send the body as it is, without compression.")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise SenderGone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > max_bytes:
                    raise TooLarge(f"This endpoint takes at most {max_bytes} bytes.")
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise ReadTimeout() from None


def _headers(scope: Scope) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope.get("headers", []):
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _first(headers: dict[str, list[str]], name: str) -> str:
    values = headers.get(name)
    return values[0] if values else ""


def _kept(headers: dict[str, list[str]]) -> dict[str, str]:
    return {
        name: values[0].replace("\x00", "")[:500] for name, values in headers.items() if name.startswith(KEPT_PREFIXES)
    }


def _challenge(body: bytes) -> bytes | None:
    """Slack's one question when the address is entered there."""
    if b"url_verification" not in body:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and value.get("type") == "url_verification" and isinstance(value.get("challenge"), str):
        return str(value["challenge"]).encode("utf-8", "replace")
    return None


def _sized(headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    return [*headers, (b"content-length", str(len(body)).encode())]

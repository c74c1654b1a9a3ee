"""HTTP through the egress check: pinned addresses, re-checked redirects, and caps on bytes, time and inflation."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy

from apps.core.exceptions import PortalError, TerminalError, TransientError
from apps.core.services.egress.addresses import CheckedUrl, EgressDenied, check_url, resolve_target

REDIRECTS = {301, 302, 303, 307, 308}
CHUNK_BYTES = 65_536
# Only what describes the message itself survives a change of origin; everything else may be a credential.
HEADERS_KEPT_ACROSS_ORIGINS = {"accept", "accept-encoding", "accept-language", "content-type", "user-agent"}


class EgressFailed(TransientError):
    """The system did not answer."""

    code = "core.egress.failed"
    default_remedy = "Check that the system is running and reachable; the call can be repeated."


class ResponseTooLarge(TerminalError):
    """The answer is larger than allowed."""

    code = "core.egress.response_too_large"
    default_remedy = "Ask for smaller pages."


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Caps of one session.

    Attributes:
        max_bytes: of the body after decompression.
        max_redirects: hops that are followed; with 0 a redirect is the answer, and nothing is followed.
        truncate: whether a longer body is cut at `max_bytes` instead of refused, for callers that need its beginning.
    """

    total_s: float = 60.0
    connect_s: float = 10.0
    read_s: float = 30.0
    max_bytes: int = 64 * 1024**2
    max_redirects: int = 3
    max_connections: int = 16
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """A complete answer."""

    status: int
    headers: CIMultiDictProxy[str]
    url: str
    body: bytes

    def json(self) -> Any:
        """The body as JSON; numbers with a fraction stay exact (`decimal.Decimal`)."""
        from decimal import Decimal

        return json.loads(self.body, parse_float=Decimal)


class PinnedResolver(AbstractResolver):
    """aiohttp's resolver that only gives addresses which passed the check."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every checked address of the host; aiohttp connects to these and asks nobody else."""
        try:
            target = await asyncio.to_thread(resolve_target, host, port)
        except PortalError as error:
            # aiohttp lets only OSError through its connector; `EgressSession` unwraps it again.
            raise _Refused(error) from error
        wanted = {socket.AF_INET: 4, socket.AF_INET6: 6}.get(family)
        results: list[ResolveResult] = []
        for text in target.addresses:
            version = ipaddress.ip_address(text).version
            if wanted is None or version == wanted:
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=text,
                        port=port,
                        family=socket.AF_INET if version == 4 else socket.AF_INET6,
                        proto=0,
                        flags=socket.AI_NUMERICHOST,
                    )
                )
        if not results:
            raise OSError(f"{host} has no address of the wanted family")
        return results

    async def close(self) -> None:
        """Nothing is held open."""


class _Refused(OSError):
    def __init__(self, error: PortalError) -> None:
        super().__init__(str(error))
        self.error = error


class _Inflater(Protocol):
    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class EgressSession:
    """HTTP client whose every connection, redirects included, was checked. Use as an async context manager."""

    def __init__(self, limits: EgressLimits) -> None:
        """Keep the limits; the client opens on entering."""
        self.limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        limits = self.limits
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PinnedResolver(), use_dns_cache=False, limit=limits.max_connections, happy_eyeballs_delay=None
            ),
            timeout=aiohttp.ClientTimeout(
                total=limits.total_s, sock_connect=limits.connect_s, sock_read=limits.read_s, connect=limits.total_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "analytics-integration-portal", "Accept-Encoding": "gzip, deflate"},
            max_line_size=16_384,
            max_field_size=16_384,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> EgressResponse:
        """Send one request and read the whole answer, within the session's limits.

        Args:
            method, url, headers, params, body: the request; `params` are added to the first URL only.

        Returns:
            The answer of the last hop, whatever its status.

        Raises:
            EgressDenied: the address or a redirect's address is not allowed, or there are too many redirects.
            HostUnresolved: the host name has no address.
            EgressFailed: no connection, no answer in time, or a broken answer.
            ResponseTooLarge: more than `max_bytes`, also after decompression.
        """
        sent = dict(headers or {})
        if any(character in value for value in sent.values() for character in "\r\n\0"):
            raise EgressDenied("A header value contains a line break.")
        target = check_url(url)
        for _hop in range(self.limits.max_redirects + 1):
            answer, location = await self._send(method, target, sent, params, body)
            if location is None:
                return answer
            params = None
            following = check_url(urljoin(target.url, location))
            if target.scheme == "https" and following.scheme != "https":
                raise EgressDenied("The system redirects from an encrypted to a plain address.", value=following.url)
            if following.origin != target.origin:
                sent = {name: value for name, value in sent.items() if name.lower() in HEADERS_KEPT_ACROSS_ORIGINS}
            if answer.status == 303 or (answer.status in {301, 302} and method == "POST"):
                method, body = "GET", None
            target = following
        raise EgressDenied(f"The system redirects more than {self.limits.max_redirects} times.", value=url)

    async def _send(
        self,
        method: str,
        target: CheckedUrl,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None,
        body: bytes | None,
    ) -> tuple[EgressResponse, str | None]:
        if self._session is None:
            raise RuntimeError("EgressSession is used outside `async with`.")
        try:
            async with self._session.request(
                method, target.url, headers=headers, params=params, data=body, allow_redirects=False
            ) as response:
                follows = response.status in REDIRECTS and self.limits.max_redirects > 0
                location = response.headers.get("Location") if follows else None
                content = b"" if location is not None else await self._read(response)
                return EgressResponse(response.status, response.headers, str(response.url), content), location
        except _Refused as refused:
            raise refused.error from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.__cause__, _Refused):
                raise error.__cause__.error from None
            raise EgressFailed(f"{target.host} cannot be reached: {error}.", value=target.host) from None
        except TimeoutError:
            raise EgressFailed(f"{target.host} did not answer in time.", value=target.host) from None
        except (aiohttp.ClientError, OSError, zlib.error) as error:
            raise EgressFailed(f"{target.host} cannot be reached: {_reason(error)}.", value=target.host) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self.limits.max_bytes
        inflater = _inflater(response.headers.get("Content-Encoding", ""))
        parts: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            pending = chunk
            while pending:
                if inflater is None:
                    piece, pending = pending, b""
                else:
                    # Never asks for more than one byte over the limit, so that a bomb cannot fill the memory.
                    piece = inflater.decompress(pending, limit - size + 1)
                    pending = inflater.unconsumed_tail
                size += len(piece)
                if size > limit and self.limits.truncate:
                    parts.append(piece[: limit - size])
                    return b"".join(parts)
                if size > limit:
                    raise ResponseTooLarge(
                        f"The answer of {response.url.host} is larger than {limit // 1024**2} MB.", limit_bytes=limit
                    )
                parts.append(piece)
        return b"".join(parts)


def open_session(limits: EgressLimits | None = None) -> EgressSession:
    """An HTTP session for outgoing calls; use with `async with`."""
    return EgressSession(limits or EgressLimits())


def _inflater(encoding: str) -> _Inflater | None:
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name in {"gzip", "x-gzip", "deflate"}:
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    raise EgressFailed(f"The answer is encoded as {encoding!r}, which was not asked for.")


def _reason(error: Exception) -> str:
    text = str(getattr(error, "os_error", None) or error) or type(error).__name__
    return text[:200]

"""HTTP calls of one connection: authentication, rate budget, retries. Runs on its own event loop thread.

The engine reads synchronously; aiohttp does not. One loop thread per client bridges the two, and lets the next page be
on its way while the rows of the last one are mapped.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from apps.connectors.exceptions import (
    ConnectorFailed,
    CredentialsRefused,
    EntityGone,
    SystemUnavailable,
    UnreadableInput,
)
from apps.core.clock import now
from apps.core.services.egress import EgressFailed, EgressLimits, EgressResponse, EgressSession, open_session

ResultT = TypeVar("ResultT")

MAX_ATTEMPTS = 5
BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 30.0
RETRIED = {429, 500, 502, 503, 504}
TOKEN_EARLY_S = 30
SHOWN_CHARS = 300


class RestClient:
    """One connection's HTTP calls. Thread-safe: every call runs on the client's own loop."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], *, time_limit_s: float = 0.0) -> None:
        """Keep the settings; nothing is opened before the first call.

        Args:
            config, secrets: of the connection.
            time_limit_s: all calls together end so long from now, waits between attempts included; 0 = no limit.
        """
        self._deadline = time.monotonic() + time_limit_s if time_limit_s else None
        self._config = config
        self._secrets = secrets
        self._base = str(config["base_url"]).rstrip("/") + "/"
        self._interval_s = 1.0 / float(config.get("requests_per_second", 10))
        self._next_slot = 0.0
        self._token: tuple[str, float] | None = None
        self._session: EgressSession | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest-client", daemon=True)
        self._thread.start()
        self._token_lock: asyncio.Lock = self.call(self._make_lock())

    async def _make_lock(self) -> asyncio.Lock:
        return asyncio.Lock()

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Start a coroutine on the client's loop."""
        return asyncio.run_coroutine_threadsafe(self._in_time(work), self._loop)

    async def _in_time(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        if self._deadline is None:
            return await work
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                return await work
        except TimeoutError:
            raise SystemUnavailable(f"{self._base} did not answer within the time that the caller had.") from None

    def call(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the client's loop and wait for it."""
        return self.submit(work).result()

    def close(self) -> None:
        """Close the session and end the loop. Safe to repeat."""
        if self._loop.is_closed():
            return
        if self._session is not None:
            asyncio.run_coroutine_threadsafe(self._session.__aexit__(None, None, None), self._loop).result()
            self._session = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def url(self, path: str) -> str:
        """A path below the base address."""
        return self._base + path.lstrip("/")

    async def get(self, url: str, parameters: Mapping[str, str]) -> EgressResponse:
        """GET with authentication, rate budget and retries; 2xx or an error."""
        return await self.request("GET", url, parameters)

    async def request(
        self,
        method: str,
        url: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> EgressResponse:
        """One call that counts: waits for its slot, repeats what may pass, and turns a refusal into an error.

        Raises:
            CredentialsRefused: 401 or 403.
            EntityGone: 404 or 410.
            ConnectorFailed: any other 4xx; `facts["status"]` and the start of the answer say why.
            SystemUnavailable: 429 or 5xx after all attempts, or no answer.
        """
        content = None if body is None else json.dumps(body, ensure_ascii=False, default=str).encode()
        refreshed = False
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_slot()
            sent, query = await self._authenticated(url, dict(headers or {}), dict(parameters or {}))
            if content is not None:
                sent["Content-Type"] = "application/json"
            try:
                answer = await (await self._open()).request(method, url, headers=sent, params=query, body=content)
            except EgressFailed as error:
                if attempt >= MAX_ATTEMPTS or method == "POST":
                    raise SystemUnavailable(error.message, value=error.value, remedy=error.remedy) from None
                await asyncio.sleep(_backoff_s(attempt))
                continue
            if 200 <= answer.status < 300:
                return answer
            if answer.status == 401 and self._token is not None and not refreshed:
                # The API may end a token before its time; one fresh token is worth one more try.
                self._token, refreshed = None, True
                continue
            if answer.status in RETRIED and attempt < MAX_ATTEMPTS:
                wait_s = _retry_after_s(answer)
                await asyncio.sleep(_backoff_s(attempt) if wait_s is None else wait_s)
                continue
            raise _refusal(answer)

    async def _open(self) -> EgressSession:
        if self._session is None:
            limits = EgressLimits(
                total_s=float(self._config.get("timeout_s", 60)),
                max_bytes=int(self._config.get("max_response_mb", 64)) * 1024**2,
            )
            self._session = await open_session(limits).__aenter__()
        return self._session

    async def _wait_for_slot(self) -> None:
        """Spread the calls evenly: each takes the next free slot of the budget."""
        moment = time.monotonic()
        slot = max(moment, self._next_slot)
        self._next_slot = slot + self._interval_s
        if slot > moment:
            await asyncio.sleep(slot - moment)

    async def _authenticated(
        self, url: str, headers: dict[str, str], query: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and query with credentials, which never leave the base address's origin."""
        headers.setdefault("Accept", "application/json")
        if _origin(url) != _origin(self._base):
            return headers, query
        method = self._config.get("auth", "none")
        name = self._config.get("auth_name") or "X-API-Key"
        if method == "api_key_header":
            headers[name] = self._secret("api_key")
        elif method == "api_key_query":
            query[name] = self._secret("api_key")
        elif method == "basic":
            pair = f"{self._config.get('user', '')}:{self._secret('password')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif method == "bearer":
            headers["Authorization"] = "Bearer " + self._secret("token")
        elif method == "oauth2_client_credentials":
            headers["Authorization"] = "Bearer " + await self._access_token()
        return headers, query

    def _secret(self, name: str) -> str:
        value = self._secrets.get(name, "")
        if not value:
            raise CredentialsRefused(
                f"The connection has no {name.replace('_', ' ')}.", field=f"secrets.{name}", remedy="Enter it and save."
            )
        return value

    async def _access_token(self) -> str:
        """A token that lives for a while yet; concurrent callers wait for one exchange."""
        async with self._token_lock:
            if self._token is not None and self._token[1] > time.monotonic():
                return self._token[0]
            url = str(self._config.get("token_url", ""))
            form = {"grant_type": "client_credentials", "client_id": str(self._config.get("user", ""))}
            form["client_secret"] = self._secret("client_secret")
            if self._config.get("scope"):
                form["scope"] = str(self._config["scope"])
            answer = await (await self._open()).request(
                "POST",
                url,
                headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                body=urlencode(form).encode(),
            )
            document = _json(answer) if answer.status < 400 else {}
            token = document.get("access_token") if isinstance(document, Mapping) else None
            if not token:
                raise CredentialsRefused(
                    f"The token address answered {answer.status} and gave no token.",
                    field="token_url",
                    value=url,
                    remedy="Check the client id, the client secret and the scope.",
                )
            lifetime_s = float(document.get("expires_in", 300))
            self._token = (str(token), time.monotonic() + max(lifetime_s - TOKEN_EARLY_S, lifetime_s / 2))
            return self._token[0]


def read_json(answer: EgressResponse) -> Any:
    """The body of an answer as JSON.

    Raises:
        UnreadableInput: it is something else; the start of it is shown.
    """
    return _json(answer)


def _json(answer: EgressResponse) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "no content type")
        raise UnreadableInput(
            f"The API answered with {kind}, not with JSON.",
            value=answer.body[:SHOWN_CHARS].decode("utf-8", "replace"),
            remedy="Check the address; a log-in page or an error page often stands there.",
        ) from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _backoff_s(attempt: int) -> float:
    return min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (attempt - 1)) * random.uniform(0.8, 1.2)


def _retry_after_s(answer: EgressResponse) -> float | None:
    given = answer.headers.get("Retry-After", "")
    if given.isdigit():
        return min(float(given), BACKOFF_CAP_S)
    try:
        return min(max((parsedate_to_datetime(given) - now()).total_seconds(), 0.0), BACKOFF_CAP_S)
    except (TypeError, ValueError):
        return None


def _refusal(answer: EgressResponse) -> Exception:
    shown = answer.body[:SHOWN_CHARS].decode("utf-8", "replace").strip()
    address = answer.url.partition("?")[0]
    if answer.status in {401, 403}:
        return CredentialsRefused(f"The API answered {answer.status} to {address}.", answer=shown)
    if answer.status in {404, 410}:
        return EntityGone(f"The API has nothing at {address} ({answer.status}).", value=address, answer=shown)
    if answer.status in RETRIED:
        return SystemUnavailable(f"The API answered {answer.status} to {address}, {MAX_ATTEMPTS} times.", answer=shown)
    return ConnectorFailed(
        f"The API answered {answer.status} to {address}.",
        remedy="The API's own words are in `answer`; correct the resource's settings.",
        answer=shown,
        answer_status=answer.status,
    )

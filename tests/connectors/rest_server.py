"""A small HTTP API that speaks every paging and authentication style, for tests: real sockets, real JSON."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

INVOICES = [
    {
        "id": number,
        "number": f"INV-{number:04}",
        "total": f"@{number}.10",
        "paid": number % 2 == 0,
        "customer": {"id": number % 7, "name": f"Customer {number % 7}"},
        "lines": [{"item": "A", "amount": f"@{number}.05"}],
        "updated_at": f"2026-01-{1 + number % 28:02}T00:00:00Z",
    }
    for number in range(1, 251)
]


class ApiServer:
    """The API's state: what it was asked, what it holds, how it misbehaves."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[web.Request] = []
        self.written: dict[str, Any] = {}
        self.keys: list[str] = []
        self.failures: list[int] = []
        self.retry_after = "0"
        self.token_requests = 0
        self.valid_tokens: set[str] = set()

    @property
    def base_url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def body(self, value: Any) -> web.Response:
        """JSON in which amounts are numbers with a fraction, as an ERP would write them."""
        import json
        import re

        return web.Response(text=re.sub(r'"@([0-9.]+)"', r"\1", json.dumps(value)), content_type="application/json")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One door for every request, so that each is counted and can be made to fail."""
        self.requests.append(request)
        if self.failures:
            return web.Response(status=self.failures.pop(0), headers={"Retry-After": self.retry_after}, text="not now")
        name = request.path.removeprefix("/v1/").partition("/")[0]
        route = getattr(self, f"get_{name}" if request.method == "GET" else f"send_{name}", None)
        return await route(request) if route else web.Response(status=404, text="no such resource")

    async def get_plain(self, request: web.Request) -> web.Response:
        """Everything in one answer."""
        del request
        return self.body(INVOICES)

    async def get_page(self, request: web.Request) -> web.Response:
        """`?page=&size=`."""
        page, size = int(request.query["page"]), int(request.query["size"])
        return self.body({"data": {"items": INVOICES[(page - 1) * size : page * size]}})

    async def get_offset(self, request: web.Request) -> web.Response:
        """`?offset=&limit=`."""
        start, size = int(request.query["offset"]), int(request.query["limit"])
        return self.body(INVOICES[start : start + size])

    async def get_cursor(self, request: web.Request) -> web.Response:
        """`?after=`, next cursor in the body."""
        start = int(request.query.get("after", "0"))
        end = start + 100
        return self.body({"rows": INVOICES[start:end], "meta": {"next": str(end) if end < len(INVOICES) else None}})

    async def get_headercursor(self, request: web.Request) -> web.Response:
        """`?after=`, next cursor in a header."""
        start = int(request.query.get("after", "0"))
        response = self.body(INVOICES[start : start + 100])
        if start + 100 < len(INVOICES):
            response.headers["X-Next"] = str(start + 100)
        return response

    async def get_link(self, request: web.Request) -> web.Response:
        """RFC 8288 Link header."""
        start = int(request.query.get("start", "0"))
        response = self.body(INVOICES[start : start + 100])
        if start + 100 < len(INVOICES):
            response.headers["Link"] = f'<{self.base_url}/link?start={start + 100}>; rel="next", <x>; rel="last"'
        return response

    async def get_nexturl(self, request: web.Request) -> web.Response:
        """Address of the next page in the body, relative."""
        start = int(request.query.get("start", "0"))
        following = f"/v1/nexturl?start={start + 100}" if start + 100 < len(INVOICES) else None
        return self.body({"rows": INVOICES[start : start + 100], "next": following})

    async def get_loop(self, request: web.Request) -> web.Response:
        """An API that always names itself as the next page."""
        del request
        return self.body({"rows": INVOICES[:1], "next": "/v1/loop"})

    async def get_changes(self, request: web.Request) -> web.Response:
        """Filters by day only, as many APIs do: the caller must look again."""
        since = request.query.get("since", "")[:10]
        return self.body([one for one in INVOICES if one["updated_at"][:10] >= since])

    async def get_uneven(self, request: web.Request) -> web.Response:
        """600 records; one after the sample does not fit what the sample showed."""
        del request
        rows = [{"id": number, "amount": "@1.5"} for number in range(600)]
        rows[550] = {"id": "not a number", "amount": "@1.5"}
        rows[560] = {"id": 560, "amount": "@0.123456789"}
        return self.body(rows)

    async def get_html(self, request: web.Request) -> web.Response:
        """A log-in page where JSON was expected."""
        del request
        return web.Response(text="<html>Please sign in</html>", content_type="text/html")

    async def get_guarded(self, request: web.Request) -> web.Response:
        """Answers to any one of the accepted credentials."""
        given = request.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(b"reader:s3cret").decode()
        accepted = (
            request.headers.get("X-API-Key") == "s3cret"
            or request.query.get("key") == "s3cret"
            or given in {basic, "Bearer s3cret"}
            or given.removeprefix("Bearer ") in self.valid_tokens
        )
        return self.body(INVOICES[:3]) if accepted else web.Response(status=401, text="who are you?")

    async def send_token(self, request: web.Request) -> web.Response:
        """OAuth2 client credentials."""
        form = await request.post()
        self.token_requests += 1
        await asyncio.sleep(0.05)
        if form.get("client_secret") != "s3cret":
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"token-{self.token_requests}"
        self.valid_tokens = {token}
        return web.json_response({"access_token": token, "expires_in": 3600})

    async def send_orders(self, request: web.Request) -> web.Response:
        """Stores records; honours idempotency keys; refuses negative totals."""
        key = request.headers["Idempotency-Key"]
        if key in self.written:
            return self.body({"ok": True, "again": True})
        document = await request.json()
        records = document if isinstance(document, list) else [document]
        if any(float(record["total"]) < 0 for record in records):
            return web.Response(status=422, text="total must not be negative")
        self.keys.append(key)
        self.written[key] = (request.method, request.path, document)
        return self.body({"ok": True})


@contextmanager
def serve() -> Iterator[ApiServer]:
    """The API on a free port of this machine, in a thread of its own."""
    api = ApiServer()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    runner = web.AppRunner(app, access_log=None)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.port = runner.addresses[0][1]
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)

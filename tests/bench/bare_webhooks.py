"""What webhook ingest costs without a portal: a bare ASGI endpoint, unsigned, with an INSERT each or grouped."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

TABLE = "CREATE TABLE IF NOT EXISTS bare_hook (id uuid PRIMARY KEY, message_id text UNIQUE, body bytea, data jsonb)"
ONE = "INSERT INTO bare_hook VALUES (%s, %s, %s, %s::text::jsonb) ON CONFLICT (message_id) DO NOTHING"
MANY = """
    INSERT INTO bare_hook SELECT id, message_id, body, data::jsonb
    FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::text[]) AS given(id, message_id, body, data)
    ON CONFLICT (message_id) DO NOTHING
"""


async def _read(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _accept(send: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _row(scope: Any, body: bytes) -> tuple[uuid.UUID, str, bytes, str]:
    message_id = next(value for name, value in scope["headers"] if name == b"webhook-id")
    return uuid.uuid4(), message_id.decode(), body, body.decode()


class OneInsert:
    """An INSERT and a commit for each request, from a pool of 32 connections."""

    def __init__(self) -> None:
        self._pool: AsyncConnectionPool | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._pool is None:
            pool = self._pool = AsyncConnectionPool(
                os.environ["DATABASE_URL"], min_size=32, max_size=32, open=False, kwargs={"autocommit": True}
            )
            await pool.open()
        row = _row(scope, await _read(receive))
        async with self._pool.connection() as connection:
            await connection.execute(ONE, row)
        await _accept(send)


class Grouped:
    """Requests that gather during a commit share the next one."""

    def __init__(self) -> None:
        self._pending: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        row = _row(scope, await _read(receive))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((row, future))
        self._wake.set()
        await future
        await _accept(send)

    async def _write(self) -> None:
        connection = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            if batch:
                await connection.execute(
                    MANY, [list(column) for column in zip(*(row for row, _ in batch), strict=True)]
                )
                for _, future in batch:
                    future.set_result(None)


class Receiver:
    """The customer's side of outgoing webhooks: notes how late each event is, and tells when asked with GET."""

    def __init__(self) -> None:
        self._lags: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await _read(receive)
        answer = b""
        if scope["method"] == "GET":
            answer = json.dumps(self._lags).encode()
        else:
            data = json.loads(body)["data"]
            if data["number"] >= 0:
                self._lags.append(time.time() - data["sent_at"])
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


receiver = Receiver()
one_insert = OneInsert()
grouped = Grouped()

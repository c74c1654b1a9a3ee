"""Bodies are bounded before anything is written to disk."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from apps.portal.body_limit import OTHER_MAX_BYTES, BodyLimit

UPLOADS = f"/api/v2/connections/{uuid4()}/uploads"


def ask(
    path: str, *, announced: int | None = None, chunks: list[bytes] | None = None
) -> tuple[int, dict[str, Any], int]:
    """Status, document, and how many bytes the application was given."""
    sent: list[dict[str, Any]] = []
    waiting = list(chunks or [b""])
    taken = 0

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        more = True
        while more:
            message = await receive()
            taken += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> dict[str, Any]:
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if announced is None else [(b"content-length", str(announced).encode())]
    asyncio.run(BodyLimit(application)({"type": "http", "path": path, "headers": headers}, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), taken


def test_two_gigabytes_are_refused_before_a_byte_is_taken() -> None:
    status, problem, taken = ask(UPLOADS, announced=2 * 1024**3 + 100_000, chunks=[b"x"])
    assert (status, taken) == (413, 0)
    assert problem["code"] == "connectors.upload_too_large"
    assert "2,048 MB" in problem["detail"]
    assert problem["remedy"]


@pytest.mark.parametrize(("path", "status"), [(UPLOADS, 200), ("/api/v2/flows", 413)], ids=["upload", "other"])
def test_a_body_of_unknown_size_is_counted_while_it_arrives(path: str, status: int) -> None:
    chunks = [b"x" * 1024**2] * (OTHER_MAX_BYTES // 1024**2 + 2)
    answered, _problem, taken = ask(path, chunks=chunks)
    assert answered == status
    assert taken <= len(chunks) * 1024**2 if status == 200 else taken <= OTHER_MAX_BYTES

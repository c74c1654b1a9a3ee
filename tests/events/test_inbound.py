"""/hooks/: taken webhooks are committed before the 202, once; everything else is refused and stored nowhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from apps.core.clock import now
from apps.events.api.inbound import InboundWebhooks
from apps.events.models import Event, InboundEndpoint, InboundMessage
from apps.events.services import inbound_endpoints, inbound_intake
from apps.events.services.inbound_intake import endpoint_cache, intake
from apps.events.services.signatures import build_headers
from apps.tenancy.services.context import tenant_context
from tests.events.hooks import SYSTEM, eventually

pytestmark = pytest.mark.committed


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def request(
    application: Any, path: str, body: bytes, headers: list[tuple[str, str]], *, method: str = "POST", chunk: int = 0
) -> Answer:
    """One request through the ASGI application."""
    parts = [body[i : i + chunk] for i in range(0, len(body), chunk)] if chunk else [body]
    messages = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await application({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], found, sent[1]["body"])


def run(work: Any) -> Any:
    """A loop of its own, whose writer is closed at the end."""

    async def whole() -> Any:
        try:
            return await work
        finally:
            await intake.close()

    return asyncio.run(whole())


async def nowhere(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"inner"})


@dataclass
class Door:
    """An endpoint of acme with its secret, and ways to knock."""

    row: InboundEndpoint
    secret: str
    application: InboundWebhooks
    host: str = "acme.localhost"

    @property
    def path(self) -> str:
        return f"/hooks/{self.row.public_id}"

    def headers(self, body: bytes, message_id: str, *, at: float | None = None, secret: str = "") -> list[Any]:
        signed = build_headers(
            [secret or self.secret], message_id=message_id, timestamp=int(at or time.time()), body=body
        )
        return [("host", self.host), ("content-type", "application/json"), *signed.items()]

    def knock(self, body: bytes = b'{"a": 1}', message_id: str = "", **options: Any) -> Answer:
        headers = options.pop("headers", None) or self.headers(body, message_id or str(uuid4()))
        return run(request(self.application, options.pop("path", self.path), body, headers, **options))

    def messages(self) -> int:
        return InboundMessage.objects.filter(endpoint=self.row).count()

    def events(self) -> list[Event]:
        return list(Event.objects.filter(subject=f"webhook/{self.row.id}").order_by("arrival"))


@pytest.fixture
def door(committed_acme: Any) -> Iterator[Door]:
    endpoint_cache.clear()
    with tenant_context(committed_acme):
        row, secret = inbound_endpoints.create_endpoint(f"door {uuid4()}", scheme="standard-webhooks", actor=SYSTEM)
        assert secret is not None
        yield Door(row, secret, InboundWebhooks(nowhere))
        inbound_endpoints.archive_endpoint(row.id, actor=SYSTEM)


def test_a_signed_webhook_is_committed_before_the_answer(door: Door) -> None:
    body = '{"amount": 12345678901234567890.10, "name": "Zoë"}'.encode()
    answer = door.knock(body, "m1")

    assert (answer.status, json.loads(answer.body)) == (202, {"status": "accepted"})
    [event] = door.events()
    message = InboundMessage.objects.get(endpoint=door.row)
    assert bytes(message.body) == body
    assert message.event_id == event.id
    assert event.type == "com.analytics-portal.webhook.received.v1"
    assert event.data["message_id"] == "m1"
    assert event.data["body"]["name"] == "Zoë"
    exact = Event.objects.filter(id=event.id).extra(select={"t": "data->'body'->>'amount'"}).values_list("t", flat=True)
    assert list(exact) == ["12345678901234567890.10"]


def test_a_message_id_is_taken_once(door: Door) -> None:
    answers = [door.knock(message_id="same") for _ in range(3)]

    assert [json.loads(answer.body)["status"] for answer in answers] == ["accepted", "duplicate", "duplicate"]
    assert {answer.status for answer in answers} == {202}
    assert len(door.events()) == door.messages() == 1


def test_concurrent_requests_share_commits_and_duplicates_among_them_publish_once(door: Door) -> None:
    async def burst() -> list[Answer]:
        bodies = [json.dumps({"n": number}).encode() for number in range(200)]
        return await asyncio.gather(
            *(
                request(door.application, door.path, body, door.headers(body, f"b{index // 2}"))
                for index, body in enumerate(bodies)
            )
        )

    answers = run(burst())

    assert {answer.status for answer in answers} == {202}
    assert len(door.events()) == door.messages() == 100


@pytest.mark.parametrize(
    "change",
    [
        lambda door, body: {"headers": door.headers(body, "x", at=time.time() - 301)},  # stale
        lambda door, body: {"headers": door.headers(body, "x", at=time.time() + 302)},  # of the future
        lambda door, body: {"headers": door.headers(body, "x")[:-1]},  # no signature
        lambda door, body: {"headers": [*door.headers(body, "x"), ("webhook-id", "y")]},  # a header twice
        lambda door, body: {"headers": door.headers(body, "x", secret="whsec_" + "B" * 40)},  # another secret
        lambda door, body: {"headers": door.headers(body.replace(b" ", b""), "x")},  # written again
        lambda door, body: {"headers": [*door.headers(body, "x"), ("content-encoding", "gzip")]},
    ],
)
def test_what_is_not_signed_as_expected_is_401_and_stored_nowhere(door: Door, change: Any) -> None:
    body = b'{"a": 1}'
    answer = door.knock(body, **change(door, body))

    assert answer.status == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.body)["code"] == "events.signature_refused"
    assert door.secret not in answer.body.decode()
    assert (door.messages(), door.events()) == (0, [])


def test_refusals_are_counted(door: Door) -> None:
    for _ in range(3):
        door.knock(headers=door.headers(b"other", "x"))
    eventually(lambda: InboundEndpoint.objects.get(id=door.row.id).rejected == 3)
    assert "match" in InboundEndpoint.objects.get(id=door.row.id).last_rejection


def test_another_tenants_host_and_secret_open_nothing(door: Door, committed_globex: Any) -> None:
    with tenant_context(committed_globex):
        other, foreign = inbound_endpoints.create_endpoint(f"g {uuid4()}", scheme="standard-webhooks", actor=SYSTEM)
    body = b'{"a": 1}'
    assert door.knock(body, headers=door.headers(body, "x", secret=foreign)).status == 401
    elsewhere = [("host", "globex.localhost"), *door.headers(body, "x")[1:]]
    assert door.knock(body, headers=elsewhere).status == 404
    assert door.knock(body, path=f"/hooks/{other.public_id}").status == 404
    for host in ("localhost", "unknown.localhost", "127.0.0.1"):
        assert door.knock(body, headers=[("host", host), *door.headers(body, "x")[1:]]).status == 404
    assert door.messages() == 0
    with tenant_context(committed_globex):
        assert InboundMessage.objects.filter(endpoint=other).count() == 0
        inbound_endpoints.archive_endpoint(other.id, actor=SYSTEM)


def test_a_body_has_a_limit_whether_it_says_so_or_not(door: Door) -> None:
    body = b'"' + b"x" * (256 * 1024) + b'"'
    headers = door.headers(body, "big")
    assert door.knock(body, headers=[*headers, ("content-length", str(len(body)))]).status == 413
    assert door.knock(body, headers=headers, chunk=50_000).status == 413
    assert door.messages() == 0


def test_a_body_too_large_for_an_event_is_kept_with_the_message(door: Door) -> None:
    body = b'"' + b"x" * 100_000 + b'"'
    assert door.knock(body, chunk=30_000).status == 202
    [event] = door.events()
    assert (event.data["truncated"], event.data["body"]) == (True, None)
    assert bytes(InboundMessage.objects.get(endpoint=door.row).body) == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ""),
        (b"plain text", "plain text"),
        (b"\xff\x00\xfe", "\ufffd\ufffd\ufffd"),
        (b'{"a": NaN}', '{"a": NaN}'),
        (b'{"a": "\\u0000b"}', {"a": "\ufffdb"}),
        (b'{"a": "\\ud800"}', {"a": "?"}),
        (b"[" * 50_000, "[" * 50_000),
        (b'{"a": 1e999999}', None),
    ],
)
def test_any_body_is_taken(door: Door, body: bytes, expected: Any) -> None:
    assert door.knock(body).status == 202
    [event] = door.events()
    assert event.data["body"] == expected


def test_escapes_cost_no_digit(door: Door) -> None:
    assert door.knock(b'{"name": "Gr\\u00fc\\u00dfe", "total": 0.10000000000000000001}').status == 202
    [event] = Event.objects.filter(id=door.events()[0].id).extra(select={"total": "data->'body'->>'total'"})
    assert (event.total, event.data["body"]["name"]) == ("0.10000000000000000001", "Gr\u00fc\u00dfe")


def test_one_unreadable_body_does_not_hold_up_its_group(door: Door) -> None:
    async def burst() -> list[Answer]:
        bodies = [b'{"a": 1e999999}' if number == 3 else b'{"a": 1}' for number in range(10)]
        return await asyncio.gather(
            *(request(door.application, door.path, body, door.headers(body, f"u{i}")) for i, body in enumerate(bodies))
        )

    assert {answer.status for answer in run(burst())} == {202}
    assert [event.data["truncated"] for event in door.events()].count(True) == 1


def test_a_database_that_is_away_is_503_and_nothing_was_taken(door: Door, monkeypatch: Any) -> None:
    door.knock(message_id="before")
    monkeypatch.setattr(inbound_intake, "_STORE", "SELECT pg_terminate_backend(pg_backend_pid())")
    answer = door.knock(message_id="during")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    monkeypatch.undo()
    assert door.knock(message_id="during").status == 202
    assert door.messages() == 2


def test_paused_and_archived_endpoints(door: Door) -> None:
    inbound_endpoints.update_endpoint(door.row.id, status="paused", actor=SYSTEM)
    endpoint_cache.clear()
    assert door.knock().status == 503
    inbound_endpoints.update_endpoint(door.row.id, status="active", actor=SYSTEM)
    endpoint_cache.clear()
    assert door.knock().status == 202


def test_a_rotation_takes_both_secrets_until_the_overlap_ends(door: Door) -> None:
    row, new = inbound_endpoints.rotate_endpoint_secret(door.row.id, overlap=timedelta(hours=1), actor=SYSTEM)
    endpoint_cache.clear()
    body = b"{}"
    assert door.knock(body).status == 202
    assert door.knock(body, headers=door.headers(body, "n1", secret=new)).status == 202
    row.signing_keys[1]["expires_at"] = (now() - timedelta(seconds=1)).isoformat()
    InboundEndpoint.objects.filter(id=row.id).update(signing_keys=row.signing_keys)
    endpoint_cache.clear()
    assert door.knock(body).status == 401
    assert door.knock(body, headers=door.headers(body, "n2", secret=new)).status == 202


def test_slacks_question_is_answered_and_publishes_nothing(door: Door) -> None:
    import hashlib
    import hmac

    row, _ = inbound_endpoints.create_endpoint(
        f"slack {uuid4()}", scheme="slack", secret="0123456789abcdef0123", actor=SYSTEM
    )
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB"}).encode()
    at = str(int(time.time()))
    signature = hmac.new(b"0123456789abcdef0123", f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = [("host", door.host), ("x-slack-request-timestamp", at), ("x-slack-signature", f"v0={signature}")]
    answer = door.knock(body, path=f"/hooks/{row.public_id}", headers=headers)
    assert (answer.status, answer.body) == (200, b"3eZbrw1aB")
    assert InboundMessage.objects.filter(endpoint=row).count() == 0


def test_other_addresses_and_methods(door: Door) -> None:
    assert door.knock(path="/overview").body == b"inner"
    assert door.knock(method="GET").status == 405
    for path in ("/hooks/", "/hooks/nothing", "/hooks/..%2f", f"{door.path}/x"):
        assert door.knock(path=path).status == 404


def test_too_many_waiting_are_told_to_come_again(door: Door, monkeypatch: Any) -> None:
    monkeypatch.setattr(inbound_intake, "MAX_PENDING", 0)
    assert door.knock().status == 503
    assert door.messages() == 0


def test_endpoints_and_messages_over_rest(door: Door, committed_acme: Any, committed_globex: Any, api_for: Any) -> None:
    door.knock(b'{"secret": "body"}', "rest")
    client = api_for(committed_acme)
    made = client.post(
        "/api/v2/webhook-endpoints", {"name": f"n {uuid4()}", "scheme": "github", "secret": "x" * 20}, format="json"
    ).json()
    assert made["secret"] is None
    assert "x" * 20 not in json.dumps(made)
    bad = {"name": "n", "scheme": "standard-webhooks", "event_type": "run.completed.v1"}
    assert client.post("/api/v2/webhook-endpoints", bad, format="json").status_code == 422
    assert client.post("/api/v2/webhook-endpoints", {"name": "n", "scheme": "stripe"}, format="json").status_code == 422
    address = f"/api/v2/webhook-endpoints/{made['id']}"
    assert client.patch(address, {"status": "paused"}, format="json").json()["status"] == "paused"
    own = client.patch(address, {"event_type": "com.acme.pushed.v1"}, format="json").json()
    assert own["event_type"] == "com.acme.pushed.v1"
    listed = client.get("/api/v2/webhook-messages", {"endpoint": str(door.row.id)}).json()["results"]
    assert "body" not in listed[0]
    message = f"/api/v2/webhook-messages/{listed[0]['id']}"
    assert client.get(message).json()["body"] == '{"secret": "body"}'
    assert api_for(committed_acme, permissions=("webhook:view",)).get(message).status_code == 403
    stranger = api_for(committed_globex)
    assert stranger.get(message).status_code == stranger.get(address).status_code == 404
    assert stranger.patch(address, {"status": "active"}, format="json").status_code == 404
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404

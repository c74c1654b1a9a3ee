"""A burst of webhooks with duplicates, forgeries and a killed web process: what was taken is there, once (W3)."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from apps.core.ids import uuid7
from apps.events.models import Event, InboundEndpoint, InboundMessage, Subscription
from apps.events.services import inbound_endpoints
from apps.events.services.signatures import build_headers
from apps.tenancy.models import Tenant
from tests.chaos.conftest import Chaos
from tests.chaos.load import wait_for
from tests.chaos.nursery import Grown, Nursery
from tests.engine.factories import SYSTEM
from tests.engine.systems import execute, unique_name
from tests.processes import free_port

CONNECTIONS = 32
pytestmark = [pytest.mark.committed]
LONG = pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.slow])


@dataclass
class Sender:
    """A system that sends webhooks, and again until they are answered."""

    port: int
    requests: list[tuple[str, bool, bytes]]
    """Message id, whether the signature is good, the request."""
    per_s: float = 0.0
    acked: list[str] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    costs_s: list[float] = field(default_factory=list)
    refused: int = 0
    _next: int = 0

    def send(self) -> float:
        """All of it; returns how long it took."""
        began = time.perf_counter()
        asyncio.run(self._send(began))
        return time.perf_counter() - began

    async def _send(self, began: float) -> None:
        await asyncio.gather(*(self._client(began) for _ in range(CONNECTIONS)))

    async def _client(self, began: float) -> None:
        reader = writer = None
        while self._next < len(self.requests):
            place = self._next
            self._next += 1
            if self.per_s:
                await asyncio.sleep(max(0.0, began + place / self.per_s - time.perf_counter()))
            while True:
                try:
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    await self._ask(reader, writer, *self.requests[place])
                    break
                except (OSError, asyncio.IncompleteReadError):
                    self.unanswered.add(self.requests[place][0])
                    if writer is not None:
                        writer.close()
                    writer = None
                    await asyncio.sleep(0.05)
        if writer is not None:
            writer.close()

    async def _ask(self, reader: Any, writer: Any, message_id: str, good: bool, request: bytes) -> None:
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(head.split(b" ", 2)[1])
        self.costs_s.append(time.perf_counter() - began)
        if status == 202 and good:
            self.acked.append(message_id)
        elif status == 401 and not good:
            self.refused += 1
        elif status == 503:
            raise OSError("come again")
        else:
            self.wrong.append(f"{message_id} with a {'good' if good else 'bad'} signature was answered {status}")


class Door:
    """An endpoint, the web process before it, and a consumer of its events behind it."""

    def __init__(self, nursery: Nursery, plant: str) -> None:
        row, secret = inbound_endpoints.create_endpoint(f"burst {uuid7()}", scheme="standard-webhooks", actor=SYSTEM)
        assert secret is not None
        self.row: InboundEndpoint = row
        self.secret, self.nursery, self.plant, self.port = secret, nursery, plant, free_port()
        self.table = f"public.{unique_name('hooked')}"
        execute(
            f"CREATE TABLE {self.table} (at bigint GENERATED ALWAYS AS IDENTITY, consumer int, key text, number text)"
        )
        execute(f"GRANT INSERT, SELECT ON {self.table} TO PUBLIC")

    def serve(self) -> Grown:
        """The web process, once it listens."""
        grown = self.nursery.grow("web", port=self.port, plant=self.plant)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for(listens, "the web process")
        return grown

    def requests(self, count: int, chaos: Chaos) -> list[tuple[str, bool, bytes]]:
        """Signed ones, a tenth of them twice, and forged ones between them."""
        made = []
        for number in range(count):
            dice = chaos.dice.random()
            if dice < 0.1 and made:
                made.append(chaos.dice.choice([one for one in made[-200:] if one[1]] or made[:1]))
                continue
            body = json.dumps({"id": number, "amount": "120.50", "lines": ["x" * 40] * 4}).encode()
            message_id, good = f"m{number}", dice >= 0.15
            secret = self.secret if good else "whsec_" + "B" * 40
            signed = build_headers([secret], message_id=message_id, timestamp=int(time.time()), body=body)
            lines = [f"POST /hooks/{self.row.public_id} HTTP/1.1", "host: acme.localhost"]
            lines += ["content-type: application/json", *(f"{name}: {value}" for name, value in signed.items())]
            head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""])
            made.append((message_id, good, head.encode() + body))
        return made

    def tell(self, chaos: Chaos) -> None:
        """What is stored, published and consumed."""
        history = chaos.history
        stored = InboundMessage.objects.filter(endpoint=self.row).values_list("message_id", flat=True)
        history.seen(list(stored), by="stored")
        events = Event.objects.filter(subject=f"webhook/{self.row.id}").values_list("data__message_id", flat=True)
        history.seen(list(events), by="published")
        history.seen([number for (number,) in execute(f"SELECT number FROM {self.table}")], by="consumed")


@pytest.fixture
def doors(quiet_broker: None, committed_acme: Tenant, nursery: Nursery) -> Iterator[Any]:
    """Makes endpoints of acme."""
    made: list[Door] = []

    def make(plant: str = "") -> Door:
        made.append(Door(nursery, plant))
        return made[-1]

    yield make
    nursery.clear()
    for door in made:
        inbound_endpoints.archive_endpoint(door.row.id, actor=SYSTEM)
        Subscription.objects.filter(name__startswith=f"chaos.{door.table.rpartition('.')[2]}").delete()
        execute(f"DROP TABLE {door.table}")


def burst(door: Door, nursery: Nursery, chaos: Chaos, count: int, per_s: float) -> tuple[Sender, float]:
    """The burst, with one kill in the middle of it."""
    web = door.serve()
    sender = Sender(door.port, door.requests(count, chaos), per_s)
    kill_at = int(count * chaos.dice.uniform(0.3, 0.7))

    async def kill() -> None:
        nonlocal web
        while len(sender.costs_s) < kill_at:
            await asyncio.sleep(0.002)
        web.kill()
        nursery.grow("web", port=door.port, plant=door.plant)

    send = sender._send

    async def both(began: float) -> None:
        await asyncio.gather(send(began), kill())

    sender._send = both  # type: ignore[method-assign]
    took_s = sender.send()
    for problem in sender.wrong:
        chaos.history.say(problem)
    chaos.history.acked(*sender.acked)
    chaos.history.unknown(*sender.unanswered)
    return sender, took_s


@pytest.mark.parametrize("form", ["short", LONG])
def test_what_was_acknowledged_is_there_once(doors: Any, nursery: Nursery, chaos: Chaos, form: str) -> None:
    door = doors()
    nursery.grow("relay", table=door.table, subject=f"webhook/{door.row.id}", consumers=1)
    name = f"chaos.{door.table.rpartition('.')[2]}.0"
    wait_for(Subscription.objects.filter(name=name).exists, "the consumer")
    count = chaos.size(500, 10_000)
    sender, took_s = burst(door, nursery, chaos, count, 1000.0 if chaos.long else 0.0)
    good = {message_id for message_id, good, _ in sender.requests if good}
    assert set(sender.acked) == good, "every good one was acknowledged in the end"
    assert sender.refused >= sum(not good for _, good, _ in sender.requests)
    consumed = f"SELECT count(*) FROM {door.table}"
    wait_for(lambda: execute(consumed)[0][0] >= len(good), "the consumer", timeout_s=120, every_s=0.1)
    time.sleep(0.2)  # whatever comes twice
    door.tell(chaos)
    costs = sorted(sender.costs_s)
    chaos.report(
        requests=count,
        refused=sender.refused,
        unanswered=len(sender.unanswered),
        burst_s=round(took_s, 1),
        ack_p50_ms=round(costs[len(costs) // 2] * 1000),
        ack_p99_ms=round(costs[int(len(costs) * 0.99)] * 1000),
    )
    chaos.check()


def test_an_answer_before_the_commit_is_caught(doors: Any, nursery: Nursery, chaos: Chaos) -> None:
    door = doors("answer first")
    burst(door, nursery, chaos, 300, 0.0)
    stored = InboundMessage.objects.filter(endpoint=door.row)
    before = -1
    while before != (before := stored.count()):
        time.sleep(0.5)
    door.tell(chaos)
    chaos.must_say("lost m")

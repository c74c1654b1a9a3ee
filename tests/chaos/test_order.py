"""Many keys, late commits, rollbacks, consumers behind a killed relay: no gap, no inversion (E2, E6)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.core.ids import uuid7
from apps.events.models import ParkedEvent, Subscription
from apps.events.services.redrive import redrive_events
from apps.tenancy.models import Tenant
from tests.chaos.conftest import Chaos
from tests.chaos.history import History
from tests.chaos.load import wait_for
from tests.chaos.nursery import Nursery
from tests.engine.factories import SYSTEM
from tests.engine.systems import execute, unique_name

pytestmark = [pytest.mark.committed]
LONG = pytest.param("long", marks=[pytest.mark.chaos, pytest.mark.slow])


class Log:
    """Keys with numbers, their producers, and what consumers wrote into a table."""

    def __init__(self, tenant: Tenant, nursery: Nursery, folder: Path) -> None:
        self.tenant, self.nursery, self.folder = tenant, nursery, folder
        self.subject, self.table = f"chaos-{uuid7()}", f"public.{unique_name('seen')}"
        self.answers: list[Path] = []
        self.poison = folder / "poison"
        execute(
            f"CREATE TABLE {self.table} (at bigint GENERATED ALWAYS AS IDENTITY, consumer int, key text, number text)"
        )
        execute(f"GRANT INSERT, SELECT ON {self.table} TO PUBLIC")

    def name_of(self, consumer: int) -> str:
        return f"chaos.{self.table.rpartition('.')[2]}.{consumer}"

    def relay(self, consumers: int) -> Any:
        """A relay with so many consumers; the first one does not get over one event as long as the poison is there."""
        return self.nursery.grow(
            "relay", table=self.table, subject=self.subject, consumers=consumers, poison=str(self.poison)
        )

    def wait_for_consumers(self, consumers: int) -> None:
        """Until each has an offset; later events are theirs."""
        names = [self.name_of(number) for number in range(consumers)]
        there = Subscription.objects.filter(name__in=names)
        wait_for(lambda: there.count() == consumers, "the consumers")

    def produce(self, keys: int, each: int, producers: int, seed: int) -> None:
        names = [f"k{key}" for key in range(keys)]
        for number in range(producers):
            out = self.folder / f"producer{number}.jsonl"
            self.answers.append(out)
            self.nursery.grow(
                "producer",
                tenant=self.tenant.slug,
                subject=self.subject,
                keys=names[number::producers],
                each=each,
                seed=seed * 1000 + number,
                out=str(out),
            )

    def committed(self) -> list[tuple[str, int]]:
        """What the producers know to be committed."""
        found = []
        for path in self.answers:
            lines = path.read_text().splitlines() if path.exists() else []
            found += [(key, number) for key, number in map(json.loads, lines)]
        return found

    def count(self) -> int:
        return int(execute(f"SELECT count(*) FROM {self.table}")[0][0])

    def tell(self, history: History, consumers: range) -> None:
        """What each consumer saw, in its order."""
        for consumer in consumers:
            rows = execute(f"SELECT key, number FROM {self.table} WHERE consumer = %s ORDER BY at", (consumer,))
            history.seen([(key, int(number)) for key, number in rows], by=f"consumer {consumer}")


@pytest.fixture
def log(quiet_broker: None, committed_acme: Tenant, nursery: Nursery, tmp_path: Path) -> Iterator[Log]:
    """A log with its table."""
    found = Log(committed_acme, nursery, tmp_path)
    yield found
    nursery.clear()
    Subscription.objects.filter(name__startswith=found.name_of(0)[:-1]).delete()
    execute(f"DROP TABLE {found.table}")


@pytest.mark.parametrize("form", ["short", LONG])
def test_no_gap_and_no_inversion(log: Log, chaos: Chaos, form: str) -> None:
    keys, each, producers, consumers = (1000, 100, 16, 8) if chaos.long else (50, 20, 4, 4)
    kills = chaos.size(1, 20)
    chaos.history.ordered = True
    relay = log.relay(consumers)
    log.wait_for_consumers(consumers)
    log.poison.touch()
    log.produce(keys, each, producers, chaos.seed)
    total = keys * each
    # The poisoned key stays where it is for the first consumer, and only that key.
    reachable = total * consumers - (each - 3)
    for number in range(kills):
        share = reachable * (number + chaos.dice.random()) / (kills + 1)
        wait_for(lambda share=share: log.count() >= share, "some progress", timeout_s=600, every_s=0.05)
        relay.kill()
        relay = log.relay(consumers)
    patience_s = 900.0 if chaos.long else 40.0
    wait_for(lambda: log.count() >= reachable, "all but the poisoned key", timeout_s=patience_s, every_s=0.1)
    stuck = execute(f"SELECT max(number::int) FROM {log.table} WHERE consumer = 0 AND key = 'k0'")
    assert stuck == [(2,)], "the poisoned key waits at its event"
    dead = ParkedEvent.objects.filter(subscription__name=log.name_of(0), key="k0", status="dead")
    wait_for(dead.exists, "the last attempt")
    log.poison.unlink()
    assert redrive_events(log.name_of(0), key="k0", actor=SYSTEM) == 1
    wait_for(lambda: log.count() >= total * consumers, "the rest of the poisoned key", timeout_s=120)
    time.sleep(0.3)  # whatever comes twice
    chaos.history.acked(*log.committed())
    log.tell(chaos.history, range(consumers))
    assert len(log.committed()) == total
    chaos.report(keys=keys, producers=producers, consumers=consumers, relay_kills=kills)
    chaos.check()


def test_a_poll_by_arrival_is_caught(log: Log, chaos: Chaos, nursery: Nursery) -> None:
    chaos.history.ordered = True
    nursery.grow("poller", tenant=log.tenant.slug, table=log.table, subject=log.subject)
    log.produce(16, 25, 8, chaos.seed)
    wait_for(lambda: len(log.committed()) == 16 * 25, "the producers")
    time.sleep(0.5)
    chaos.history.acked(*log.committed())
    log.tell(chaos.history, range(-1, 0))
    chaos.must_say("lost (")

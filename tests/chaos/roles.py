"""What a process of the chaos suites does; runs in a fork of the nursery."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from tests.chaos import plants


def worker(*, concurrency: int = 2, queues: str = "control,loads", plant: str = "") -> None:
    """A Celery worker."""
    from config.celery import app

    plants.apply(plant)
    options = ["-Q", queues, "-c", str(concurrency), "-n", f"chaos-{os.getpid()}@%h"]
    app.worker_main(["worker", *options, "--without-gossip", "--without-mingle", "-l", "INFO"])


def sweeper(*, every_s: float = 0.3) -> None:
    """What beat rings for every five seconds, at the pace of short leases."""
    from apps.engine.services.sweeping import sweep_everywhere

    while True:
        try:
            sweep_everywhere()
        except Exception as error:
            print("sweep", type(error).__name__, error, flush=True)
            connection.close()
        time.sleep(every_s)


def web(*, port: int, plant: str = "") -> None:
    """The ASGI server."""
    import uvicorn

    plants.apply(plant)
    uvicorn.run(
        "config.asgi:application", host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off"
    )


def relay(*, table: str, subject: str, consumers: int, poison: str = "", lease_s: float = 3.0) -> None:
    """The relay with so many subscribers, each of which writes what it is given into a table.

    Every second one takes batches. While the file `poison` is there, the first one fails at the third event of key k0.
    """
    from django.core.management import call_command

    from apps.events.contracts import EventRecord, RetryPolicy, Subscriber
    from apps.events.registries import subscribers
    from tests.events import factories  # noqa: F401 - registers the probe

    class Writer(Subscriber):
        types = ("probe.*", "webhook.*")
        from_beginning = False
        retry = RetryPolicy(base_s=0.05, attempts=3, jitter=0)

        def __init__(self, number: int) -> None:
            self.name = f"chaos.{table.rpartition('.')[2]}.{number}"  # type: ignore[misc]
            self.number = number
            self.in_batches = number > 0  # type: ignore[misc]

        def handle(self, tenant: Any, event: EventRecord) -> None:
            self.handle_batch(tenant, [event])

        def handle_batch(self, tenant: Any, events: Sequence[EventRecord]) -> None:
            mine = [event for event in events if event.subject == subject]
            for event in mine:
                if self.number == 0 and (event.key, event.data.get("number")) == ("k0", 3) and Path(poison).exists():
                    raise ValueError("poison")
            rows = [(self.number, one.key, str(one.data.get("number", one.data.get("message_id")))) for one in mine]
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} (consumer, key, number) VALUES (%s, %s, %s)", rows)

    for number in range(consumers):
        subscribers.register(Writer(number))
    call_command("run_relay", "--no-dispatch", "--lease", str(lease_s))


def poller(*, tenant: str, table: str, subject: str) -> None:
    """A planted consumer: it asks for what has a higher number of arrival than the last one it saw."""
    from apps.events.models import Event
    from apps.tenancy.selectors import get_tenant
    from apps.tenancy.services.context import tenant_context

    last = 0
    with tenant_context(get_tenant(tenant)):
        while True:
            with transaction.atomic():
                fresh = list(Event.objects.filter(arrival__gt=last).order_by("arrival")[:500])
                for event in fresh:
                    last = event.arrival
                    if event.subject == subject:
                        with connection.cursor() as cursor:
                            cursor.execute(
                                f"INSERT INTO {table} (consumer, key, number) VALUES (-1, %s, %s)",
                                [event.key, str(event.data["number"])],
                            )
            time.sleep(0.002)


def producer(*, tenant: str, subject: str, keys: list[str], each: int, seed: int, out: str) -> None:
    """Publishes each key's numbers one after the other; some commit late, some are rolled back and tried again."""
    from apps.events.services.outbox import publish_event
    from apps.tenancy.selectors import get_tenant
    from apps.tenancy.services.context import tenant_context
    from tests.events import factories  # noqa: F401 - registers the probe

    chance = random.Random(seed)
    pending = dict.fromkeys(keys, 0)
    with Path(out).open("w") as answers, tenant_context(get_tenant(tenant)):
        while pending:
            key = chance.choice(list(pending))
            number = pending[key]
            try:
                with transaction.atomic():
                    publish_event("probe.sent.v1", subject=subject, key=key, data={"number": number})
                    dice = chance.random()
                    if dice < 0.1:
                        time.sleep(chance.uniform(0, 0.03))  # later ones commit first
                    elif dice < 0.14:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue
            answers.write(json.dumps([key, number]) + "\n")
            pending[key] += 1
            if pending[key] == each:
                del pending[key]

"""Numbering: no gaps, no inversions, late commits included."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from typing import Any

from django.db import connection, transaction

from apps.events.models import Event, StreamHead
from apps.events.selectors import get_head_position
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import tenant_context


def number_all() -> None:
    while number_events().more:
        pass


def test_events_are_numbered_in_the_order_of_their_arrival(as_acme: Any) -> None:
    number_all()
    head = get_head_position()
    ids = [publish_event("probe.sent.v1", subject="x", data={"number": number}) for number in range(5)]

    batch = number_events(limit=3)
    rest = number_events(limit=3)

    assert (batch.count, batch.more, rest.count, rest.more) == (3, True, 2, False)
    assert batch.types == {"com.analytics-portal.probe.sent.v1"}
    assert [Event.objects.get(id=event_id).position for event_id in ids] == list(range(head + 1, head + 6))
    assert number_events().count == 0
    assert get_head_position() == head + 5


def test_an_event_that_commits_late_gets_a_later_number(committed_acme: Any) -> None:
    """The planted bug of every `id > last` poll: the lower id becomes visible after the higher one was delivered."""
    for _ in range(50):
        opened, may_commit = threading.Event(), threading.Event()
        ids: dict[str, Any] = {}

        def publish_late(
            opened: threading.Event = opened, may_commit: threading.Event = may_commit, ids: dict[str, Any] = ids
        ) -> None:
            try:
                with tenant_context(committed_acme), transaction.atomic():
                    ids["late"] = publish_event("probe.sent.v1", subject="late", data={"number": 1})
                    opened.set()
                    may_commit.wait(5)
            finally:
                connection.close()

        thread = threading.Thread(target=publish_late)
        thread.start()
        opened.wait(5)
        with tenant_context(committed_acme):
            ids["early"] = publish_event("probe.sent.v1", subject="early", data={"number": 2})
            number_all()
            seen_up_to = get_head_position()
            may_commit.set()
            thread.join()
            number_all()
            late, early = Event.objects.get(id=ids["late"]), Event.objects.get(id=ids["early"])

        assert late.arrival < early.arrival  # a poll by arrival would have passed it
        assert early.position == seen_up_to
        assert late.position == seen_up_to + 1


def test_many_producers_and_two_numberers_make_one_log_in_order_per_key(committed_acme: Any) -> None:
    keys, per_key, producers = 60, 20, 8
    subject = f"run-{random.getrandbits(32)}"
    left = {producer: [f"{producer}-{key}" for key in range(keys // producers)] for producer in range(producers)}
    done = threading.Event()
    failures: list[BaseException] = []

    def produce(producer: int) -> None:
        rng = random.Random(producer)
        try:
            pending = dict.fromkeys(left[producer], 0)
            while pending:
                key = rng.choice(list(pending))
                with tenant_context(committed_acme):
                    try:
                        with transaction.atomic():
                            publish_event("probe.sent.v1", subject=subject, key=key, data={"number": pending[key]})
                            if rng.random() < 0.2:
                                raise ZeroDivisionError
                    except ZeroDivisionError:
                        continue
                pending[key] += 1
                if pending[key] == per_key:
                    del pending[key]
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def number() -> None:
        try:
            while not done.is_set():
                with tenant_context(committed_acme):
                    number_events(limit=17)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    numberers = [threading.Thread(target=number) for _ in range(2)]
    threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(producers)]
    for thread in [*numberers, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in numberers:
        thread.join()

    assert failures == []
    with tenant_context(committed_acme):
        number_all()
        seen: dict[str, list[int]] = defaultdict(list)
        for key, data in Event.objects.filter(subject=subject).order_by("position").values_list("key", "data"):
            seen[key].append(data["number"])
        positions = list(Event.objects.order_by("position").values_list("position", flat=True))
        head = StreamHead.objects.get()
    assert {key: numbers for key, numbers in seen.items() if numbers != list(range(per_key))} == {}
    assert len(seen) == keys // producers * producers
    assert positions == list(range(head.purged_to + 1, head.position + 1))


def test_a_second_numberer_leaves_at_once(committed_acme: Any) -> None:
    results = []

    def other() -> None:
        try:
            with tenant_context(committed_acme):
                results.append(number_events())
        finally:
            connection.close()

    with tenant_context(committed_acme), transaction.atomic():
        StreamHead.objects.select_for_update().get()
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(5)

    assert [result.busy for result in results] == [True]

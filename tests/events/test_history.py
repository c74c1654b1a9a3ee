"""What subscribers saw, checked as a history: nothing lost, doubled or out of order per key, despite late commits."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from django.db import connection, transaction

from apps.core.ids import uuid7
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import tenant_context
from tests.chaos.history import check_log
from tests.events.factories import Recorder, registered, visit

pytestmark = pytest.mark.committed
Entry = tuple[str, int]


class Careless(Recorder):
    """A subscriber with one bug, for one event."""

    bug = ""
    held: Any = None

    def handle(self, tenant: Any, event: Any) -> None:
        """Drop, double or delay the eighth event of `k3`."""
        meant = (event.key, event.data["number"]) == ("k3", 7)
        if meant and self.bug == "lost":
            return
        if meant and self.bug == "reordered":
            self.held = event
            return
        super().handle(tenant, event)
        if meant and self.bug == "doubled":
            self.seen.append(self.seen[-1])
        if self.held is not None and event.key == "k3":
            self.seen.append((tenant.id, self.held))
            self.held = None


@pytest.mark.parametrize("bug", ["", "lost", "doubled", "reordered"])
def test_late_commits_and_faults_leave_a_good_history(committed_acme: Any, bug: str) -> None:
    """With a bug planted in the subscriber of this test, the checker must say so."""
    seed = 11
    print(f"seed {seed}")
    chance, keys, each = random.Random(seed), 8, 15
    subject = f"history-{uuid7()}"

    def fault(_event: Any) -> None:
        if chance.random() < 0.05:
            raise ValueError

    item = Careless(f"test.{uuid7()}", fault, from_beginning=False, bug=bug)
    expected = keys * each + {"lost": -1, "doubled": 1}.get(bug, 0)
    with tenant_context(committed_acme), registered(item):
        while number_events().more:
            pass
        visit(item)

        def produce(key: int) -> None:
            own = random.Random(seed + key)
            try:
                with tenant_context(committed_acme):
                    for number in range(each):
                        with transaction.atomic():
                            publish_event("probe.sent.v1", subject=subject, key=f"k{key}", data={"number": number})
                            if own.random() < 0.3:
                                threading.Event().wait(own.uniform(0, 0.03))  # it commits after later ones
            finally:
                connection.close()

        threads = [threading.Thread(target=produce, args=(key,)) for key in range(keys)]
        for thread in threads:
            thread.start()

        def seen() -> list[Entry]:
            mine = [event for _, event in item.seen if event.subject == subject]
            return [(event.key, event.data["number"]) for event in mine]

        for _ in range(2000):
            number_events()
            visit(item)
            if len(seen()) >= expected and not any(thread.is_alive() for thread in threads):
                break
            threading.Event().wait(0.005)
        for thread in threads:
            thread.join()
    wrong = check_log([(f"k{key}", number) for key in range(keys) for number in range(each)], seen())
    assert wrong == ([f"{bug} {('k3', 7)}"] if bug else [])

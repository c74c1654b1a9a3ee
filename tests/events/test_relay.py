"""The relay end to end: real commits, notifications, two relays, lost connections, a killed process."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.access.contracts import Actor
from apps.core.ids import uuid7
from apps.events.contracts import EventRecord
from apps.events.models import Event, ParkedEvent, Subscription
from apps.events.services.backlog import list_tenants_with_backlog
from apps.events.services.leadership import LOCK_KEY
from apps.events.services.numbering import number_events
from apps.events.services.outbox import publish_event
from apps.events.services.redrive import redrive_events, skip_events
from apps.events.services.relay import Relay, RelayOptions
from apps.tenancy.services.context import tenant_context
from tests.events.factories import Recorder, registered

QUICK = RelayOptions(workers=4, poll_s=0.5, lease_s=2.0, standby_s=0.1)


@pytest.fixture(autouse=True)
def quiet_logs(committed_acme: Any, committed_globex: Any) -> None:
    """What earlier tests left unnumbered is not news to this test's subscribers."""
    for tenant in (committed_acme, committed_globex):
        with tenant_context(tenant):
            while number_events().more:
                pass


@contextlib.contextmanager
def running(options: RelayOptions = QUICK, *, lead: bool = True) -> Iterator[Relay]:
    relay = Relay(options)
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    if lead:
        assert relay.is_leader.wait(10)
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def recorder(fault: Any = None, **options: Any) -> Recorder:
    return Recorder(f"test.{uuid7()}", fault, from_beginning=False, **options)


def publish(tenant: Any, *numbers: int, key: str = "k") -> None:
    with tenant_context(tenant):
        for number in numbers:
            publish_event("probe.sent.v1", subject="relay", key=key, data={"number": number})


def settle(relay: Relay) -> None:
    assert wait_for(relay.queue.is_idle, 20)


def test_an_event_reaches_its_subscriber_within_moments(committed_acme: Any) -> None:
    item = recorder()
    with registered(item), running() as relay:
        settle(relay)
        began = time.monotonic()
        publish(committed_acme, 1)
        assert wait_for(lambda: item.numbers == [1])

    assert time.monotonic() - began < 1


def test_all_tenants_are_served_by_one_listening_session(committed_acme: Any, committed_globex: Any) -> None:
    item = recorder()
    with registered(item), running() as relay:
        settle(relay)
        publish(committed_acme, 1, 2)
        publish(committed_globex, 3)
        assert wait_for(lambda: len(item.seen) == 3)

    by_tenant = defaultdict(list)
    for tenant_id, event in item.seen:
        by_tenant[tenant_id].append(event.data["number"])
    assert by_tenant == {committed_acme.id: [1, 2], committed_globex.id: [3]}


def test_a_lost_notification_is_made_up_for_by_the_poll(committed_acme: Any) -> None:
    item = recorder()
    with registered(item), running() as relay:
        settle(relay)
        with tenant_context(committed_acme), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO events_event (id, type, source, subject, time, key, data) VALUES "
                "(%s, 'com.analytics-portal.probe.sent.v1', 's', 'x', now(), 'k', '{\"number\": 9}')",
                [uuid7()],
            )
        assert wait_for(lambda: item.numbers == [9])


def test_the_backlog_names_the_tenants_that_have_one(committed_acme: Any, committed_globex: Any) -> None:
    with running() as relay:
        settle(relay)
    publish(committed_globex, 1)

    assert list_tenants_with_backlog() == [committed_globex.id]


@pytest.mark.parametrize("decide", [redrive_events, skip_events], ids=["redriven", "given-up"])
def test_a_decision_about_a_dead_event_shows_without_anything_new(committed_acme: Any, decide: Any) -> None:
    broken = threading.Event()
    broken.set()

    def fault(event: EventRecord) -> None:
        if broken.is_set() and event.data["number"] == 1:
            raise ValueError

    item = recorder(fault)
    with registered(item), running() as relay:
        settle(relay)
        publish(committed_acme, 1, 2)
        with tenant_context(committed_acme):
            dead = ParkedEvent.objects.filter(subscription__name=item.name, status="dead")
            assert wait_for(dead.exists)
            settle(relay)
            broken.clear()
            assert decide(item.name, actor=Actor.system("tests")) == 1
        expected = [1, 2] if decide is redrive_events else [2]
        assert wait_for(lambda: item.numbers_of(committed_acme) == expected)


def test_what_was_published_while_no_relay_ran_is_delivered(committed_acme: Any) -> None:
    item = recorder()
    with registered(item):
        with running() as relay:
            settle(relay)
        publish(committed_acme, 1, 2, 3)
        with running():
            assert wait_for(lambda: item.numbers_of(committed_acme) == [1, 2, 3])


def test_a_failing_and_a_hanging_subscriber_hold_nobody_up(committed_acme: Any, committed_globex: Any) -> None:
    release = threading.Event()
    hanging = recorder(lambda _event: release.wait(20))
    failing = recorder(lambda _event: 1 / 0)
    good = [recorder() for _ in range(5)]
    lags: list[float] = []

    def note(event: EventRecord) -> None:
        lags.append(time.time() - event.time.timestamp())

    timed = recorder(note)
    with registered(hanging, failing, timed, *good), running() as relay:
        try:
            settle(relay)
            for number in range(20):
                publish(committed_acme, number, key=f"k{number % 4}")
                publish(committed_globex, number, key=f"k{number % 4}")
                time.sleep(0.02)
            assert wait_for(lambda: all(len(item.seen) == 40 for item in [*good, timed]))
        finally:
            release.set()
        assert wait_for(lambda: len(hanging.seen) == 40)

    assert sorted(lags)[len(lags) // 2] < 1


def test_two_relays_do_no_harm_and_the_second_takes_over(committed_acme: Any) -> None:
    item = recorder()
    with registered(item), running() as first, running(lead=False) as second:
        settle(first)
        publish(committed_acme, 1)
        assert wait_for(lambda: item.numbers == [1])
        assert not second.is_leader.is_set()
        first.stop()
        assert second.is_leader.wait(10)
        publish(committed_acme, 2)
        assert wait_for(lambda: item.numbers == [1, 2])

    assert set(item.count_by_id().values()) == {1}


def test_a_relay_whose_session_is_ended_comes_back(committed_acme: Any) -> None:
    item = recorder()
    with registered(item), running() as relay:
        settle(relay)
        for number in range(3):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND objid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                    [LOCK_KEY & 0xFFFFFFFF],
                )
                assert cursor.rowcount == 1
            publish(committed_acme, number)
            assert wait_for(lambda number=number: number in item.numbers, 20)

    assert item.numbers == [0, 1, 2]


def test_ended_worker_sessions_lose_and_repeat_nothing_in_the_database(committed_acme: Any) -> None:
    """The offset commits with what the subscriber writes, so a cut connection repeats no write."""
    subject = f"effect-{random.getrandbits(32)}"

    def write(event: EventRecord) -> None:
        publish_event("alarm.raised.v1", subject=subject, data={"number": event.data["number"]})

    item = recorder(write)
    count = 300
    with registered(item), running() as relay:
        settle(relay)

        def publish_all() -> None:
            try:
                for number in range(count):
                    publish(committed_acme, number, key=f"k{number % 5}")
            finally:
                connection.close()

        thread = threading.Thread(target=publish_all)
        thread.start()
        for _ in range(8):
            time.sleep(0.1)
            with connection.cursor() as cursor:
                # Whoever is in the middle of a delivery: it holds the subscription's row.
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND query LIKE '%%events_subscription%%' AND xact_start IS NOT NULL"
                )
        thread.join()

        def effects() -> list[int]:
            with tenant_context(committed_acme):
                rows = Event.objects.filter(subject=subject).order_by("position", "arrival")
                return [data["number"] for data in rows.values_list("data", flat=True)]

        assert wait_for(lambda: len(effects()) >= count, 40)
        settle(relay)

    assert sorted(effects()) == list(range(count))


def test_order_per_key_holds_under_load_with_faults(committed_acme: Any, committed_globex: Any) -> None:
    rng = random.Random(7)

    def fault(_event: EventRecord) -> None:
        if rng.random() < 0.02:
            raise ValueError

    item = recorder(fault)
    tenants = (committed_acme, committed_globex)
    with registered(item), running() as relay:
        settle(relay)

        def produce(tenant: Any, producer: int) -> None:
            try:
                for number in range(40):
                    for key in range(5):
                        publish(tenant, number, key=f"{producer}-{key}")
            finally:
                connection.close()

        threads = [threading.Thread(target=produce, args=(tenant, n)) for n in range(3) for tenant in tenants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wait_for(lambda: len(item.seen) >= 6 * 200, 60)

    order: dict[Any, list[int]] = defaultdict(list)
    for tenant_id, event in item.seen:
        order[tenant_id, event.key].append(event.data["number"])
    assert len(order) == 30
    assert {key: numbers for key, numbers in order.items() if numbers != list(range(40))} == {}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_standby_takes_over_from_a_killed_or_frozen_process(committed_acme: Any, how: signal.Signals) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url()}
    command = [sys.executable, "manage.py", "run_relay", "--lease", "2", "--poll", "0.5"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert wait_for(somebody_leads, 40)
        item = recorder()
        with registered(item), running(lead=False) as standby:
            assert not standby.is_leader.is_set()
            os.kill(process.pid, how)
            assert standby.is_leader.wait(10)
            settle(standby)
            publish(committed_acme, 1)
            assert wait_for(lambda: item.numbers == [1])
    finally:
        process.kill()
        process.communicate()


def test_the_command_stops_cleanly(committed_acme: Any) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url()}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_relay"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert wait_for(somebody_leads, 40)
    process.terminate()
    output = process.communicate(timeout=20)[0].decode()

    assert process.returncode == 0, output
    assert "Relay stopped." in output
    assert "Traceback" not in output


def somebody_leads() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LOCK_KEY & 0xFFFFFFFF],
        )
        return bool(cursor.fetchone()[0])


def database_url() -> str:
    settings = connection.settings_dict
    password = f":{settings['PASSWORD']}" if settings["PASSWORD"] else ""
    host = f"{settings['HOST'] or ''}:{settings['PORT']}" if settings["PORT"] else settings["HOST"]
    return f"postgres://{settings['USER']}{password}@{host}/{settings['NAME']}"


def test_positions_are_kept_for_each_tenant(committed_acme: Any) -> None:
    item = recorder()
    with registered(item), running() as relay:
        settle(relay)
        publish(committed_acme, 1)
        assert wait_for(lambda: item.numbers == [1])
        settle(relay)
    with tenant_context(committed_acme):
        assert Subscription.objects.get(name=item.name).delivered == 1

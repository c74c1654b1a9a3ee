"""Consumers on a real RabbitMQ: killed between commit and acknowledgement, restarted broker, queue that goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import amqp
import pytest

from apps.messaging.models import Consumer
from apps.tenancy.models import Tenant
from tests.brokers import PASSWORD, USER, Broker
from tests.messaging.consumers import (
    bodies_of,
    broker_connection,
    consumer,
    fresh,
    inside,
    running,
    wait_published,
    wait_until,
)
from tests.processes import start

pytestmark = [pytest.mark.committed, pytest.mark.slow, pytest.mark.xdist_group("rabbitmq")]


def ask(broker: Broker) -> amqp.Channel:
    connection = amqp.Connection(host=f"127.0.0.1:{broker.port}", userid=USER, password=PASSWORD, login_method="PLAIN")
    connection.connect()
    return connection.channel()


def put(broker: Broker, queue: str, numbers: range) -> None:
    channel = ask(broker)
    for number in numbers:
        channel.basic_publish(amqp.Message(b'{"n": %d}' % number, message_id=f"m{number}", delivery_mode=2), "", queue)
    channel.queue_declare(queue, passive=True)
    channel.connection.close()


def waiting(broker: Broker, queue: str) -> int:
    channel = ask(broker)
    count = channel.queue_declare(queue, passive=True).message_count
    channel.connection.close()
    return int(count)


@pytest.fixture
def queue(rabbitmq: Broker) -> Iterator[str]:
    name = f"q{uuid4().hex[:10]}"
    channel = ask(rabbitmq)
    channel.queue_declare(name, durable=True, auto_delete=False)
    channel.connection.close()
    yield name
    channel = ask(rabbitmq)
    channel.queue_delete(name)
    channel.connection.close()


def test_killed_between_commit_and_acknowledgement(
    committed_acme: Tenant, rabbitmq: Broker, queue: str, tmp_path: Path
) -> None:
    with inside(committed_acme), consumer(broker_connection("amqp", rabbitmq), queue) as row:
        put(rabbitmq, queue, range(30))
        child = start("killed", [sys.executable, "-m", "tests.messaging.killed", "amqp"], tmp_path)
        assert child.process.wait(60) == -9, child.log_tail()
        kept = fresh(row).published
        assert kept > 0
        wait_until(lambda: waiting(rabbitmq, queue) == 30, "handed back")
        Consumer.objects.filter(id=row.id).update(lease_until=None)
        with running():
            wait_until(lambda: fresh(row).received >= 30 + kept, "handed over again")
        found = fresh(row)
        assert (found.published, found.duplicates) == (30, kept)
        assert waiting(rabbitmq, queue) == 0
        assert sorted(body["n"] for body in bodies_of(row)) == list(range(30))


def test_a_restarted_broker_and_a_queue_that_goes(committed_acme: Tenant, rabbitmq: Broker, queue: str) -> None:
    with inside(committed_acme), consumer(broker_connection("amqp", rabbitmq), queue) as row:
        put(rabbitmq, queue, range(3))
        with running():
            wait_published(row, 3)
            rabbitmq.stop()
            failing = wait_until(lambda: (now := fresh(row)).failures and now, "noticed")
            assert failing.last_error["code"] == "connectors.unavailable"
            rabbitmq.start()
            put(rabbitmq, queue, range(3, 6))
            wait_published(row, 6)
            channel = ask(rabbitmq)
            channel.queue_delete(queue)
            gone = wait_until(lambda: (now := fresh(row)).failures and now, "noticed")
            assert gone.last_error["code"] == "connectors.entity_gone"
            channel.queue_declare(queue, durable=True, auto_delete=False)
            channel.connection.close()
        assert [body["n"] for body in bodies_of(row)] == list(range(6))

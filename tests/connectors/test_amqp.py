"""RabbitMQ: confirmed publishing, consuming with acknowledgement after the fact, refusals that say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import amqp
import pytest

from apps.connectors.contracts import ConsumeRequest, ReadRequest
from apps.connectors.exceptions import (
    CredentialsRefused,
    EntityGone,
    NotSupported,
    SystemUnavailable,
    WriteRefused,
)
from apps.core.exceptions import PortalError
from apps.core.services.egress import EgressDenied
from tests.brokers import PASSWORD, USER, Broker, rabbitmq  # noqa: F401 - a fixture
from tests.connectors.messages import connected, publish, settings_of, take

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rabbitmq")]
ROWS = [{"id": number, "total": Decimal("10.10"), "country": "eu"} for number in range(1200)]


def _channel(port: int) -> amqp.Channel:
    connection = amqp.Connection(host=f"127.0.0.1:{port}", userid=USER, password=PASSWORD, login_method="PLAIN")
    connection.connect()
    return connection.channel()


@pytest.fixture
def queue(rabbitmq: Broker) -> Iterator[Callable[..., str]]:  # noqa: F811
    """Declares queues; they are deleted afterwards."""
    made: list[str] = []

    def declare(**arguments: Any) -> str:
        name = f"q{uuid4().hex[:10]}"
        channel = _channel(rabbitmq.port)
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments or None)
        channel.connection.close()
        made.append(name)
        return name

    yield declare
    channel = _channel(rabbitmq.port)
    for name in made:
        channel.queue_delete(name)
    channel.connection.close()


def test_every_row_is_confirmed_and_comes_out_again(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    with connected("amqp", settings_of(rabbitmq)) as connector:
        part = publish(connector, name, ROWS)
        assert (part.rows, part.rejected) == (1200, ())
        found = take(connector, name, 1200)
        assert [json.loads(one.body)["id"] for one in found] == list(range(1200))
        assert json.loads(found[0].body) == {"id": 0, "total": "10.10", "country": "eu"}
        assert len({one.message_id for one in found}) == 1200
        with connector.open_consumer(ConsumeRequest(name, "again")) as messages:
            assert messages.lag() == 0


def test_a_destination_maps_key_id_headers_and_cloudevents(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    place = {
        "name": "orders",
        "address": name,
        "id_field": "id",
        "headers": {"country": "country"},
        "format": "cloudevents",
        "event_type": "com.acme.order.v1",
        "event_source": "urn:acme",
    }
    with connected("amqp", settings_of(rabbitmq, destinations=[place])) as connector:
        publish(connector, "orders", ROWS[:1])
        [one] = take(connector, name, 1)
    assert (one.message_id, one.headers) == ("0", {"country": "eu"})
    assert one.content_type.startswith("application/cloudevents+json")
    event = json.loads(one.body)
    assert (event["id"], event["type"], event["source"]) == ("0", "com.acme.order.v1", "urn:acme")
    assert event["data"]["total"] == "10.10"


def test_the_same_part_again_has_the_same_ids(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name, run_id = queue(), uuid4()
    with connected("amqp", settings_of(rabbitmq)) as connector:
        first = publish(connector, name, ROWS[:3], run_id=run_id)
        assert publish(connector, name, ROWS[:3], run_id=run_id).checksum == first.checksum
        ids = [one.message_id for one in take(connector, name, 6)]
    assert ids[:3] == ids[3:]


def test_what_no_queue_takes_is_refused_and_the_rest_goes_on(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    place = {"name": "by-country", "address": "{country}"}
    rows = [{"id": 1, "country": name}, {"id": 2, "country": "nowhere"}, {"id": 3, "country": name}]
    with connected("amqp", settings_of(rabbitmq, destinations=[place])) as connector:
        part = publish(connector, "by-country", rows, fields=[("id", "BIGINT"), ("country", "VARCHAR")])
        assert [one.position for one in part.rejected] == [1]
        assert "No queue takes messages for 'nowhere'" in part.rejected[0].message
        assert len(take(connector, name, 2)) == 2


def test_a_full_queue_refuses_what_does_not_fit(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue(**{"x-max-length": 2, "x-overflow": "reject-publish"})
    with connected("amqp", settings_of(rabbitmq)) as connector:
        part = publish(connector, name, ROWS[:5])
    assert part.rows == 2
    assert {one.message for one in part.rejected} == {"The broker refused it."}


def test_what_is_not_acknowledged_comes_again(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    with connected("amqp", settings_of(rabbitmq)) as connector:
        publish(connector, name, ROWS[:5])
        with connector.open_consumer(ConsumeRequest(name, "a", prefetch=3)) as messages:
            first = messages.receive(10, wait_s=5)
            assert (len(first), messages.lag()) == (3, 2)
            messages.acknowledge(first[:2])
        assert [json.loads(one.body)["id"] for one in take(connector, name, 3)] == [2, 3, 4]


def test_check_names_the_step_that_fails(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    with connected("amqp", settings_of(rabbitmq, queues=[name])) as connector:
        result = connector.check()
        assert result.ok, result
        assert [one.name for one in connector.discover(name[:4].upper()).entities] == [name]
        assert connector.describe(name).names[-1] == "body"
    for config, secrets, code in (
        (settings_of(rabbitmq), {"password": "wrong"}, "connectors.credentials_refused"),
        (settings_of(rabbitmq, virtual_host="other"), None, "connectors.credentials_refused"),
        (settings_of(rabbitmq, queues=["missing"]), None, "connectors.entity_gone"),
        (settings_of(rabbitmq, tls_mode="verify-full"), None, "connectors.tls_failed"),
        (settings_of(rabbitmq, port=1), None, "connectors.unavailable"),
    ):
        with connected("amqp", config, secrets) as connector:
            failed = connector.check()
            assert (failed.ok, failed.code) == (False, code), failed
            assert failed.remedy


def test_refusals_name_what_is_wrong(rabbitmq: Broker, queue: Callable[..., str], settings: Any) -> None:  # noqa: F811
    name = queue()
    with connected("amqp", settings_of(rabbitmq)) as connector:
        with pytest.raises(EntityGone, match="nothing-here"):
            connector.open_consumer(ConsumeRequest("nothing-here", "a"))
        with pytest.raises(NotSupported, match="taking its messages"):
            connector.read(ReadRequest(name))
    place = {"name": "other", "address": name, "key_field": "", "id_field": "number"}
    with connected("amqp", settings_of(rabbitmq, destinations=[place])) as connector:
        with pytest.raises(WriteRefused, match="number"):
            publish(connector, "other", ROWS[:1])
    with connected("amqp", settings_of(rabbitmq), {"password": "wrong"}) as connector:
        with pytest.raises(CredentialsRefused):
            publish(connector, name, ROWS[:1])
    settings.EGRESS_ALLOW_PRIVATE = []
    with connected("amqp", settings_of(rabbitmq)) as connector:
        for attempt in (
            lambda: publish(connector, name, ROWS[:1]),
            lambda: connector.open_consumer(ConsumeRequest(name, "a")),
            lambda: connector.describe(name),
        ):
            with pytest.raises(EgressDenied):
                attempt()
        assert connector.check().code == "core.egress.denied"


def test_an_exchange_that_is_gone_and_a_restart(rabbitmq: Broker, queue: Callable[..., str]) -> None:  # noqa: F811
    name = queue()
    place = {"name": "lost", "exchange": "gone-exchange", "address": "a"}
    with connected("amqp", settings_of(rabbitmq, destinations=[place])) as connector:
        with pytest.raises(EntityGone, match="gone-exchange"):
            publish(connector, "lost", ROWS[:1])
        publish(connector, name, ROWS[:2])
        messages = connector.open_consumer(ConsumeRequest(name, "a"))
        taken = messages.receive(1, wait_s=5)
        rabbitmq.stop()
        assert len(taken) == 1
        with pytest.raises(SystemUnavailable):
            messages.receive(5, wait_s=5)
        messages.close()
        with pytest.raises(PortalError) as down:
            publish(connector, name, ROWS[2:3])
        assert down.value.code == "connectors.unavailable"
        rabbitmq.start()
        publish(connector, name, ROWS[2:3])
        assert {json.loads(one.body)["id"] for one in take(connector, name, 3)} == {0, 1, 2}

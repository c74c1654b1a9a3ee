"""The Kafka protocol against librdkafka's mock cluster (a broker of the client library's makers, in this process)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from apps.connectors.contracts import ConsumeRequest, ReadRequest
from apps.connectors.exceptions import EntityGone
from apps.core.services.egress import EgressDenied
from tests.connectors.messages import connected, publish, take
from tests.suites.connector_suite import read_all

pytestmark = pytest.mark.xdist_group("kafka")
ROWS = [{"id": number, "total": Decimal("10.10"), "country": f"c{number % 3}"} for number in range(300)]


@dataclass(frozen=True)
class Cluster:
    """The mock cluster: a producer carries it, and its first broker's address."""

    producer: Any
    host: str
    port: int

    def write(self, topic: str, body: bytes) -> None:
        """Write one message without the portal; the mock makes the topic."""
        self.producer.produce(topic, body)
        assert self.producer.flush(20) == 0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three brokers of librdkafka's mock."""
    kafka = pytest.importorskip("confluent_kafka")
    producer = kafka.Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 3, "log_level": 0})
    first = next(iter(producer.list_topics(timeout=20).brokers.values()))
    yield Cluster(producer, first.host, first.port)
    producer.flush(5)


def settings_of(cluster: Cluster, **changes: Any) -> dict[str, Any]:
    """Settings with which a connector reaches the cluster."""
    return {"host": cluster.host, "port": cluster.port, "tls_mode": "disable", **changes}


@pytest.fixture
def topic(cluster: Cluster) -> str:
    """A topic that exists: the mock makes one when it is written to."""
    name = f"t{uuid4().hex[:10]}"
    cluster.write(name, b'{"id": -1}')
    return name


def test_rows_are_acknowledged_in_their_partitions_and_read_again(cluster: Cluster, topic: str) -> None:
    place = {"name": "orders", "address": topic, "key_field": "country", "headers": {"land": "country"}}
    with connected("kafka", settings_of(cluster, destinations=[place]), {}) as connector:
        assert publish(connector, "orders", ROWS).rows == 300
        table = read_all(connector, ReadRequest(topic))
        ids = [json.loads(body)["id"] for body in table["body"].to_pylist()]
        assert sorted(ids) == [-1, *range(300)]
        keys = dict(zip(table["key"].to_pylist(), table["position"].to_pylist(), strict=True))
        assert set(keys) == {None, "c0", "c1", "c2"}
        same = [json.loads(row["body"])["id"] for row in table.to_pylist() if row["key"] == "c1"]
        assert same == sorted(same)
        assert read_all(connector, ReadRequest(topic, limit=3)).num_rows == 3


def test_a_group_goes_on_after_what_it_has_committed(cluster: Cluster, topic: str) -> None:
    with connected("kafka", settings_of(cluster), {}) as connector:
        name = f"g-{uuid4().hex}"
        with connector.open_consumer(ConsumeRequest(topic, name)) as messages:
            assert (messages.lag(), messages.receive(10, wait_s=0.1)) == (0, [])
        publish(connector, topic, ROWS[:6])
        with connector.open_consumer(ConsumeRequest(topic, name)) as messages:
            assert messages.lag() == 6
            assert messages.receive(10, wait_s=5)
        first, rest = take(connector, topic, 2, name=name), take(connector, topic, 4, name=name)
        places = [one.position for one in [*first, *rest]]
        assert len(set(places)) == 6
        assert sorted(json.loads(one.body)["id"] for one in [*first, *rest]) == list(range(6))
        everything = take(connector, topic, 7, name=f"g-{uuid4().hex}", from_start=True)
        assert len({one.position for one in everything}) == 7


def test_missing_topics_and_addresses_that_are_not_allowed(cluster: Cluster, topic: str, settings: Any) -> None:
    with connected("kafka", settings_of(cluster), {}) as connector:
        assert connector.check().ok, connector.check()
        assert topic in [one.name for one in connector.discover(topic).entities]
        with pytest.raises(EntityGone):
            connector.describe("missing")
        with pytest.raises(EntityGone):
            connector.open_consumer(ConsumeRequest("missing", "g"))
        part = publish(connector, "not a topic", ROWS[:1])
        assert "is no topic" in part.rejected[0].message
    for config, code in (
        (settings_of(cluster, port=1), "core.egress.unreachable"),
        (settings_of(cluster, tls_mode="verify-full"), "connectors.unavailable"),
    ):
        with connected("kafka", config, {}) as connector:
            failed = connector.check()
            assert (failed.ok, failed.code) == (False, code), failed
            assert failed.remedy
    settings.EGRESS_ALLOW_PRIVATE = []
    with connected("kafka", settings_of(cluster), {}) as connector:
        assert connector.check().code == "core.egress.denied"
        with pytest.raises(EgressDenied):
            publish(connector, topic, ROWS[:1])


def test_an_advertised_address_is_checked_like_the_first(cluster: Cluster, topic: str, settings: Any) -> None:
    """The first broker is allowed, the others that it names are not: they are never dialled."""
    settings.EGRESS_ALLOW_PRIVATE = [f"{cluster.host}:{cluster.port}"]
    with connected("kafka", settings_of(cluster), {}) as connector:
        with pytest.raises(EgressDenied):
            publish(connector, topic, ROWS)

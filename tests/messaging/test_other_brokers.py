"""Consumers on mosquitto and on the Kafka protocol: the same promises, each broker's own way to keep a position."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from apps.connectors.services.connections import create_connection
from apps.messaging.models import Consumer
from apps.tenancy.models import Tenant
from tests.brokers import Broker, mosquitto  # noqa: F401 - a fixture
from tests.connectors.messages import connected, publish, settings_of
from tests.connectors.test_kafka import Cluster, cluster  # noqa: F401 - a fixture
from tests.connectors.test_kafka import settings_of as kafka_settings
from tests.messaging.consumers import (
    SYSTEM,
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

pytestmark = [pytest.mark.committed, pytest.mark.slow]
ROWS = [{"id": number} for number in range(30)]
FIELDS = [("id", "BIGINT")]


def kill_after_commit(kind: str, row: Consumer, directory: Path) -> int:
    """How many events a process has committed that died before it could acknowledge any."""
    child = start("killed", [sys.executable, "-m", "tests.messaging.killed", kind], directory)
    assert child.process.wait(60) == -9, child.log_tail()
    Consumer.objects.filter(id=row.id).update(lease_until=None)
    return fresh(row).published


@pytest.mark.xdist_group("mosquitto")
def test_mqtt_killed_between_commit_and_acknowledgement(
    committed_acme: Tenant,
    mosquitto: Broker,  # noqa: F811
    tmp_path: Path,
) -> None:
    topic = f"t/{uuid4().hex[:10]}"
    with inside(committed_acme), consumer(broker_connection("mqtt", mosquitto), f"{topic}/#") as row:
        with running():
            wait_until(lambda: fresh(row).connected_at, "subscribed")
        with connected("mqtt", settings_of(mosquitto)) as connector:
            publish(connector, f"{topic}/a", ROWS, fields=FIELDS)
        kept = kill_after_commit("mqtt", row, tmp_path)
        assert kept > 0
        with running():
            wait_until(lambda: fresh(row).received >= 30 + kept, "handed over again")
        found = fresh(row)
        assert (found.published, found.duplicates) == (30, kept)
        assert [body["id"] for body in bodies_of(row)] == list(range(30))


@pytest.mark.xdist_group("kafka")
def test_kafka_killed_between_commit_and_acknowledgement(
    committed_acme: Tenant,
    cluster: Cluster,  # noqa: F811
    tmp_path: Path,
) -> None:
    topic = f"t{uuid4().hex[:10]}"
    with connected("kafka", kafka_settings(cluster), {}) as connector:
        cluster.write(topic, b'{"id": -1}')
        publish(connector, topic, ROWS, fields=FIELDS)
    with inside(committed_acme):
        made = create_connection(f"kafka {uuid4().hex[:10]}", "kafka", config=kafka_settings(cluster), actor=SYSTEM)
        with consumer(made.slug, topic) as row:
            kept = kill_after_commit("kafka", row, tmp_path)
            assert kept > 0
            with running():
                wait_until(lambda: fresh(row).received >= 31 + kept, "handed over again")
            found = fresh(row)
            assert (found.published, found.duplicates) == (31, kept)
            assert sorted(body["id"] for body in bodies_of(row)) == list(range(-1, 30))
            assert found.position.startswith(f"{topic}/")
            with running():
                wait_until(lambda: fresh(row).lag == 0, "nothing left")
            assert wait_published(row, 31).duplicates == kept

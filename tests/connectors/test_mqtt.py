"""MQTT on a real mosquitto: QoS 1 both ways, sessions that keep what was not acknowledged, refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from apps.connectors.contracts import ConsumeRequest, ReadRequest
from apps.connectors.exceptions import ConfigInvalid, NotSupported, SystemUnavailable
from apps.core.services.egress import EgressDenied
from tests.brokers import Broker, mosquitto  # noqa: F401 - a fixture
from tests.connectors.messages import connected, publish, settings_of, take

pytestmark = pytest.mark.xdist_group("mosquitto")
ROWS = [{"id": number, "total": Decimal("10.10"), "country": "eu"} for number in range(120)]


@pytest.fixture
def topic() -> str:
    return f"t/{uuid4().hex[:10]}"


def ids(found: list[Any]) -> list[int]:
    return [json.loads(one.body)["id"] for one in found]


def test_rows_are_acknowledged_and_come_out_again(mosquitto: Broker, topic: str) -> None:  # noqa: F811
    place = {"name": "by-country", "address": f"{topic}/{{country}}", "headers": {"Country": "country"}}
    with connected("mqtt", settings_of(mosquitto, destinations=[place])) as connector:
        with connector.open_consumer(ConsumeRequest(f"{topic}/+", f"s-{uuid4().hex}", prefetch=50)) as messages:
            part = publish(connector, "by-country", [*ROWS, {**ROWS[0], "country": "a#b"}])
            assert part.rows == 120
            assert [one.position for one in part.rejected] == [120]
            found: list[Any] = []
            while len(found) < 120:
                batch = messages.receive(40, wait_s=5)
                assert batch
                messages.acknowledge(batch)
                found += batch
    assert ids(found) == list(range(120))
    one = found[0]
    assert (one.source, one.content_type, one.headers) == (f"{topic}/eu", "application/json", {"Country": "eu"})
    assert len({one.message_id for one in found}) == 120


def test_the_session_keeps_what_was_not_acknowledged(mosquitto: Broker, topic: str) -> None:  # noqa: F811
    name = f"s-{uuid4().hex}"
    with connected("mqtt", settings_of(mosquitto)) as connector:
        with connector.open_consumer(ConsumeRequest(topic, name)) as messages:
            publish(connector, topic, ROWS[:3])
            first = messages.receive(3, wait_s=5)
            assert len(first) == 3
            messages.acknowledge(first[:1])
        publish(connector, topic, ROWS[3:5])
        assert ids(take(connector, topic, 4, name=name)) == [1, 2, 3, 4]


def test_a_restart_loses_nothing(mosquitto: Broker, topic: str) -> None:  # noqa: F811
    name = f"s-{uuid4().hex}"
    with connected("mqtt", settings_of(mosquitto)) as connector:
        messages = connector.open_consumer(ConsumeRequest(topic, name))
        publish(connector, topic, ROWS[:2])
        messages.acknowledge(messages.receive(1, wait_s=5))
        mosquitto.stop()
        with pytest.raises(SystemUnavailable):
            messages.receive(500, wait_s=10)
        messages.close()
        mosquitto.start()
        publish(connector, topic, ROWS[2:3])
        assert ids(take(connector, topic, 2, name=name)) == [1, 2]


def test_check_discovery_and_refusals(mosquitto: Broker, topic: str, settings: Any) -> None:  # noqa: F811
    with connected("mqtt", settings_of(mosquitto, topics=[f"{topic}/#"])) as connector:
        assert connector.check().ok, connector.check()
        assert [one.name for one in connector.discover(topic).entities] == [f"{topic}/#"]
        with pytest.raises(NotSupported):
            connector.read(ReadRequest(topic))
        with pytest.raises(ConfigInvalid, match="one whole level"):
            connector.open_consumer(ConsumeRequest("a/b#", "s"))
    with pytest.raises(ConfigInvalid), connected("mqtt", settings_of(mosquitto, topics=["a/#/b"])):
        pass
    for config, secrets, code in (
        (settings_of(mosquitto), {"password": "wrong"}, "connectors.credentials_refused"),
        (settings_of(mosquitto, tls_mode="verify-full"), None, "connectors.tls_failed"),
        (settings_of(mosquitto, port=1), None, "connectors.unavailable"),
    ):
        with connected("mqtt", config, secrets) as connector:
            failed = connector.check()
            assert (failed.ok, failed.code) == (False, code), failed
            assert failed.remedy
    with connected("mqtt", settings_of(mosquitto, user="narrow")) as connector:
        part = publish(connector, topic, ROWS[:1])
        assert "Not authorized" in part.rejected[0].message
    settings.EGRESS_ALLOW_PRIVATE = []
    with connected("mqtt", settings_of(mosquitto)) as connector:
        assert connector.check().code == "core.egress.denied"
        with pytest.raises(EgressDenied):
            publish(connector, topic, ROWS[:1])

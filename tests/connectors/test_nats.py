"""NATS JetStream: acknowledged publishing without doubles, reading by sequence, consuming with a durable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import nats
import pytest

from apps.connectors.contracts import ConsumeRequest, CursorRange, ReadRequest
from apps.connectors.exceptions import ColumnGone, EntityGone, SystemUnavailable
from apps.core.services.egress import EgressDenied
from tests.brokers import PASSWORD, USER, Broker, nats_server  # noqa: F401 - a fixture
from tests.connectors.messages import connected, publish, settings_of, take
from tests.suites.connector_suite import read_all

pytestmark = pytest.mark.xdist_group("nats")
ROWS = [{"id": number, "total": Decimal("10.10"), "country": "eu"} for number in range(700)]


async def _manage(port: int, action: Callable[[Any], Any]) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{port}", user=USER, password=PASSWORD)
    await action(client.jetstream())
    await client.close()


@pytest.fixture
def stream(nats_server: Broker) -> Iterator[str]:  # noqa: F811
    """A stream of its own; its subjects begin with its name."""
    name = f"S{uuid4().hex[:10]}"
    asyncio.run(_manage(nats_server.port, lambda js: js.add_stream(name=name, subjects=[f"{name}.>"])))
    yield name
    asyncio.run(_manage(nats_server.port, lambda js: js.delete_stream(name)))


def test_rows_are_acknowledged_once_and_read_by_sequence(nats_server: Broker, stream: str) -> None:  # noqa: F811
    run_id = uuid4()
    with connected("nats", settings_of(nats_server)) as connector:
        assert publish(connector, f"{stream}.a", ROWS, run_id=run_id).rows == 700
        publish(connector, f"{stream}.a", ROWS, run_id=run_id)
        table = read_all(connector, ReadRequest(stream, batch_rows=300))
        assert table["position"].to_pylist() == list(range(1, 701))
        assert table["source"].to_pylist()[0] == f"{stream}.a"
        assert json.loads(table["body"][699].as_py())["id"] == 699
        newer = ReadRequest(stream, columns=("body",), cursor=CursorRange("position", lower="690", upper="695"))
        assert read_all(connector, newer).num_rows == 5
        assert read_all(connector, ReadRequest(f"{stream}/{stream}.b")).num_rows == 0
        assert read_all(connector, ReadRequest(stream, limit=3)).num_rows == 3
        with pytest.raises(ColumnGone):
            read_all(connector, ReadRequest(stream, columns=("colour",)))


def test_a_durable_remembers_what_was_acknowledged(nats_server: Broker, stream: str) -> None:  # noqa: F811
    with connected("nats", settings_of(nats_server)) as connector:
        publish(connector, f"{stream}.a", ROWS[:5])
        first = take(connector, stream, 3, from_start=True)
        assert [one.position for one in first] == [f"{stream}:{number}" for number in (1, 2, 3)]
        with connector.open_consumer(ConsumeRequest(stream, "test")) as messages:
            assert messages.lag() == 2
            assert len(messages.receive(10, wait_s=5)) == 2
        assert take(connector, stream, 1, name="late", wait_s=0.2) == []


def test_a_filter_takes_its_subjects_only(nats_server: Broker, stream: str) -> None:  # noqa: F811
    place = {"name": "by-country", "address": f"{stream}.{{country}}", "headers": {"Country": "country"}}
    rows = [{**ROWS[0], "country": "eu"}, {**ROWS[1], "country": "us"}, {**ROWS[2], "country": "a b"}]
    with connected("nats", settings_of(nats_server, destinations=[place])) as connector:
        part = publish(connector, "by-country", rows)
        assert [(one.position, "is no subject" in one.message) for one in part.rejected] == [(2, True)]
        [one] = take(connector, f"{stream}/{stream}.us", 2, from_start=True, wait_s=0.5)
    assert (one.source, one.headers, one.content_type) == (f"{stream}.us", {"Country": "us"}, "application/json")


def test_a_subject_without_a_stream_is_refused(nats_server: Broker, stream: str) -> None:  # noqa: F811
    with connected("nats", settings_of(nats_server)) as connector:
        part = publish(connector, "nobody.listens", ROWS[:2])
        assert (part.rows, part.rejected[0].message) == (0, "No stream takes the subject 'nobody.listens'.")
        with pytest.raises(EntityGone, match="missing"):
            connector.open_consumer(ConsumeRequest("missing", "a"))


def test_check_and_discovery(nats_server: Broker, stream: str, settings: Any) -> None:  # noqa: F811
    with connected("nats", settings_of(nats_server)) as connector:
        assert connector.check().ok, connector.check()
        assert [one.name for one in connector.discover(stream.lower()).entities] == [stream]
    for config, secrets, code in (
        (settings_of(nats_server), {"password": "wrong"}, "connectors.credentials_refused"),
        (settings_of(nats_server, user="narrow"), None, "connectors.credentials_refused"),
        (settings_of(nats_server, tls_mode="verify-full"), None, "connectors.tls_failed"),
        (settings_of(nats_server, port=1), None, "connectors.unavailable"),
        (settings_of(nats_server, host="no-such-host.invalid"), None, "core.egress.host_unresolved"),
    ):
        with connected("nats", config, secrets) as connector:
            failed = connector.check()
            assert (failed.ok, failed.code) == (False, code), failed
            assert failed.remedy
    settings.EGRESS_ALLOW_PRIVATE = []
    with connected("nats", settings_of(nats_server)) as connector:
        assert connector.check().code == "core.egress.denied"
        with pytest.raises(EgressDenied):
            connector.open_consumer(ConsumeRequest(stream, "a"))


def test_a_restart_loses_nothing(nats_server: Broker, stream: str) -> None:  # noqa: F811
    with connected("nats", settings_of(nats_server)) as connector:
        publish(connector, f"{stream}.a", ROWS[:2])
        messages = connector.open_consumer(ConsumeRequest(stream, "kept", from_start=True))
        messages.acknowledge(messages.receive(1, wait_s=5))
        nats_server.stop()
        with pytest.raises(SystemUnavailable):
            messages.receive(1, wait_s=1)
        messages.close()
        nats_server.start()
        publish(connector, f"{stream}.a", ROWS[2:3])
        found = take(connector, stream, 2, name="kept")
    assert [json.loads(one.body)["id"] for one in found] == [1, 2]

"""Circuit breakers of connections: what counts, who probes, what a person can do; a second tenant is not touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.audit.models import AuditEntry
from apps.connectors.exceptions import CircuitOpen, SystemUnavailable
from apps.connectors.models import Breaker, Connection
from apps.connectors.services import breakers
from apps.connectors.services.breakers import admit, record_answer, record_failure
from apps.connectors.services.connections import create_connection
from apps.events.models import Event
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.events.hooks import SYSTEM

pytestmark = pytest.mark.django_db
DOWN = SystemUnavailable("It is down.")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serve() as running:
        yield running


def make(server: ApiServer | None = None, **breaker: Any) -> Connection:
    """A connection to the server, or to a port where nobody listens."""
    config = {
        "base_url": server.base_url if server else "http://127.0.0.1:9/v1",
        "requests_per_second": 1000,
        "timeout_s": 5,
        "resources": [{"name": "invoices", "path": "plain", "key": "id"}, {"name": "gone", "path": "gone"}],
    }
    row: Connection = create_connection("Billing", "rest", config=config, secrets={}, actor=SYSTEM)
    Breaker.objects.create(connection=row, **{"threshold": 2, "pause_s": 60, **breaker})
    return again(row)


def again(row: Connection) -> Connection:
    """The row as a caller reads it."""
    found: Connection = Connection.objects.select_related("breaker").get(id=row.id)
    return found


def opened(**breaker: Any) -> Connection:
    """A connection whose circuit has just opened."""
    row = make(**breaker)
    for _ in range(row.breaker.threshold):
        record_failure(admit(again(row)), DOWN)
    return again(row)


def let_time_pass(row: Connection) -> Connection:
    """The pause is over, by the database's clock."""
    Breaker.objects.filter(connection=row).update(next_probe_at=Now() - timedelta(seconds=1))
    return again(row)


def published(row: Connection) -> list[str]:
    types = Event.objects.filter(subject=f"connection/{row.id}", type__contains="circuit").order_by("arrival")
    return [type_.rpartition("portal.")[2] for type_ in types.values_list("type", flat=True)]


def test_it_opens_after_failures_in_a_row_and_an_answer_between_them_begins_anew(as_acme: Any) -> None:
    row = make()
    record_failure(admit(row), DOWN)
    record_answer(admit(again(row)))
    record_failure(admit(again(row)), DOWN)
    assert again(row).breaker.state == "closed"
    record_failure(admit(again(row)), DOWN)
    assert again(row).breaker.state == "open"
    with pytest.raises(CircuitOpen, match=r"failed 2 times in a row .* It is down\.") as refused:
        admit(again(row))
    assert refused.value.until == again(row).breaker.next_probe_at
    assert published(row) == ["connection.circuit_opened.v1"]


def test_one_probe_at_a_time_and_an_overtaken_one_decides_nothing(as_acme: Any) -> None:
    row = let_time_pass(opened())
    first = admit(row)
    assert first.probe == 1
    with pytest.raises(CircuitOpen):
        admit(again(row))
    Breaker.objects.filter(connection=row).update(probe_expires_at=Now() - timedelta(seconds=1))
    second = admit(again(row))
    assert second.probe == 2
    record_answer(first)
    assert again(row).breaker.state == "half_open"
    record_failure(first, DOWN)
    assert again(row).breaker.state == "half_open"
    record_answer(second)
    assert (again(row).breaker.state, again(row).breaker.failures) == ("closed", 0)
    assert published(row) == ["connection.circuit_opened.v1", "connection.circuit_closed.v1"]


def test_each_failed_probe_doubles_the_pause_up_to_the_longest(as_acme: Any) -> None:
    row = opened(pause_s=60, longest_pause_s=200)
    pauses = [breakers.pause_after(row.breaker)]
    for _ in range(3):
        record_failure(admit(let_time_pass(row)), DOWN)
        breaker: Any = again(row).breaker
        assert breaker.state == "open"
        assert (breaker.next_probe_at - breaker.last_failure_at).total_seconds() == breakers.pause_after(breaker)
        pauses.append(breakers.pause_after(breaker))
    assert pauses == [60, 120, 200, 200]
    assert published(row) == ["connection.circuit_opened.v1"], "one event an outage"


def test_a_late_failure_of_somebody_let_in_before_changes_nothing(as_acme: Any) -> None:
    row = make()
    early = admit(row)
    for _ in range(2):
        record_failure(admit(again(row)), DOWN)
    before = again(row).breaker.next_probe_at
    record_failure(early, DOWN)
    record_answer(early)
    assert (again(row).breaker.state, again(row).breaker.next_probe_at) == ("open", before)


def test_a_closed_circuit_costs_no_query(as_acme: Any, django_assert_num_queries: Any) -> None:
    row = make()
    with django_assert_num_queries(0):
        assert admit(row).probe is None


def test_an_interactive_call_gets_503_with_the_moment_and_does_not_call(
    acme: Any, globex: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    api = api_for(acme)
    with tenant_context(acme):
        row = make(server)
    url = f"/api/v2/connections/{row.id}"
    server.failures = [503] * 10
    sample = {"entity": "invoices", "limit": 1}
    assert [api.get(f"{url}/sample", sample).json()["code"] for _ in range(2)] == ["connectors.unavailable"] * 2
    calls = len(server.requests)
    refused = api.get(f"{url}/sample", sample)
    assert (refused.status_code, refused.json()["code"]) == (503, "connectors.circuit_open")
    assert 0 < int(refused["Retry-After"]) <= 60
    assert refused.json()["facts"]["until"].startswith("20")
    assert len(server.requests) == calls, "nothing was sent"
    shown = api.get(url).json()["circuit"]
    assert (shown["state"], shown["failures"], shown["last_failure"]["code"]) == ("open", 2, "connectors.unavailable")
    assert api.get("/api/v2/connections").json()["results"][0]["circuit"]["state"] == "open"

    other = api_for(globex)
    assert all(one["circuit"]["state"] == "closed" for one in other.get("/api/v2/connections").json()["results"])
    for answer in (other.post(f"{url}/circuit/reset"), other.patch(f"{url}/circuit", {"threshold": 3})):
        assert (answer.status_code, answer.json()["code"]) == (404, "connectors.connection_not_found")
    with tenant_context(acme):
        assert again(row).breaker.state == "open"


def test_what_the_system_refuses_is_an_answer(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    api = api_for(acme)
    with tenant_context(acme):
        row = make(server)
    url = f"/api/v2/connections/{row.id}/sample"
    server.failures = [503] * 5 + [401]
    codes = [api.get(url, {"entity": "invoices"}).json()["code"] for _ in range(2)]
    assert codes == ["connectors.unavailable", "connectors.credentials_refused"]
    for _ in range(3):
        assert api.get(url, {"entity": "gone"}).json()["code"] == "connectors.entity_gone"
    with tenant_context(acme):
        assert (again(row).breaker.state, again(row).breaker.failures) == ("closed", 0)


def test_a_check_probes_at_once_and_closes_it(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    api = api_for(acme)
    with tenant_context(acme):
        row = make(server)
        for _ in range(2):
            record_failure(admit(again(row)), DOWN)
        planned = again(row).breaker.next_probe_at
    url = f"/api/v2/connections/{row.id}"
    server.failures = [503] * 5
    assert api.post(f"{url}/check").json()["ok"] is False
    with tenant_context(acme):
        breaker = again(row).breaker
        assert (breaker.state, breaker.next_probe_at) == ("open", planned), "a person's probe makes no pause longer"
    assert api.post(f"{url}/check").json()["ok"] is True
    assert api.get(url).json()["circuit"]["state"] == "closed"


def test_an_operator_closes_it_and_that_is_on_record(acme: Any, api_for: Callable[..., Any]) -> None:
    with tenant_context(acme):
        row = opened()
    url = f"/api/v2/connections/{row.id}/circuit/reset"
    refused = api_for(acme, permissions=["connection:view", "connection:use"]).post(url)
    assert refused.status_code == 403
    done = api_for(acme, permissions=["connection:view", "connection:control"]).post(url)
    assert (done.status_code, done.json()["circuit"]["state"]) == (200, "closed")
    with tenant_context(acme):
        entry = AuditEntry.objects.get(action="connection.circuit_reset", target_id=str(row.id))
        assert entry.facts["before"] == "open"
        assert published(row)[-1] == "connection.circuit_closed.v1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"threshold": 0}, "threshold"),
        ({"pause_s": 4000}, "pause_s"),
        ({"pause_s": 600, "longest_pause_s": 300}, "longest_pause_s"),
        ({"longest_pause_s": 90_000}, "longest_pause_s"),
    ],
    ids=["no-failure", "long-pause", "longest-is-shorter", "more-than-a-day"],
)
def test_a_setting_that_makes_no_sense_is_refused(
    acme: Any, api_for: Callable[..., Any], change: dict[str, int], field: str
) -> None:
    with tenant_context(acme):
        row = make()
    answer = api_for(acme).patch(f"/api/v2/connections/{row.id}/circuit", change)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_switched_off_it_closes_and_counts_nothing(acme: Any, api_for: Callable[..., Any]) -> None:
    with tenant_context(acme):
        row = opened()
    answer = api_for(acme).patch(f"/api/v2/connections/{row.id}/circuit", {"enabled": False})
    assert (answer.json()["circuit"]["enabled"], answer.json()["circuit"]["state"]) == (False, "closed")
    with tenant_context(acme):
        for _ in range(5):
            record_failure(admit(again(row)), DOWN)
        assert again(row).breaker.state == "closed"


def test_new_settings_of_the_connection_close_it(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    with tenant_context(acme):
        row = opened()
        config = {**row.config, "base_url": server.base_url}
    answer = api_for(acme).patch(f"/api/v2/connections/{row.id}", {"config": config})
    assert answer.status_code == 200, answer.json()
    assert api_for(acme).get(f"/api/v2/connections/{row.id}").json()["circuit"]["state"] == "closed"

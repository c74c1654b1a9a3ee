"""Types that tenants define: versions, what a change breaks and for whom, and publishing by API key."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from apps.access.contracts import Actor
from apps.access.services.api_keys import create_api_key
from apps.access.services.http import actor_for_user
from apps.audit.models import AuditEntry
from apps.core.ids import uuid7
from apps.events.models import Event
from apps.events.services.compatibility import list_changes
from apps.events.services.event_contracts import create_contract, publish_custom_event
from apps.integrations.services.flows import create_flow
from apps.tenancy.services.context import tenant_context
from tests.engine.process_factories import process, step, value
from tests.events.hooks import SYSTEM, deliveries, fan_out, subscribe

ROOT = "/api/v2/event-contracts"
EVENTS = "/api/v2/events"
SCHEMA = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "amount": {"type": "number"}, "state": {"enum": ["open", "paid"]}},
    "required": ["id"],
}
TYPE = "com.acme.invoice.paid.v1"


def changed(**properties: Any) -> dict[str, Any]:
    """The schema with other properties; None takes one away."""
    found = {**SCHEMA["properties"], **properties}  # type: ignore[dict-item]
    return {**SCHEMA, "properties": {name: value for name, value in found.items() if value is not None}}


@pytest.mark.parametrize(
    ("new", "breaks"),
    [
        (SCHEMA, set()),
        ({**SCHEMA, "title": "Paid"}, set()),
        (changed(note={"type": "string"}), set()),  # optional field added to an open object
        (changed(amount=None), set()),  # optional field removed, object still open
        ({**changed(id=None), "required": []}, {"forward"}),
        ({**SCHEMA, "required": []}, {"forward"}),
        ({**SCHEMA, "required": ["id", "amount"]}, {"backward"}),
        ({**changed(note={"type": "string"}), "required": ["id", "note"]}, {"backward"}),
        (changed(id={"type": "number"}), {"forward"}),  # widened
        (changed(amount={"type": "integer"}), {"backward"}),  # narrowed
        (changed(id={"type": "string"}), {"backward", "forward"}),
        (changed(id={"type": ["integer", "null"]}), {"forward"}),
        (changed(id={}), {"forward"}),
        (changed(state={"enum": ["open", "paid", "void"]}), {"forward"}),
        (changed(state={"enum": ["open"]}), {"backward"}),
        (changed(state={"enum": ["open", "void"]}), {"backward", "forward"}),
        (changed(state={}), {"forward"}),
        (changed(amount={"type": "number", "minimum": 0}), {"backward"}),
        ({**SCHEMA, "additionalProperties": False}, {"backward"}),
        (changed(amount={"anyOf": [{"type": "number"}]}), {"backward", "forward"}),  # cannot be compared
    ],
)
def test_what_a_change_breaks(new: dict[str, Any], breaks: set[str]) -> None:
    assert {one for change in list_changes(SCHEMA, new) for one in change.breaks} == breaks
    mirror = {"backward": "forward", "forward": "backward"}
    back = {one for change in list_changes(new, SCHEMA) for one in change.breaks}
    assert {mirror[one] for one in back} == breaks, "the way back breaks the other side"


def test_changes_are_found_in_depth() -> None:
    def of(kind: str) -> dict[str, Any]:
        line = {"type": "object", "properties": {"amount": {"type": kind}}}
        return {"type": "object", "properties": {"lines": {"type": "array", "items": line}}}

    [change] = list_changes(of("number"), of("string"))
    assert change.path == "lines[].amount"
    assert set(change.breaks) == {"backward", "forward"}


def define(client: Any, **options: Any) -> dict[str, Any]:
    answer = client.post(ROOT, {"type": TYPE, "schema": SCHEMA, **options}, format="json")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_breaking_version_is_refused_with_the_names_of_its_consumers(acme: Any, api_for: Any) -> None:
    client = api_for(acme)
    made = define(client)
    with tenant_context(acme):
        reader = subscribe(types=["com.acme.*"], filter="data->>'id' = '1'")
        subscribe(types=["alarm.*"])
    breaking = changed(id={"type": "string"})

    check = client.post(f"{ROOT}/{made['id']}/check", {"schema": breaking}, format="json").json()
    assert check["compatible"] is False
    assert [(one["name"], one["reads"]) for one in check["consumers"]] == [(reader.name, ["id"])]
    assert check["changes"][0]["path"] == "id"

    refused = client.post(f"{ROOT}/{made['id']}/versions", {"schema": breaking}, format="json")
    assert refused.status_code == 409
    assert reader.name in refused.json()["detail"]
    assert refused.json()["problems"][0]["code"] == "events.breaking_change"
    assert client.get(f"{ROOT}/{made['id']}").json()["version"] == 1

    accepted = client.post(
        f"{ROOT}/{made['id']}/versions", {"schema": breaking, "accept_breaking": True, "note": "v2"}, format="json"
    )
    assert accepted.json()["number"] == 2
    with tenant_context(acme):
        entry = AuditEntry.objects.get(action="events.contract.versioned", target_id=made["id"])
        assert entry.facts["consumers"] == [reader.name]
    assert len(client.get(f"{ROOT}/{made['id']}/versions").json()["results"]) == 2


@pytest.mark.parametrize(
    ("mode", "schema", "status"),
    [
        ("full", changed(note={"type": "string"}), 201),
        ("forward", {**SCHEMA, "required": ["id", "amount"]}, 201),
        ("forward", {**SCHEMA, "required": []}, 409),
        ("backward", {**SCHEMA, "required": []}, 201),
        ("backward", {**SCHEMA, "required": ["id", "amount"]}, 409),
        ("none", changed(id={"type": "string"}), 201),
    ],
)
def test_the_mode_says_what_is_kept(acme: Any, api_for: Any, mode: str, schema: dict[str, Any], status: int) -> None:
    client = api_for(acme)
    made = define(client, compatibility=mode)
    assert client.post(f"{ROOT}/{made['id']}/versions", {"schema": schema}, format="json").status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {"type": "com.analytics-portal.run.completed.v1", "schema": SCHEMA},  # the portal's
        {"type": "com.acme.paid", "schema": SCHEMA},  # no version
        {"type": "paid.v1", "schema": SCHEMA},  # not reverse-DNS
        {"type": TYPE, "schema": {"type": "array"}},
        {"type": TYPE, "schema": {"type": "object", "properties": 5}},
        {"type": TYPE, "schema": {"type": "object", "$ref": "https://evil.example/schema"}},
        {"type": TYPE, "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}},
        {"type": TYPE, "schema": {"type": "object", "not": __import__("json").loads('{"not":' * 30 + "{}" + "}" * 30)}},
    ],
)
def test_what_cannot_be_a_contract_is_refused(acme: Any, api_for: Any, body: dict[str, Any]) -> None:
    answer = api_for(acme).post(ROOT, body, format="json")
    assert answer.status_code == 422, answer.content


def publish(client: Any, **changes: Any) -> Any:
    body = {"id": "a-1", "type": TYPE, "subject": "invoice/1", "data": {"id": 1}, **changes}
    return client.post(EVENTS, body, format="json")


def test_a_program_publishes_by_key_and_repeating_changes_nothing(acme: Any, user_for: Any, api_for: Any) -> None:
    from rest_framework.test import APIClient

    define(api_for(acme))
    person = user_for(acme)
    with tenant_context(acme):
        _key, token = create_api_key("shop", scopes=["event:publish"], actor=actor_for_user(person))
        row = subscribe(types=[TYPE])
    program = APIClient(HTTP_HOST="acme.localhost", HTTP_AUTHORIZATION=f"Bearer {token}")

    first, again = publish(program), publish(program)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["event"] == again.json()["event"]
    assert again.json()["duplicate"] is True
    other = publish(program, data={"id": 2})
    assert (other.status_code, other.json()["code"]) == (409, "events.id_conflict")
    with tenant_context(acme):
        event = Event.objects.get(id=first.json()["event"])
        assert (event.type, event.subject, event.key, event.data) == (TYPE, "invoice/1", "invoice/1", {"id": 1})
        fan_out()
        assert [one.event_id for one in deliveries(row)] == [event.id]
    assert program.get(EVENTS).status_code == 403


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"data": {"id": "x"}}, "data.id"),
        ({"data": {}}, "data"),
        ({"data": {"id": 1, "state": "lost"}}, "data.state"),
        ({"type": "com.acme.unknown.v1"}, "type"),
        ({"type": "run.completed.v1"}, "type"),
        ({"id": "a b"}, None),
        ({"data": {"id": 1, "blob": "x" * 70_000}}, None),
    ],
)
def test_what_does_not_fit_is_refused(acme: Any, api_for: Any, changes: dict[str, Any], path: str | None) -> None:
    client = api_for(acme)
    define(client)
    answer = publish(client, **changes)
    assert answer.status_code == 422
    if path is not None:
        assert answer.json()["problems"][0]["path"] == path


def test_permissions_and_the_second_tenant(acme: Any, globex: Any, api_for: Any) -> None:
    made = define(api_for(acme))
    viewer, stranger = api_for(acme, permissions=("event:view",)), api_for(globex)
    assert viewer.get(ROOT).status_code == 200
    assert viewer.post(ROOT, {"type": TYPE, "schema": SCHEMA}, format="json").status_code == 403
    assert publish(viewer).status_code == 403
    assert stranger.get(ROOT).json()["results"] == []
    assert stranger.get(f"{ROOT}/{made['id']}").status_code == 404
    assert stranger.get(f"{ROOT}/{made['id']}/versions").status_code == 404
    assert stranger.post(f"{ROOT}/{made['id']}/check", {"schema": SCHEMA}, format="json").status_code == 404
    assert publish(stranger).status_code == 422
    patched = api_for(acme).patch(f"{ROOT}/{made['id']}", {"compatibility": "none"}, format="json")
    assert patched.json()["compatibility"] == "none"


@pytest.mark.committed
def test_one_id_published_at_once_by_many_is_one_event(committed_acme: Any) -> None:
    type_, client_id = f"com.acme.race-{uuid7().hex}.v1", f"race-{uuid7()}"
    with tenant_context(committed_acme):
        create_contract(type_, schema=SCHEMA, actor=SYSTEM)
    found: list[Any] = []

    def work() -> None:
        try:
            with tenant_context(committed_acme):
                found.append(
                    publish_custom_event(type_, subject="s", data={"id": 1}, client_id=client_id, actor=SYSTEM)
                )
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({one.event_id for one in found}) == 1
    assert [one.duplicate for one in found].count(False) == 1
    with tenant_context(committed_acme):
        assert Event.objects.filter(type=type_).count() == 1


def test_processes_that_use_a_type_are_named_among_its_consumers(acme: Any, globex: Any, api_for: Any) -> None:
    made = define(api_for(acme))
    for tenant, name in ((acme, "Wait for it"), (globex, "Foreign")):
        with tenant_context(tenant):
            inner = step("pay", "wait", config={"event": TYPE})
            loop = step("each", "foreach", config={"items": "[1]", "steps": [inner]})
            create_flow(name, definition=process(loop), actor=Actor.system("tests"))
            create_flow("Other", definition=process(value("a")), actor=Actor.system("tests"))

    body = {"schema": changed(id={"type": "string"})}
    check = api_for(acme).post(f"{ROOT}/{made['id']}/check", body, format="json").json()

    assert [(one["kind"], one["name"]) for one in check["consumers"]] == [("flow", "Wait for it")]

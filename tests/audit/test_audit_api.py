"""GET /api/v2/audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from apps.access.contracts import Actor
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.tenancy.services.context import tenant_context

ANNA = Actor(kind="user", id=uuid7(), name="anna@acme.example")
BORIS = Actor(kind="api_key", id=uuid7(), name="Boris's key")


def record(
    tenant: Any, action: str, actor: Actor = ANNA, target: tuple[str, object] = ("flow", "f1"), **more: Any
) -> UUID:
    with tenant_context(tenant):
        return record_audit(
            actor=actor,
            action=action,
            target_type=target[0],
            target_id=target[1],
            summary=more.get("summary", "Something happened."),
            facts=more.get("facts"),
        )


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [entry["id"] for entry in response.json()["results"]]


def test_the_newest_entry_comes_first_in_full(acme: Any, api_for: Any) -> None:
    record(acme, "flow.created")
    entry_id = record(acme, "flow.published", facts={"number": 3})

    first = api_for(acme, permissions=("audit:view",)).get("/api/v2/audit").json()["results"][0]

    assert first["id"] == str(entry_id)
    assert first["actor"] == {"kind": "user", "id": str(ANNA.id), "name": "anna@acme.example"}
    assert first["target"] == {"type": "flow", "id": "f1"}
    assert (first["action"], first["facts"]) == ("flow.published", {"number": 3})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"actor": "BORIS"}, {1}),  # part of the name
        ({"actor": str(ANNA.id)}, {0, 2}),  # id
        ({"action": "probe.opened"}, {0}),
        ({"action": "probe.*"}, {0, 1}),
        ({"target": "probe"}, {1}),
        ({"target": "flow:f9"}, {2}),
        ({"search": "needle"}, {2}),
        ({"search": "NEEDLE", "actor": "boris"}, set()),  # all filters must match
    ],
)
def test_filters(acme: Any, api_for: Any, query: dict[str, str], expected: set[int]) -> None:
    made = [
        record(acme, "probe.opened"),
        record(acme, "probe.closed", actor=BORIS, target=("probe", 7)),
        record(acme, "flow.published", target=("flow", "f9"), summary="A needle."),
    ]

    found = set(ids(api_for(acme, permissions=("audit:view",)).get("/api/v2/audit", query))) & {str(i) for i in made}

    assert found == {str(made[index]) for index in expected}


def test_a_span_of_time(acme: Any, api_for: Any) -> None:
    entry_id = str(record(acme, "flow.published"))
    client = api_for(acme, permissions=("audit:view",))
    before, after = (now() - timedelta(minutes=1)).isoformat(), (now() + timedelta(minutes=1)).isoformat()

    assert entry_id in ids(client.get("/api/v2/audit", {"from": before, "to": after}))
    assert entry_id not in ids(client.get("/api/v2/audit", {"from": after}))
    assert entry_id not in ids(client.get("/api/v2/audit", {"to": before}))


def test_paging_visits_each_entry_once(acme: Any, api_for: Any) -> None:
    made = [str(record(acme, "page.turned")) for _ in range(7)]
    client = api_for(acme, permissions=("audit:view",))
    seen: list[str] = []
    address = "/api/v2/audit?action=page.turned&limit=3"
    while address:
        page = client.get(address)
        seen += ids(page)
        address = page.json()["next"]

    assert seen == made[::-1]


def test_a_page_is_one_query(acme: Any, api_for: Any, django_assert_num_queries: Any) -> None:
    for _ in range(5):
        record(acme, "flow.published")
    client = api_for(acme, permissions=("audit:view",))
    client.get("/api/v2/audit")

    with django_assert_num_queries(4):  # session, user, permissions, entries
        client.get("/api/v2/audit")


def test_a_bad_filter_is_a_clear_answer(acme: Any, api_for: Any) -> None:
    answer = api_for(acme, permissions=("audit:view",)).get("/api/v2/audit", {"from": "yesterday"})

    assert answer.status_code == 422
    assert answer.json()["field"] == "from"


def test_it_needs_the_permission(acme: Any, api_for: Any, client: Any) -> None:
    assert api_for(acme, permissions=("flow:view",)).get("/api/v2/audit").status_code == 403
    assert client.get("/api/v2/audit", headers={"host": "acme.localhost"}).status_code in (401, 403)


def test_the_second_tenant_sees_none_of_it(acme: Any, globex: Any, api_for: Any) -> None:
    entry_id = str(record(acme, "flow.published"))

    assert entry_id not in ids(api_for(globex, permissions=("audit:view",)).get("/api/v2/audit", {"limit": 200}))


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_can_only_be_read(acme: Any, api_for: Any, method: str) -> None:
    assert getattr(api_for(acme, roles=("admin",)), method)("/api/v2/audit").status_code == 405

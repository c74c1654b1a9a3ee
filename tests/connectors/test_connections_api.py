"""Connections over REST: create, read, change, check, archive; a second tenant sees none of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection as db_connection

from apps.connectors.models import Connection
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve

SECRET = "tok-canary-9f8e7d"

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serve() as running:
        yield running


def body(server: ApiServer, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Billing API",
        "connector": "rest",
        "config": {
            "base_url": server.base_url,
            "requests_per_second": 1000,
            "resources": [{"name": "invoices", "path": "plain", "key": "id", "cursor_field": "updated_at"}],
        },
        "secrets": {"token": SECRET},
        **changes,
    }


def test_a_created_connection_never_shows_its_secrets(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    api = api_for(acme)
    created = api.post("/api/v2/connections", body(server))
    assert created.status_code == 201, created.json()
    document = created.json()
    assert (document["slug"], document["status"], document["secrets_set"]) == ("billing-api", "new", ["token"])
    listed = api.get("/api/v2/connections")
    assert SECRET not in created.content.decode() + listed.content.decode()
    with tenant_context(acme), db_connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(c)::text FROM connectors_connection c")
        assert SECRET not in json.dumps(cursor.fetchall())


def test_the_built_in_warehouse_is_there_and_protected(acme: Any, api_for: Callable[..., Any]) -> None:
    api = api_for(acme)
    (warehouse,) = [one for one in api.get("/api/v2/connections").json()["results"] if one["slug"] == "warehouse"]
    assert warehouse["builtin"] is True
    for answer in (
        api.delete(f"/api/v2/connections/{warehouse['id']}"),
        api.patch(f"/api/v2/connections/{warehouse['id']}", {"name": "Mine"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "connectors.connection_protected")
    assert api.post(f"/api/v2/connections/{warehouse['id']}/check").json()["ok"] is True


@pytest.mark.parametrize(
    ("change", "path", "hint"),
    [
        ({"config": {"base_url": "https://x.example"}}, "config.resources", "Fill it in."),
        (
            {"config": {"base_url": "https://x.example", "resources": [], "colour": 1}},
            "config.colour",
            "Known settings",
        ),
        (
            {"config": {"base_url": "https://x.example", "resources": [{"name": "a", "path": "b"}], "paging": "magic"}},
            "config.paging",
            "One of: none, page",
        ),
        (
            {"config": {"base_url": "https://x.example", "resources": [{"name": "1a", "path": "b"}]}},
            "config.resources[0].name",
            None,
        ),
        ({"secrets": {"pin": "1"}}, "secrets.pin", "It has: api_key"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(
    acme: Any, api_for: Callable[..., Any], server: ApiServer, change: dict[str, Any], path: str, hint: str | None
) -> None:
    answer = api_for(acme).post("/api/v2/connections", body(server, **change))
    assert answer.status_code == 422, answer.json()
    found = {problem["path"]: problem.get("hint") for problem in answer.json()["problems"]}
    assert path in found
    assert hint is None or hint in (found[path] or "")


def test_an_unknown_connector_lists_those_that_are_installed(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    answer = api_for(acme).post("/api/v2/connections", body(server, connector="fax"))
    assert answer.status_code == 404
    assert "rest" in answer.json()["remedy"]


def test_a_name_can_be_used_once(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    api = api_for(acme)
    api.post("/api/v2/connections", body(server))
    again = api.post("/api/v2/connections", body(server))
    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "connectors.name_taken", "name")


def test_a_check_is_remembered_and_forgotten_when_the_settings_change(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    api = api_for(acme)
    url = f"/api/v2/connections/{api.post('/api/v2/connections', body(server)).json()['id']}"
    assert api.post(f"{url}/check").json()["ok"] is True
    assert api.get(url).json()["status"] == "ok"
    server.failures = [404] * 9
    failed = api.post(f"{url}/check").json()
    assert (failed["ok"], failed["code"]) == (False, "connectors.entity_gone")
    assert api.get(url).json()["status"] == "failing"
    changed = api.patch(url, {"config": {**api.get(url).json()["config"], "page_size": 50}}).json()
    assert (changed["status"], changed["last_check"], changed["secrets_set"]) == ("new", None, ["token"])


def test_a_draft_check_uses_stored_credentials_only_for_the_same_target(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    api = api_for(acme)
    config = {**body(server)["config"], "auth": "bearer", "resources": [{"name": "g", "path": "guarded"}]}
    saved = api.post("/api/v2/connections", body(server, config=config, secrets={"token": "s3cret"})).json()
    same = api.post("/api/v2/connections/check", {"connector": "rest", "config": config, "connection": saved["id"]})
    assert same.json()["ok"] is True
    with serve() as elsewhere:
        moved = {**config, "base_url": elsewhere.base_url}
        other = api.post("/api/v2/connections/check", {"connector": "rest", "config": moved, "connection": saved["id"]})
        assert other.json()["code"] == "connectors.credentials_refused"
        assert all("Authorization" not in request.headers for request in elsewhere.requests)


def test_entities_structure_and_rows_can_be_looked_at(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    api = api_for(acme)
    url = f"/api/v2/connections/{api.post('/api/v2/connections', body(server)).json()['id']}"
    assert api.get(f"{url}/entities?search=inv").json() == {
        "results": [{"name": "invoices", "label": "invoices", "kind": "resource", "row_estimate": None}],
        "next": None,
    }
    schema = api.get(f"{url}/entity?name=invoices").json()
    assert (schema["keys"], schema["cursor_candidates"]) == (["id"], ["updated_at"])
    sample = api.get(f"{url}/sample?entity=invoices&limit=2").json()
    assert [row["total"] for row in sample["rows"]] == ["1.100000", "2.100000"]
    gone = api.get(f"{url}/entity?name=nothing")
    assert (gone.status_code, gone.json()["code"]) == (422, "connectors.entity_gone")


def test_archiving_can_be_undone(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    api = api_for(acme)
    url = f"/api/v2/connections/{api.post('/api/v2/connections', body(server)).json()['id']}"
    assert api.delete(url).json()["archived_at"] is not None
    assert [one["slug"] for one in api.get("/api/v2/connections").json()["results"]] == ["warehouse"]
    assert api.post(f"{url}/check").status_code == 404
    assert api.post(f"{url}/restore").json()["archived_at"] is None
    assert api.post(f"{url}/check").json()["ok"] is True


def test_a_viewer_may_look_but_not_change(acme: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    connection_id = api_for(acme).post("/api/v2/connections", body(server)).json()["id"]
    viewer = api_for(acme, roles=("viewer",))
    assert viewer.get(f"/api/v2/connections/{connection_id}").status_code == 200
    for answer in (
        viewer.post("/api/v2/connections", body(server, name="Other")),
        viewer.patch(f"/api/v2/connections/{connection_id}", {"name": "Other"}),
        viewer.delete(f"/api/v2/connections/{connection_id}"),
        viewer.post(f"/api/v2/connections/{connection_id}/check"),
        viewer.get(f"/api/v2/connections/{connection_id}/sample?entity=invoices"),
    ):
        assert answer.status_code == 403
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_second_tenant_finds_nothing(acme: Any, globex: Any, api_for: Callable[..., Any], server: ApiServer) -> None:
    connection_id = api_for(acme).post("/api/v2/connections", body(server)).json()["id"]
    stranger = api_for(globex)
    url = f"/api/v2/connections/{connection_id}"
    answers = [
        stranger.get(url),
        stranger.patch(url, {"name": "Mine"}),
        stranger.delete(url),
        stranger.post(f"{url}/restore"),
        stranger.post(f"{url}/check"),
        stranger.get(f"{url}/entities"),
        stranger.get(f"{url}/entity?name=invoices"),
        stranger.get(f"{url}/sample?entity=invoices"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert [one["slug"] for one in stranger.get("/api/v2/connections").json()["results"]] == ["warehouse"]


def test_a_page_costs_the_same_however_many_connections_there_are(
    acme: Any, api_for: Callable[..., Any], django_assert_num_queries: Any
) -> None:
    api = api_for(acme)
    api.get("/api/v2/connections")
    with tenant_context(acme):
        Connection.objects.bulk_create(
            Connection(name=f"C {number}", slug=f"c-{number}", connector="rest", id=uuid4()) for number in range(30)
        )
    with django_assert_num_queries(5):
        page = api.get("/api/v2/connections?limit=20").json()
    assert len(page["results"]) == 20
    assert page["next"]
    assert len(api.get(page["next"]).json()["results"]) == 11


def test_stored_secrets_do_not_follow_a_changed_address(
    acme: Any, api_for: Callable[..., Any], server: ApiServer
) -> None:
    """Else whoever may edit a connection could read its credentials by pointing it to a host of their own."""
    url = f"/api/v2/connections/{api_for(acme).post('/api/v2/connections', body(server)).json()['id']}"
    editor = api_for(acme, permissions=("connection:view", "connection:edit", "connection:use"))
    config = editor.get(url).json()["config"]
    moved = {**config, "base_url": "https://evil.example/"}

    refused = editor.patch(url, {"config": moved})
    assert (refused.status_code, refused.json()["code"]) == (422, "connectors.secrets_needed")
    assert refused.json()["field"] == "secrets.token"
    assert editor.get(url).json()["config"] == config
    assert editor.patch(url, {"config": {**config, "page_size": 7}}).status_code == 200

    changed = api_for(acme).patch(url, {"config": moved, "secrets": {"token": "another-token"}})
    assert (changed.status_code, changed.json()["config"]["base_url"]) == (200, "https://evil.example/")
    # Without stored credentials there is nothing to protect.
    assert api_for(acme).patch(url, {"config": config, "secrets": {"token": None}}).status_code == 200
    assert editor.patch(url, {"config": moved}).status_code == 200

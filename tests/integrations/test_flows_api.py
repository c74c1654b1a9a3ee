"""REST v2 of integrations: shapes, permissions, other tenants, numbers of queries."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.test.utils import CaptureQueriesContext

from apps.connectors.registries import connector_registry
from apps.core.ids import uuid7
from apps.integrations.services.deployments import deploy_version
from apps.tenancy.services.context import tenant_context
from tests.integrations.factories import BEN, make_definition, make_flow, make_source, make_version
from tests.integrations.memory import MemoryConnector, register_memory

API = "/api/v2"


@pytest.fixture
def flow(acme):
    """A published flow of acme, deployed to dev; the current scope stays public."""
    cache.clear()
    register_memory()
    with tenant_context(acme):
        make_source()
        found = make_flow()
        make_version(found)
        deploy_version(found.pk, environment="dev", version=1, actor=BEN)
    yield found
    for name in ("memory", "memory_sink"):
        connector_registry._items.pop(name, None)
    MemoryConnector.down = False
    cache.clear()


@pytest.fixture
def api(acme, api_for):
    """Acme's administrator."""
    return api_for(acme)


def test_list_shows_versions_deployments_and_ends(api, flow):
    body = api.get(f"{API}/flows").json()
    (item,) = [one for one in body["results"] if one["id"] == str(flow.pk)]
    assert item["latest_version"]["number"] == 1
    assert [(one["environment"], one["version"]) for one in item["deployments"]] == [("dev", 1)]
    assert item["source"] == {"connection": "erp", "entity": "public.invoices"}
    assert item["last_run"] is None
    assert "draft" not in item
    assert {"next", "previous"} <= set(body)


def test_the_list_costs_the_same_for_one_flow_and_for_ten(api, flow, acme):
    from django.db import connection

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"{API}/flows").status_code == 200
        everything.append(len(queries))
        return len([query for query in queries if 'FROM "integrations_' in query["sql"]])

    everything: list[int] = []
    count()
    one = count()
    with tenant_context(acme):
        for number in range(9):
            make_flow(f"Flow {number}")
    assert count() == one == 3  # the page, latest versions, deployments
    assert everything[1] == everything[2]  # facts of other apps do not grow either


def test_paging_by_cursor(api, flow, acme):
    with tenant_context(acme):
        names = [make_flow(f"Paged {number}").name for number in range(5)]
    seen, url = [], f"{API}/flows?limit=2&search=Paged"
    while url:
        body = api.get(url).json()
        seen += [item["name"] for item in body["results"]]
        url = body["next"]
    assert seen == names[::-1]


def test_create_read_change_archive(api, acme):
    made = api.post(f"{API}/flows", {"name": "Orders", "description": "nightly"})
    assert made.status_code == 201
    flow = made.json()
    assert (flow["slug"], flow["draft_revision"], flow["draft"]["schema"]) == ("orders", 1, "flow/1")
    url = f"{API}/flows/{flow['id']}"
    changed = api.patch(
        url, {"name": "Orders EU", "draft": {**flow["draft"], "variables": {"a": "1"}}, "expected_revision": 1}
    )
    assert (changed.status_code, changed.json()["name"], changed.json()["draft_revision"]) == (200, "Orders EU", 2)
    conflict = api.patch(url, {"draft": flow["draft"], "expected_revision": 1})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "integrations.draft_conflict")
    assert conflict.json()["facts"]["saved_by"] == api.user.email
    missing = api.patch(url, {"draft": flow["draft"]})
    assert (missing.status_code, missing.json()["field"]) == (422, "expected_revision")
    assert api.delete(url).status_code == 204
    assert api.patch(url, {"name": "x"}).json()["code"] == "integrations.flow_archived"
    assert flow["id"] in {one["id"] for one in api.get(f"{API}/flows?archived=true").json()["results"]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x", "draft": []}, "draft"),
        ({"name": "x", "draft": {**make_definition(), "colour": 1}}, "draft.colour"),
        ({"name": "x", "kind": "dance"}, "kind"),
    ],
)
def test_bad_input_is_named(api, body, field):
    refused = api.post(f"{API}/flows", body)
    assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert refused["Content-Type"] == "application/problem+json"


def test_validate_points_at_the_character(api, flow):
    body = api.post(
        f"{API}/flows/{flow.pk}/validate", {"definition": make_definition(field1__expression="custmer")}
    ).json()
    assert body["valid"] is False
    problem = body["problems"][0]
    assert (problem["path"], problem["start"], problem["end"]) == ("nodes[1].config.fields[1].expression", 0, 7)
    assert api.post(f"{API}/flows/{flow.pk}/validate", {}).json()["valid"] is True


def test_preview_and_suggest(api, flow):
    body = api.post(f"{API}/flows/{flow.pk}/preview", {"limit": 3}).json()
    assert [row["accepted"] for row in body["rows"]] == [True, True, False]
    assert body["rows"][2]["errors"][0]["rule"] == "positive_total"
    assert body["rows"][0]["target"]["total"] == "10.00"
    assert api.post(f"{API}/flows/{flow.pk}/preview", {"limit": 101}).status_code == 422
    body = api.post(f"{API}/flows/{flow.pk}/suggest", {"connection": "erp", "entity": "public.invoices"}).json()
    assert (body["keys"], body["cursor"], len(body["fields"])) == (["id"], "updated_at", 7)
    assert set(body["fields"][0]) == {"target", "type", "expression", "nullable", "confidence", "reason"}
    gone = api.post(f"{API}/flows/{flow.pk}/suggest", {"connection": "erp", "entity": "gone"})
    assert (gone.status_code, gone.json()["code"]) == (422, "integrations.source_unknown")


def test_publish_versions_lineage(api, flow):
    again = api.post(f"{API}/flows/{flow.pk}/publish", {"note": "same"})
    assert (again.status_code, again.json()["created"], again.json()["number"]) == (200, False, 1)
    revision = api.get(f"{API}/flows/{flow.pk}").json()["draft_revision"]
    draft = make_definition(map__filter="total > 0")
    api.patch(f"{API}/flows/{flow.pk}", {"draft": draft, "expected_revision": revision})
    made = api.post(f"{API}/flows/{flow.pk}/publish", {"note": "filter"})
    assert (made.status_code, made.json()["number"], made.json()["published_by"]["name"]) == (201, 2, api.user.email)
    listed = api.get(f"{API}/flows/{flow.pk}/versions").json()["results"]
    assert [item["number"] for item in listed] == [2, 1]
    assert "definition" not in listed[0]
    detail = api.get(f"{API}/flows/{flow.pk}/versions/2").json()
    assert detail["definition"]["nodes"][1]["config"]["filter"] == "total > 0"
    lineage = api.get(f"{API}/flows/{flow.pk}/versions/2/lineage").json()["results"]
    assert {item["target_column"]: item["source_columns"] for item in lineage}["customer"] == ["customer"]


def test_deploy_roll_back_retire(api, flow):
    url = f"{API}/flows/{flow.pk}"
    same = api.post(f"{url}/deploy", {"environment": "dev", "version": 1})
    assert (same.status_code, same.json()["changed"]) == (200, False)
    refused = api.post(f"{url}/deploy", {"environment": "moon", "version": 1})
    assert refused.status_code == 404
    made = api.post(f"{url}/deploy", {"environment": "prod", "version": 1, "note": "go"})
    assert (made.status_code, made.json()["environment"]) == (201, "prod")
    assert [item["environment"] for item in api.get(f"{url}/deployments").json()["results"]] == ["prod", "dev"]
    gone = api.delete(f"{url}/deployments/prod")
    assert (gone.status_code, gone.json()["status"]) == (200, "retired")
    assert api.delete(f"{url}/deployments/prod").json()["code"] == "integrations.not_deployed"


def test_drift(api, flow):
    body = api.get(f"{API}/flows/{flow.pk}/drift").json()
    assert (body["version"], body["decisions"], body["blocking"]) == (1, [], False)


def test_environments_bindings_variables(api, flow):
    names = [item["slug"] for item in api.get(f"{API}/environments").json()["results"]]
    assert names == ["dev", "test", "prod"]
    assert api.patch(f"{API}/environments/test", {"protected": True}).json()["protected"] is True
    connection = api.get(f"{API}/connections").json()["results"][0]["id"]
    put = api.put(f"{API}/environments/test/bindings", {"erp": connection})
    assert (put.status_code, put.json()) == (200, {"erp": connection})
    assert api.get(f"{API}/environments/test/bindings").json() == {"erp": connection}
    bad = api.put(f"{API}/environments/test/bindings", {"erp": "nonsense"})
    assert (bad.status_code, bad.json()["field"]) == (422, "bindings.erp")
    assert api.put(f"{API}/environments/test/bindings", []).status_code == 422
    given = {"variables": [{"name": "salt", "value": "s3cret", "secret": True}, {"name": "region", "value": " EU "}]}
    put = api.put(f"{API}/environments/test/variables", given).json()
    assert put["variables"] == [
        {"name": "region", "value": " EU ", "secret": False},
        {"name": "salt", "value": None, "secret": True},
    ]
    assert "s3cret" not in api.get(f"{API}/environments/test/variables").content.decode()


def test_the_schema_is_published(api):
    response = api.get(f"{API}/schemas/flow-1.json")
    assert response.json()["$id"] == "urn:portal:schema:flow/1"
    assert response["Content-Type"].startswith("application/schema+json")


READS = ["", "/versions", "/versions/1", "/versions/1/lineage", "/deployments", "/drift"]
POSTS = ["/validate", "/preview", "/suggest", "/publish", "/deploy"]
BODY = {"environment": "dev", "version": 1, "connection": "erp", "entity": "public.invoices"}


def test_another_tenants_ids_lead_nowhere(flow, globex, api_for):
    stranger = api_for(globex)
    url = f"{API}/flows/{flow.pk}"
    answers = [stranger.get(f"{url}{path}") for path in READS]
    answers += [stranger.post(f"{url}{path}", BODY) for path in POSTS]
    answers += [stranger.patch(url, {"name": "mine"}), stranger.delete(url), stranger.delete(f"{url}/deployments/dev")]
    assert {answer.status_code for answer in answers} == {404}
    assert str(flow.pk) not in stranger.get(f"{API}/flows").content.decode()


def test_ids_that_nobody_has_lead_nowhere(api, flow):
    url = f"{API}/flows/{uuid7()}"
    answers = [api.get(f"{url}{path}") for path in READS] + [api.post(f"{url}{path}", BODY) for path in POSTS]
    assert {answer.status_code for answer in answers} == {404}


def test_another_tenants_connection_cannot_be_bound(flow, acme, globex, api_for):
    stranger = api_for(globex)
    with tenant_context(acme):
        from apps.connectors.selectors import find_connection_by_slug

        connection = find_connection_by_slug("erp").id
    refused = stranger.put(f"{API}/environments/dev/bindings", {"erp": str(connection)})
    assert (refused.status_code, refused.json()["code"]) == (422, "integrations.binding_invalid")


def test_a_viewer_reads_and_writes_nothing(flow, acme, api_for):
    viewer = api_for(acme, roles=("viewer",))
    url = f"{API}/flows/{flow.pk}"
    assert {viewer.get(f"{url}{path}").status_code for path in READS[:-1]} == {200}
    assert viewer.post(f"{url}/validate", {}).status_code == 200
    refused = [
        viewer.post(f"{API}/flows", {"name": "x"}),
        viewer.patch(url, {"name": "x"}),
        viewer.delete(url),
        viewer.post(f"{url}/publish", {}),
        viewer.post(f"{url}/deploy", BODY),
        viewer.post(f"{url}/preview", {}),
        viewer.patch(f"{API}/environments/dev", {"name": "x"}),
        viewer.put(f"{API}/environments/dev/bindings", {}),
        viewer.put(f"{API}/environments/dev/variables", {"variables": []}),
    ]
    assert {answer.status_code for answer in refused} == {403}


def test_nobody_gets_nothing(flow, client):
    assert client.get(f"{API}/flows", HTTP_HOST="acme.localhost").status_code in {401, 403}


def test_a_viewer_cannot_look_into_systems_by_validating(flow, acme, api_for):
    cache.clear()
    asked = MemoryConnector.described
    viewer = api_for(acme, roles=("viewer",))
    body = viewer.post(
        f"{API}/flows/{flow.pk}/validate", {"definition": make_definition(contract={"fields": []})}
    ).json()
    assert (body["source_known"], body["source_fields"]) == ("unknown", [])
    assert MemoryConnector.described == asked


def test_a_change_is_whole_or_not_at_all(api, flow):
    url = f"{API}/flows/{flow.pk}"
    before = api.get(url).json()
    body = {
        "name": "   ",
        "draft": make_definition(map__filter="total > 5"),
        "expected_revision": before["draft_revision"],
    }
    assert api.patch(url, body).status_code == 422
    assert api.get(url).json()["draft"] == before["draft"]

"""Change captures over REST: create, read, pause, resume, restart, measure, delete; rights, audit, a second tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from apps.audit.models import AuditEntry
from apps.connectors.models import ChangeCapture
from apps.connectors.services.connections import create_connection
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.captures import PASSWORD, SYSTEM, Source, change_source

pytestmark = pytest.mark.django_db

ACTIONS = ["pause", "resume", "restart", "measure"]


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with change_source() as found:
        found.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric(18,2)); CREATE TABLE plain (a int)")
        yield found


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.0/8:*"]


@pytest.fixture
def body(acme: Tenant, source: Source) -> dict[str, Any]:
    with tenant_context(acme):
        made = create_connection(
            "ERP", "postgresql", config=source.config, secrets={"password": PASSWORD}, slug="erp", actor=SYSTEM
        )
    return {"name": "Orders", "connection": str(made.id), "tables": ["orders"]}


@pytest.fixture
def created(acme: Tenant, api_for: Callable[..., Any], body: dict[str, Any]) -> dict[str, Any]:
    answer = api_for(acme).post("/api/v2/captures", body)
    assert answer.status_code == 201, answer.json()
    return dict(answer.json())


def test_a_capture_is_created_listed_and_read(acme: Tenant, api_for: Callable[..., Any], created: Any) -> None:
    api = api_for(acme, roles=("viewer",))
    assert (created["status"], created["phase"], created["connection_slug"]) == ("running", "new", "erp")
    assert created["tables"] == [
        {
            "name": "public.orders",
            "keys": ["id"],
            "columns": [{"name": "id", "type": "integer"}, {"name": "total", "type": "numeric(18,2)"}],
        }
    ]
    assert created["slot"].startswith("portal_") and created["publication"] == created["slot"]
    assert api.get(f"/api/v2/captures/{created['id']}").json() == created
    assert [one["id"] for one in api.get("/api/v2/captures").json()["results"]] == [created["id"]]


def test_moves_and_their_audit(acme: Tenant, api_for: Callable[..., Any], created: Any) -> None:
    api = api_for(acme)
    where = f"/api/v2/captures/{created['id']}"
    assert api.post(f"{where}/pause").json()["status"] == "paused"
    refused = api.post(f"{where}/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "connectors.capture_state")
    assert api.post(f"{where}/resume").json()["status"] == "running"
    assert api.post(f"{where}/restart").json()["phase"] == "new"
    assert api.post(f"{where}/measure").json()["health"]["wal_status"] == "missing"
    assert api.delete(where).status_code == 204
    assert api.get(where).status_code == 404
    with tenant_context(acme):
        found = AuditEntry.objects.filter(target_id=created["id"]).values_list("action", flat=True)
        verbs = ["created", "paused", "resumed", "restarted", "deleting", "deleted"]
        assert sorted(found) == sorted(f"capture.{verb}" for verb in verbs)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"tables": ["plain"]}, 422, "tables[0]"),
        ({"tables": ["public.nowhere"]}, 422, "tables[0]"),
        ({"tables": [" "]}, 422, "tables[0]"),
        ({"name": "  "}, 422, "name"),
        ({"warn_wal_bytes": 1 << 30, "max_wal_bytes": 1 << 30}, 422, "max_wal_bytes"),
        ({"publication": "nobody"}, 422, "publication"),
        ({"connection": str(uuid4())}, 404, None),
    ],
    ids=["no_key", "no_table", "blank_table", "blank_name", "limits", "no_publication", "no_connection"],
)
def test_what_cannot_be_is_refused_with_its_place(
    acme: Tenant, api_for: Callable[..., Any], body: dict[str, Any], change: Any, status: int, field: str | None
) -> None:
    answer = api_for(acme).post("/api/v2/captures", {**body, **change})
    assert answer.status_code == status, answer.json()
    if field is not None:
        assert field in str(answer.json())
    with tenant_context(acme):
        assert not ChangeCapture.objects.exists()


def test_names_are_unique(acme: Tenant, api_for: Callable[..., Any], created: Any, body: dict[str, Any]) -> None:
    answer = api_for(acme).post("/api/v2/captures", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "connectors.name_taken")


def test_rights(acme: Tenant, api_for: Callable[..., Any], created: Any, body: dict[str, Any]) -> None:
    where = f"/api/v2/captures/{created['id']}"
    viewer = api_for(acme, permissions=("capture:view",))
    assert viewer.get(where).status_code == viewer.post(f"{where}/measure").status_code == 200
    for action in ("pause", "resume", "restart"):
        assert viewer.post(f"{where}/{action}").status_code == 403
    assert viewer.delete(where).status_code == viewer.post("/api/v2/captures", body).status_code == 403
    nobody = api_for(acme, permissions=("flow:view",))
    assert nobody.get(where).status_code == nobody.get("/api/v2/captures").status_code == 403


def test_a_second_tenant_sees_and_reaches_nothing(
    globex: Tenant, api_for: Callable[..., Any], created: Any, body: dict[str, Any]
) -> None:
    api = api_for(globex)
    where = f"/api/v2/captures/{created['id']}"
    assert api.get("/api/v2/captures").json()["results"] == []
    assert api.get(where).status_code == api.delete(where).status_code == 404
    for action in ACTIONS:
        assert api.post(f"{where}/{action}").status_code == 404
    assert api.post("/api/v2/captures", body).status_code == 404


def test_a_source_that_is_away_can_be_left_behind_by_force(
    acme: Tenant, api_for: Callable[..., Any], created: Any
) -> None:
    api = api_for(acme)
    with tenant_context(acme):
        row = ChangeCapture.objects.select_related("connection").get(id=created["id"])
        row.connection.config = {**row.connection.config, "port": 1}
        row.connection.save()
    where = f"/api/v2/captures/{created['id']}"
    assert api.delete(where).status_code == 503
    assert api.get(where).json()["status"] == "deleting"
    assert api.delete(f"{where}?force=true").status_code == 204
    with tenant_context(acme):
        entry = AuditEntry.objects.get(target_id=created["id"], action="capture.deleted")
    assert "slot_left_because" in entry.facts

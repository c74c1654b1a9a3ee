"""One tenant's ids in every address of another tenant's API: nothing is found, changed or told.

The list of addresses comes from the URL configuration, so a new route is tested from its first day; a route with a
parameter that this file does not know fails the coverage test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from apps.access.contracts import Actor
from apps.access.models import ApiKey, Invitation, Role, User
from apps.access.services.api_keys import create_api_key
from apps.access.services.http import actor_for_user
from apps.access.services.invitations import create_invitation
from apps.connectors.models import ChangeCapture, Connection
from apps.core.clock import now
from apps.engine.models import Effect, Firing, HumanTask, Run, StepResult, TaskAnswer, Trigger
from apps.engine.services.triggers.editing import create_trigger
from apps.events.models import (
    ContractVersion,
    Delivery,
    Event,
    EventContract,
    EventSubscription,
    InboundEndpoint,
    InboundMessage,
)
from apps.events.services.event_contracts import create_contract
from apps.events.services.inbound_endpoints import create_endpoint
from apps.events.services.subscriptions import create_subscription
from apps.integrations.models import Environment, Flow, FlowVersion
from apps.messaging.models import Consumer, DeadLetter
from apps.quality.models import QuarantinedRow, Reconciliation
from apps.tenancy.services.context import tenant_context

CANARY = "canary-of-acme"
METHODS = ("get", "post", "put", "patch", "delete")
# No tenant data stands behind these: the API's description, and the answer to unknown addresses.
OPEN_ROUTES = {"api/v2/schema/", "api/v2/docs/", "api/v2/<path:rest>"}
# Parameters whose values exist in every tenant: the answer is about the caller's own object of that name.
SHARED_VALUES = {"api/v2/environments/<slug:slug>": "dev"}
BODIES: dict[str, dict[str, Any]] = {
    "answer": {"answer": {}},
    "delegate": {"to": "0190a5a0-0000-7000-8000-000000000000"},
    "decide": {"decision": "happened"},
    "discard": {"ids": ["$row_id"], "reason": "not ours"},
    "replay": {"ids": ["$row_id"]},
    "runs": {"environment": "dev"},
    "deploy": {"environment": "dev", "version": 1},
    "suggest": {"connection": "erp", "entity": "public.invoices"},
    "sign": {"comment": "fine"},
    "publish": {"note": "mine now"},
}
QUERIES = {"entity": "?name=invoices", "sample": "?entity=invoices"}

pytestmark = pytest.mark.django_db


@dataclass(frozen=True)
class Route:
    """An address of the API with the methods its view answers."""

    pattern: str
    methods: tuple[str, ...]

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters in the address."""
        return re.findall(r"<\w+:(\w+)>", self.pattern)

    @property
    def last(self) -> str:
        """Last fixed part of the address."""
        return next(part for part in reversed(self.pattern.split("/")) if part and "<" not in part)


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[Route]:
    """Every route below `api/v2/` of a tenant's host."""
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, address)
        elif address.startswith("api/v2/") and address not in OPEN_ROUTES:
            view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
            yield Route(address, tuple(method for method in METHODS if hasattr(view, method)))


ROUTES = list(walk(get_resolver("config.urls").url_patterns))


@pytest.fixture
def acme_ids(acme: Any, user_for: Callable[..., User], settings: Any) -> dict[str, str]:
    """Objects of acme, each with the canary in every text it has, by the name of the parameter that takes its id."""
    person = user_for(acme)
    with tenant_context(acme):
        actor = Actor.system("tests")
        flow = Flow.objects.create(name=CANARY, slug=CANARY, description=CANARY, draft={"note": CANARY})
        environment = Environment.objects.get(slug="dev")
        version = FlowVersion.objects.create(
            flow=flow, number=1, definition={"note": CANARY}, content_hash="0" * 64, note=CANARY, published_at=now()
        )
        run = Run.objects.create(
            flow=flow,
            flow_version=version,
            environment=environment,
            flow_name=CANARY,
            definition={},
            definition_hash="0",
        )
        step = StepResult.objects.create(
            run=run, path="a", kind="process.transform", name=CANARY, definition_hash="0", output={"name": CANARY}
        )
        effect = Effect.objects.create(
            run=run, origin=run.id, step_id=step.id, path="a", operation=CANARY, target=CANARY, business_key=CANARY,
            idempotency_key=uuid4(), payload_hash="0", outcome="unknown", external_reference=CANARY,
        )  # fmt: skip
        task = HumanTask.objects.create(
            run=run, step_id=step.id, path="a", title=CANARY, description=CANARY, form={"title": CANARY}, role="admin"
        )
        row = QuarantinedRow.objects.create(
            run_id=run.id,
            flow_id=flow.id,
            environment_id=environment.id,
            row_id="1",
            payload={"name": CANARY},
            errors=[{"rule": CANARY, "field": "name", "code": "x", "message": CANARY}],
            rules=[CANARY],
        )
        reconciliation = Reconciliation.objects.create(
            run_id=run.id,
            flow_id=flow.id,
            environment_id=environment.id,
            status="green",
            source={},
            target={},
            reasons=[CANARY],
        )
        connection = Connection.objects.create(name=CANARY, slug=CANARY, connector="rest", config={"note": CANARY})
        capture = ChangeCapture.objects.create(
            name=CANARY,
            connection=connection,
            tables=[{"name": CANARY, "keys": [], "columns": []}],
            slot=CANARY,
            publication=CANARY,
            status="paused",
            warn_wal_bytes=1,
            max_wal_bytes=2,
            warn_lag_s=1,
        )
        role = Role.objects.create(slug="role-of-acme", name=CANARY, description=CANARY)
        User.objects.create_user(f"{CANARY}@acme.example", name=CANARY)
        invitation = create_invitation(f"{CANARY}-guest@acme.example", roles=["viewer"], actor=actor)
        subscription, _ = create_subscription(
            CANARY, target="webhook", config={"url": "https://example.com/canary-of-acme"}, actor=actor
        )
        event = Event.objects.create(
            type=CANARY, source=CANARY, subject=CANARY, time=now(), key=CANARY, arrival=1, data={"note": CANARY}
        )
        contract = create_contract(
            "com.acme.canary.v1", schema={"type": "object", "description": CANARY}, description=CANARY, actor=actor
        )
        endpoint, _ = create_endpoint(CANARY, scheme="standard-webhooks", actor=actor)
        message = InboundMessage.objects.create(
            endpoint=endpoint,
            event_id=event.id,
            message_id=CANARY,
            body=CANARY.encode(),
            size_bytes=1,
            received_at=now(),
        )
        trigger = create_trigger(
            flow.pk, "dev", kind="schedule", name=CANARY, cron="0 9 * * *", zone="UTC", actor=actor
        )
        Firing.objects.create(trigger=trigger, due_at=now(), error={"message": CANARY})
        consumer = Consumer.objects.create(
            name=CANARY, environment=environment, connection=CANARY, source=CANARY, event_type=CANARY
        )
        letter = DeadLetter.objects.create(
            consumer=consumer, code=CANARY, reason=CANARY, source=CANARY, body=CANARY.encode(), size_bytes=1
        )
        delivery = Delivery.objects.create(subscription=subscription, event=event, number=1, error=CANARY)
        key, secret = create_api_key(CANARY, scopes=["flow:view"], actor=actor_for_user(person))
    return {
        "member_id": str(person.id),
        "invitation_id": str(invitation.id),
        "api_key_id": str(key.id),
        "session_id": "987654321",
        "connection_id": str(connection.id),
        "capture_id": str(capture.id),
        "row_id": str(row.id),
        "reconciliation_id": str(reconciliation.id),
        "flow_id": str(flow.id),
        "event_id": str(event.id),
        "subscription_id": str(subscription.id),
        "contract_id": str(contract.id),
        "endpoint_id": str(endpoint.id),
        "message_id": str(message.id),
        "delivery_id": str(delivery.id),
        "consumer_id": str(consumer.id),
        "letter_id": str(letter.id),
        "run_id": str(run.id),
        "step_id": str(step.id),
        "effect_id": str(effect.id),
        "task_id": str(task.id),
        "trigger_id": str(trigger.id),
        "number": "1",
        "environment": "dev",
        "slug": role.slug,
        "secret": secret,
    }


def address_of(route: Route, ids: dict[str, str]) -> str:
    """The route's address with acme's ids in it."""
    shared = next((value for prefix, value in SHARED_VALUES.items() if route.pattern.startswith(prefix)), None)
    return "/" + re.sub(
        r"<\w+:(\w+)>", lambda found: shared if shared and found[1] == "slug" else ids[found[1]], route.pattern
    )


def body_of(route: Route, ids: dict[str, str]) -> dict[str, Any]:
    """A body that the route's view would accept, so that it is the id that is refused."""
    found = BODIES.get(route.last, {"name": "mine now", "expected_revision": 0})
    return {name: [ids["row_id"]] if value == ["$row_id"] else value for name, value in found.items()}


def test_every_parameter_of_every_route_is_known_here(acme_ids: dict[str, str]) -> None:
    unknown = {name for route in ROUTES for name in route.parameters} - set(acme_ids)
    assert not unknown, f"add an object of acme for {unknown}"
    assert len(ROUTES) > 50


def test_no_address_with_anothers_id_answers(
    acme: Any, globex: Any, acme_ids: dict[str, str], api_for: Callable[..., Any]
) -> None:
    stranger = api_for(globex)
    before = snapshot(acme)
    found = []
    for route in ROUTES:
        own = any(route.pattern.startswith(prefix) for prefix in SHARED_VALUES)
        for method in route.methods:
            if own and method != "get":
                continue  # would change the stranger's own environment, which is its right
            if not route.parameters and method != "get" and route.last not in BODIES:
                continue  # creates something of the stranger's own
            url = address_of(route, acme_ids) + QUERIES.get(route.last, "")
            if route.last == "uploads" and method == "post":
                answer = stranger.post(url, {"file": SimpleUploadedFile("a.csv", b"a\n1\n")}, format="multipart")
            else:
                answer = getattr(stranger, method)(url, body_of(route, acme_ids) if method != "get" else None)
            text = "" if answer.streaming else answer.content.decode(errors="replace")  # a stream has no end
            if CANARY in text.replace(url, ""):
                found.append(f"{method.upper()} {url} tells: {text[:200]}")
            if route.parameters and not own and answer.status_code not in {403, 404, 405, 409, 422}:
                found.append(f"{method.upper()} {url} answered {answer.status_code}")
            if route.parameters and not own and method == "get" and answer.status_code != 404:
                found.append(f"GET {url} answered {answer.status_code}")
    assert not found, "\n".join(found)
    assert snapshot(acme) == before


def snapshot(tenant: Any) -> list[Any]:
    """What acme holds, to see that nothing of it was changed."""
    models = (Flow, FlowVersion, Run, QuarantinedRow, Reconciliation, Connection, Role, Invitation, User, ApiKey)
    models += (EventSubscription, Event, Delivery, InboundEndpoint, InboundMessage, EventContract, ContractVersion)
    models += (HumanTask, TaskAnswer, Effect)
    models += (Trigger, Firing)
    models += (Consumer, DeadLetter)
    with tenant_context(tenant):
        return [sorted(map(str, model.objects.values_list())) for model in models]


def test_every_route_wants_a_sign_in(acme: Any, acme_ids: dict[str, str]) -> None:
    nobody = Client(HTTP_HOST="acme.localhost")
    open_doors = [
        f"{method.upper()} {route.pattern}: {answer.status_code}"
        for route in ROUTES
        for method in route.methods
        if (answer := getattr(nobody, method)(address_of(route, acme_ids), content_type="application/json")).status_code
        not in {401, 403}
    ]
    assert not open_doors, "\n".join(open_doors)


def test_an_api_key_opens_its_own_tenant_only(acme: Any, globex: Any, acme_ids: dict[str, str]) -> None:
    header = {"HTTP_AUTHORIZATION": f"Bearer {acme_ids['secret']}"}
    assert Client(HTTP_HOST="acme.localhost", **header).get("/api/v2/flows").status_code == 200
    assert Client(HTTP_HOST="globex.localhost", **header).get("/api/v2/flows").status_code == 401


def test_a_session_opens_its_own_tenant_only(acme: Any, globex: Any, client_for: Callable[..., Client]) -> None:
    browser = client_for(acme)
    assert browser.get("/api/v2/me").status_code == 200
    stranger = Client(HTTP_HOST="globex.localhost")
    stranger.cookies = browser.cookies
    assert stranger.get("/api/v2/me").status_code in {401, 403}


def test_ids_that_nobody_has_are_not_found_either(acme: Any, api_for: Callable[..., Any]) -> None:
    api = api_for(acme)
    for path in ("flows", "runs", "connections", "quarantine", "reconciliations", "members"):
        answer = api.get(f"/api/v2/{path}/{uuid4()}")
        assert (path, answer.status_code) == (path, 404)
        assert answer.headers["Content-Type"] == "application/problem+json"

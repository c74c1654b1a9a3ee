"""The ledger of effects: what is written before and after something is sent, and who decides when nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from django.db import connections

from apps.audit.models import AuditEntry
from apps.connectors.services.connections import create_connection
from apps.engine.choices import RunStatus
from apps.engine.models import Effect, Run, StepResult
from apps.engine.services.sweeping import sweep_tenant
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.environments import VariableInput, replace_variables
from apps.integrations.services.flows import publish_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.engine.erp import Erp
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import outputs, process, run, start, statuses, step, value, work
from tests.engine.systems import target_rows, unique_name
from tests.engine.test_kill import start_load_worker, wait_for
from tests.engine.test_process_kill import broker, ended  # noqa: F401
from tests.processes import Child, running

pytestmark = pytest.mark.committed
Api = Callable[..., Any]
NO_WAIT = {"max_attempts": 3, "base_s": 0, "cap_s": 0, "jitter": 0}
FIELDS = [{"name": "id", "type": "BIGINT", "nullable": False}, {"name": "total", "type": "DECIMAL(18,2)"}]
ROWS = "[{'id': input.n, 'total': 10.25}]"


class Payments:
    """A resource that books whatever it is sent, as often as it is sent; it can lose its answers."""

    def __init__(self, api: ApiServer) -> None:
        self.booked: list[Any] = []
        self.lost = 0
        self.status = 200
        self.before_answer: Callable[[], None] | None = None
        self.api = api

    async def send(self, request: web.Request) -> web.StreamResponse:
        self.booked.append(await request.json())
        if self.before_answer is not None:
            await asyncio.to_thread(self.before_answer)
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"id": f"PAY-{len(self.booked)}"}, status=self.status)


@pytest.fixture
def payments(committed_acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Payments, str]]:
    """The resource, and the slug of a connection that knows that it honours no keys; inside acme."""
    with serve() as api, tenant_context(committed_acme):
        service = Payments(api)
        monkeypatch.setattr(api, "send_payments", service.send, raising=False)
        slug = unique_name("pay").replace("_", "-")
        resources = [
            {"name": "payments", "path": "payments", "write_repeats": "twice"},
            {"name": "orders", "path": "orders"},
        ]
        config = {"base_url": api.base_url, "requests_per_second": 1000, "resources": resources}
        create_connection(name=slug, slug=slug, connector="rest", config=config, secrets={}, actor=SYSTEM)
        yield service, slug


def put(connection: str, entity: str, rows: str = ROWS, **config: Any) -> Any:
    given = {"connection": connection, "entity": entity, "rows": rows, "fields": FIELDS, **config}
    return step("put", "write", config=given, retry=NO_WAIT)


def ledger(started: Run) -> list[tuple[str, int, str, str]]:
    rows = Effect.objects.filter(run=started).order_by("path", "attempt")
    return [(row.path, row.attempt, str(row.operation), str(row.outcome)) for row in rows]


def effects_over_http(api: Any, started: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/api/v2/runs/{started.pk}/effects").json()["results"]
    return found


def test_write_publish_and_sub_run_stand_in_the_ledger(committed_acme: Tenant, api_for: Api) -> None:
    target, api = unique_name("w"), api_for(committed_acme, permissions=("run:view",))
    with tenant_context(committed_acme):
        child = make_flow(process(value("x", n="1"), output={"n": "steps.x.output.n"}))
        number = publish_flow(child.pk, actor=SYSTEM).version.number
        deploy_version(child.pk, environment="dev", version=number, actor=SYSTEM)
        done = run(
            process(
                put("warehouse", target, disposition="upsert", keys=["id"]),
                step("tell", "publish", config={"event": "put", "correlation": "input.n", "data": {"n": "input.n"}}),
                step("call", "flow", config={"flow": child.slug, "input": {"n": "2"}}),
            ),
            {"n": 7},
        )
        assert done.status == RunStatus.WAITING, done.error
        assert ledger(done)[0] == ("call", 1, "flow", "sent")
        started = Run.objects.get(parent=done)
        work(started)
        assert work(done).status == RunStatus.SUCCEEDED
        found = {row["path"]: row for row in effects_over_http(api, done)}
        assert {path: row["outcome"] for path, row in found.items()} == dict.fromkeys(found, "confirmed")
        written = found["put"]
        assert (written["operation"], written["target"], written["business_key"]) == ("upsert", target, "id=7")
        assert written["summary"] == {"rows": 1, "fields": ["id", "total"], "system": "warehouse"}
        assert written["external_reference"].startswith("load ")
        assert (len(written["payload_hash"]), written["repeatable"]) == (64, True)
        assert written["sent_at"] <= written["confirmed_at"]
        assert (found["tell"]["target"], found["tell"]["business_key"]) == ("put", "7")
        assert found["call"]["external_reference"] == str(started.pk)


def test_finish_of_a_load_stands_in_the_ledger(erp: Callable[..., Erp]) -> None:
    source = erp(20)
    done = source.load()
    assert done.status == RunStatus.SUCCEEDED, done.error
    entry = Effect.objects.get(run=done)
    assert (entry.path, entry.outcome, entry.target) == ("load/finish", "confirmed", source.target)
    assert (entry.summary["rows"], (entry.result or {})["rows"]) == (20, 20)


def test_refused_rows_stand_as_refused_and_those_taken_as_unknown(payments: Any) -> None:
    _, slug = payments
    refused = run(process(put(slug, "orders", "[{'id': 1, 'total': -1}]")))
    assert (refused.status, ledger(refused)) == (RunStatus.FAILED, [("put", 1, "append", "refused")])
    in_part = run(process(put(slug, "orders", "[{'id': 1, 'total': 1}, {'id': 2, 'total': -1}]")))
    assert ledger(in_part) == [("put", 1, "append", "unknown")]
    assert Effect.objects.get(run=in_part).summary["taken"] == 1


def test_answer_that_is_lost_is_asked_for_again_where_keys_are_honoured(
    payments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, slug = payments
    lost = [True]

    async def lose(request: web.Request) -> web.StreamResponse:
        answer = await ApiServer.send_orders(service.api, request)
        if lost:
            lost.pop()
            assert request.transport is not None
            request.transport.close()
        return answer

    monkeypatch.setattr(service.api, "send_orders", lose)
    done = run(process(put(slug, "orders")), {"n": 1})
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert ledger(done) == [("put", 1, "append", "sent"), ("put", 2, "append", "confirmed")]
    assert len(set(Effect.objects.filter(run=done).values_list("idempotency_key", flat=True))) == 1
    assert len(service.api.written) == 1


def lose_one(service: Payments, slug: str) -> Run:
    """A run that waits, because nobody knows whether a payment was booked."""
    service.lost = 1
    waiting = run(process(put(slug, "payments"), output={"put": "steps.put.output"}), {"n": 1})
    assert (waiting.status, statuses(waiting), len(service.booked)) == (RunStatus.WAITING, {"put": "parked"}, 1)
    assert ledger(waiting) == [("put", 1, "append", "sent"), ("put", 2, "append", "unknown")]
    return waiting


def decide(api: Any, waiting: Run, decision: str, **more: Any) -> Any:
    unknown = next(row for row in effects_over_http(api, waiting) if row["outcome"] == "unknown")
    address = f"/api/v2/runs/{waiting.pk}/effects/{unknown['id']}/decide"
    return api.post(address, {"decision": decision, **more}, format="json")


def test_it_happened_lets_the_step_succeed_without_sending(payments: Any, committed_acme: Tenant, api_for: Api) -> None:
    service, slug = payments
    waiting = lose_one(service, slug)
    api = api_for(committed_acme, permissions=("run:view", "run:control"))
    assert api.get(f"/api/v2/runs/{waiting.pk}").json()["status"] == "waiting"
    answer = decide(api, waiting, "happened", note="Statement of today")
    assert answer.status_code == 200, answer.content
    assert answer.json()["decision"]["note"] == "Statement of today"
    assert work(waiting).status == RunStatus.SUCCEEDED, waiting.error
    assert waiting.result == {"put": {"rows": 1, "inserted": 1, "updated": 0, "unchanged": 0}}
    assert (ledger(waiting)[-1][-1], len(service.booked)) == ("confirmed", 1)
    entry = AuditEntry.objects.get(action="effect.decided", target_id=str(waiting.pk))
    assert entry.facts["decision"] == "happened"
    again = api.post(f"/api/v2/runs/{waiting.pk}/effects/{answer.json()['id']}/decide", {"decision": "fail"})
    assert (again.status_code, again.json()["code"]) == (409, "engine.effect.known")


def test_it_did_not_happen_sends_it_again_under_the_same_key(
    payments: Any, committed_acme: Tenant, api_for: Api
) -> None:
    service, slug = payments
    waiting = lose_one(service, slug)
    api = api_for(committed_acme, permissions=("run:view", "run:control"))
    assert decide(api, waiting, "send_again").status_code == 200
    assert work(waiting).status == RunStatus.SUCCEEDED, waiting.error
    assert [row[-1] for row in ledger(waiting)] == ["sent", "refused", "confirmed"]
    assert len(set(Effect.objects.filter(run=waiting).values_list("idempotency_key", flat=True))) == 1
    assert len(service.booked) == 2
    assert Effect.objects.get(run=waiting, outcome="confirmed").external_reference == "PAY-2"


def test_fail_ends_the_step_with_its_own_code_and_a_resume_asks_again(
    payments: Any, committed_acme: Tenant, api_for: Api
) -> None:
    service, slug = payments
    waiting = lose_one(service, slug)
    api = api_for(committed_acme, permissions=("run:view", "run:control"))
    assert decide(api, waiting, "fail").status_code == 200
    assert work(waiting).status == RunStatus.FAILED
    assert ((waiting.error or {})["code"], len(service.booked)) == ("engine.effect.unknown", 1)
    assert api.post(f"/api/v2/runs/{waiting.pk}/resume").status_code == 202
    assert (work(waiting).status, len(service.booked)) == (RunStatus.WAITING, 1)
    assert decide(api, waiting, "happened").status_code == 200
    assert work(waiting).status == RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("permissions", "status"), [(("run:view",), 403), (("run:view", "run:start"), 403)], ids=["viewer", "starter"]
)
def test_decision_needs_the_right_to_control(
    payments: Any, committed_acme: Tenant, api_for: Api, permissions: tuple[str, ...], status: int
) -> None:
    waiting = lose_one(*payments)
    assert decide(api_for(committed_acme, permissions=permissions), waiting, "happened").status_code == status
    assert Effect.objects.filter(run=waiting, outcome="unknown").count() == 1


def test_second_tenant_sees_and_decides_nothing(
    payments: Any, committed_acme: Tenant, committed_globex: Tenant, api_for: Api
) -> None:
    waiting = lose_one(*payments)
    effect = Effect.objects.get(run=waiting, outcome="unknown")
    stranger = api_for(committed_globex)
    assert stranger.get(f"/api/v2/runs/{waiting.pk}/effects").status_code == 404
    address = f"/api/v2/runs/{waiting.pk}/effects/{effect.pk}/decide"
    assert stranger.post(address, {"decision": "happened"}).status_code == 404
    own = api_for(committed_acme, permissions=("run:view", "run:control"))
    unknown = own.post(f"/api/v2/runs/{waiting.pk}/effects/{uuid4()}/decide", {"decision": "happened"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "engine.effect.not_found")


def test_confirmed_effect_is_not_sent_again_when_its_step_is(payments: Any) -> None:
    """What is left when a run that was released after a day is resumed: the step is done anew, the effect is not."""
    service, slug = payments
    stop = step("stop", "raise", config={"message": "'x'"})
    failed = run(process(put(slug, "payments"), stop), {"n": 1})
    assert (failed.status, len(service.booked)) == (RunStatus.FAILED, 1)
    Run.objects.filter(pk=failed.pk).update(status="running", ended_at=None, error=None)
    StepResult.objects.filter(run=failed, path="stop").delete()
    StepResult.objects.filter(run=failed).update(status="ready", output=None, ended_at=None, attempt=2)
    work(failed)
    assert outputs(failed)["put"] == {"rows": 1, "inserted": 1, "updated": 0, "unchanged": 0}
    assert (len(service.booked), ledger(failed)[-1]) == (1, ("put", 2, "append", "confirmed"))


def test_undone_step_has_an_undone_effect(payments: Any) -> None:
    _, slug = payments
    back = step("back", "write", config={"connection": slug, "entity": "payments", "rows": ROWS, "fields": FIELDS})
    stop = step("stop", "raise", config={"message": "'x'"})
    done = run(process({**put(slug, "payments"), "compensation": back}, stop), {"n": 1})
    assert (done.status, (done.compensation or {})["status"]) == (RunStatus.FAILED, "done")
    entries = {row.path: row for row in Effect.objects.filter(run=done)}
    assert entries["put"].undone_at is not None
    assert (entries["compensate/put/back"].outcome, entries["compensate/put/back"].undone_at) == ("confirmed", None)


def test_worker_that_has_lost_its_step_says_nothing_of_the_effect(payments: Any) -> None:
    service, slug = payments
    started = start(process(put(slug, "payments")), {"n": 1})
    service.status = 422

    def somebody_else_has_it() -> None:
        with tenant_context(Tenant.objects.get(slug="acme")):
            Effect.objects.filter(run=started).update(outcome="confirmed")
            StepResult.objects.filter(run=started).update(lease_epoch=9)
            connections.close_all()

    service.before_answer = somebody_else_has_it
    work(started)
    assert ledger(started) == [("put", 1, "append", "confirmed")]
    assert StepResult.objects.get(run=started).status == "running", "its outcome is the other's to record"


def test_secret_values_stay_out_of_the_ledger(payments: Any) -> None:
    _, slug = payments
    name = unique_name("secret").lower()
    replace_variables("dev", [VariableInput(name, "tops3cret-value", secret=True)], actor=SYSTEM)
    fields = [{"name": "id", "type": "VARCHAR"}, {"name": "total", "type": "DECIMAL(18,2)"}]
    config: dict[str, Any] = {
        "rows": f"[{{'id': var.{name}, 'total': 1}}]",
        "fields": fields,
        "disposition": "upsert",
        "keys": ["id"],
    }
    done = run(process(put(slug, "orders", **config), variables={name: None}))
    assert done.status == RunStatus.SUCCEEDED, done.error
    entry = Effect.objects.get(run=done)
    assert entry.business_key.startswith("id=")
    assert "tops3cret" not in str([getattr(entry, field.attname) for field in Effect._meta.concrete_fields])


def test_worker_killed_between_sent_and_confirmed_leaves_the_decision_to_a_person(
    broker: None,  # noqa: F811
    payments: Any,
    committed_acme: Tenant,
    api_for: Api,
    tmp_path: Path,
) -> None:
    service, slug = payments
    doomed: list[Child] = []
    service.before_answer = lambda: doomed.pop().kill_group() if doomed else None
    started = start(process(put(slug, "payments")), {"n": 1})
    doomed.append(start_load_worker(tmp_path, "doomed", concurrency=1))
    wait_for(lambda: not doomed, "the kill", timeout_s=30)
    assert ledger(started) == [("put", 1, "append", "sent")]
    with running(start_load_worker(tmp_path, "second", concurrency=1)):

        def waits() -> bool:
            sweep_tenant()
            return bool(Run.objects.filter(pk=started.pk, status=RunStatus.WAITING).exists())

        wait_for(waits, "the question", every_s=0.3)
        assert (ledger(started), len(service.booked)) == ([("put", 1, "append", "unknown")], 1)
        api = api_for(committed_acme, permissions=("run:view", "run:control"))
        assert decide(api, started, "happened").status_code == 200
        wait_for(lambda: ended(started), "the run's end", every_s=0.1)
    started.refresh_from_db()
    assert (started.status, len(service.booked)) == (RunStatus.SUCCEEDED, 1)
    assert StepResult.objects.get(run=started).deliveries == 2


def test_worker_killed_between_write_and_confirmation_finds_the_marker(committed_acme: Tenant) -> None:
    """The short form: the rows and the marker are there, the ledger says sent, the lease has run out."""
    target = unique_name("w")
    with tenant_context(committed_acme):
        done = run(process(put("warehouse", target, disposition="append")), {"n": 1})
        Effect.objects.filter(run=done).update(outcome="sent", result=None, confirmed_at=None)
        StepResult.objects.filter(run=done).update(
            status="running", output=None, ended_at=None, lease_expires_at="2026-01-01T00:00:00Z"
        )
        Run.objects.filter(pk=done.pk).update(status="running", ended_at=None, result=None)
        assert work(done).status == RunStatus.SUCCEEDED, done.error
        assert ledger(done) == [("put", 1, "append", "confirmed")]
    assert target_rows(committed_acme, target, "count(*)") == [(1,)]

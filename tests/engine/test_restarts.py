"""Restarts from a step: what is kept and what is done again, which effects happen twice, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.audit.models import AuditEntry
from apps.connectors.services.connections import create_connection
from apps.engine.choices import RunStatus
from apps.engine.models import Effect, Run, StepResult
from apps.engine.services.processes.keeping import is_kept
from apps.events.models import Event
from apps.integrations.process_contracts import ProcessDefinition
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.engine.process_factories import outputs, process, run, step, value, work
from tests.engine.systems import unique_name
from tests.engine.test_effects import FIELDS, SYSTEM, Payments

pytestmark = pytest.mark.committed
Api = Callable[..., Any]
STOP = step("stop", "raise", config={"message": "'no'"}, skip_if="input.go")
MAY = ("run:view", "run:start")

NESTED = ProcessDefinition.from_json(
    process(
        value("first", n="1"),
        step("par", "parallel", config={"branches": [
            {"name": "left", "steps": [value("l1", n="1"), value("l2", n="1")]},
            {"name": "right", "steps": [value("r1", n="1")]},
        ]}),
        step("each", "foreach", config={"items": "[1,2,3]", "steps": [
            value("a", n="1"),
            step("check", "branch", config={"match": "all", "cases": [
                {"name": "yes", "when": "true", "steps": [value("y1", n="1"), value("y2", n="1")]},
                {"name": "more", "when": "true", "steps": [value("m1", n="1")]},
            ]}),
        ]}),
        step("loop", "while", config={"condition": "true", "steps": [value("tick", n="1")]}),
        step("risky", on_error="route", error_steps=[value("e1", n="1"), value("e2", n="1")]),
        value("last", n="1"),
    )
)  # fmt: skip
BEFORE_EACH = {"first", "par", "par:left/l1", "par:left/l2", "par:right/r1", "par.end"}
EACH_0 = {"each[0]/a", "each[0]/check", "each[0]/check:yes/y1", "each[0]/check:yes/y2", "each[0]/check:more/m1",
          "each[0]/check.end"}  # fmt: skip
EACH_1 = {path.replace("[0]", "[1]") for path in EACH_0}
LOOP = {"loop", "loop[0].check", "loop[0]/tick", "loop[1].check", "loop[1]/tick", "loop[2].check"}
RISKY = {"risky", "risky:error/e1", "risky:error/e2"}
ALL = {*BEFORE_EACH, "each", *EACH_0, *EACH_1, "each.end", *LOOP, "loop.end", *RISKY, "last", ".output",
       "compensate/first/undo"}  # fmt: skip
BEFORE_LOOP = {*BEFORE_EACH, "each", *EACH_0, *EACH_1, "each.end"}


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        ("first", set()),
        ("par", {"first"}),
        ("par:left/l2", {"first", "par", "par:left/l1", "par:right/r1"}),
        ("each", BEFORE_EACH),
        ("each[1]/check:yes/y2", {*BEFORE_EACH, "each", *EACH_0, "each[1]/a", "each[1]/check", "each[1]/check:yes/y1"}),
        ("each[0]/check:more/m1", {*BEFORE_EACH, "each", *EACH_0} - {"each[0]/check:more/m1", "each[0]/check.end"}),
        ("each.end", {*BEFORE_EACH, "each", *EACH_0, *EACH_1}),
        ("loop[1].check", {*BEFORE_LOOP, "loop", "loop[0].check", "loop[0]/tick"}),
        ("loop[1]/tick", {*BEFORE_LOOP, "loop", "loop[0].check", "loop[0]/tick", "loop[1].check"}),
        ("risky:error/e2", {*BEFORE_LOOP, *LOOP, "loop.end", "risky", "risky:error/e1"}),
        ("last", {*BEFORE_LOOP, *LOOP, "loop.end", *RISKY}),
        (".output", ALL - {".output", "compensate/first/undo"}),
    ],
    ids=["first", "par", "branch-of-par", "each", "case", "later-case", "end", "check", "round", "route", "last",
         "result"],
)  # fmt: skip
def test_what_is_kept_ended_before_in_walking_order(start: str, kept: set[str]) -> None:
    assert {path for path in ALL if is_kept(NESTED, start, path)} == kept


@pytest.fixture
def payments(committed_acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Payments, str]]:
    """A resource that books what it is sent; the slug of a connection that says that keys are honoured."""
    with serve() as api, tenant_context(committed_acme):
        service = Payments(api)
        monkeypatch.setattr(api, "send_payments", service.send, raising=False)
        slug = unique_name("pay").replace("_", "-")
        resources = [{"name": "payments", "path": "payments"}, {"name": "orders", "path": "orders"}]
        config = {"base_url": api.base_url, "requests_per_second": 1000, "resources": resources}
        create_connection(name=slug, slug=slug, connector="rest", config=config, secrets={}, actor=SYSTEM)
        yield service, slug


def pay(slug: str, id_: str = "pay", rows: str = "[{'id': input.n, 'total': 1}]", **envelope: Any) -> Any:
    config = {"connection": slug, "entity": "payments", "rows": rows, "fields": FIELDS}
    return step(id_, "write", config=config, **envelope)


class Restarts:
    """The REST addresses of one run's restarts."""

    def __init__(self, api: Any, old: Run) -> None:
        self.api, self.address = api, f"/api/v2/runs/{old.pk}/restart"

    def preview(self, path: str, **more: Any) -> dict[str, Any]:
        answer = self.api.post(f"{self.address}/preview", {"path": path, **more}, format="json")
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found

    def verdicts(self, path: str, **more: Any) -> dict[str, str]:
        return {one["effect"]["path"]: one["verdict"] for one in self.preview(path, **more)["effects"]}

    def answer(self, path: str, *, again: tuple[str, ...] = (), **more: Any) -> Any:
        seen = self.api.post(f"{self.address}/preview", {"path": path, **more}, format="json").json()
        body = {"path": path, "preview": seen.get("hash", "none"), "again": list(again), **more}
        return self.api.post(self.address, body, format="json")

    def restart(self, path: str, **more: Any) -> Run:
        answer = self.answer(path, **more)
        assert answer.status_code == 202, answer.content
        made: Run = Run.objects.get(pk=answer.json()["id"])
        return work(made)


@pytest.fixture
def restarts(committed_acme: Tenant, api_for: Api) -> Callable[[Run], Restarts]:
    api = api_for(committed_acme, permissions=MAY)
    return lambda old: Restarts(api, old)


def executed(started: Run) -> set[str]:
    return set(StepResult.objects.filter(run=started, inherited=False).values_list("path", flat=True))


def test_failed_run_goes_on_from_a_step_with_an_edited_input(
    payments: Any, restarts: Callable[[Run], Restarts]
) -> None:
    service, slug = payments
    output = {"n": "steps.twice.output.n"}
    old = run(process(pay(slug), value("twice", n="input.n * 2"), STOP, output=output), {"n": 4, "go": False})
    assert (old.status, len(service.booked)) == (RunStatus.FAILED, 1)
    seen = restarts(old).preview("twice", parameters={"n": 5, "go": True})
    assert (seen["kept"], seen["effects"], seen["parameters"]) == (1, [], {"n": 5, "go": True})
    new = restarts(old).restart("twice", parameters={"n": 5, "go": True})
    assert (new.status, new.result, len(service.booked)) == (RunStatus.SUCCEEDED, {"n": 10}, 1)
    assert (new.trigger, new.restarted_from_id, new.restarted_path) == ("restart", old.pk, "twice")
    assert (new.definition_hash, new.version_number) == (old.definition_hash, old.version_number)
    assert executed(new) == {"twice", "stop", ".output"}
    assert outputs(new)["pay"] == outputs(old)["pay"]
    entry = AuditEntry.objects.get(action="run.started", target_id=str(new.pk))
    assert (entry.facts["restarted_from"], entry.facts["input_edited"]) == (str(old.pk), True)


def test_same_data_are_not_sent_twice_unless_somebody_wants_that(
    payments: Any, restarts: Callable[[Run], Restarts]
) -> None:
    service, slug = payments
    tell = step("tell", "publish", config={"event": unique_name("told").lower(), "data": {"n": "input.n"}})
    old = run(process(value("begin", n="1"), pay(slug), tell), {"n": 4})
    assert old.status == RunStatus.SUCCEEDED, old.error
    assert restarts(old).verdicts("begin") == {"pay": "deduplicated", "tell": "deduplicated"}
    same = restarts(old).restart("begin")
    assert (same.status, len(service.booked)) == (RunStatus.SUCCEEDED, 1)
    assert Event.objects.filter(data__name=tell["config"]["event"]).count() == 1
    entry = Effect.objects.get(run=same, path="pay")
    assert (entry.outcome, entry.sent_at, entry.repeats.run_id) == ("confirmed", None, old.pk)
    assert outputs(same)["pay"] == outputs(old)["pay"]
    assert restarts(old).verdicts("begin", parameters={"n": 5}) == {"pay": "repeated", "tell": "repeated"}
    other = restarts(same).restart("begin", again=("pay",))
    assert (other.status, len(service.booked)) == (RunStatus.SUCCEEDED, 2)
    assert Event.objects.filter(data__name=tell["config"]["event"]).count() == 1
    keys = Effect.objects.filter(path="pay", origin=old.pk).values_list("idempotency_key", flat=True)
    assert len(set(keys)) == 2


def test_verdict_says_what_is_not_known_yet(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    service, slug = payments
    depends = pay(slug, "depends", "[{'id': steps.begin.output.n, 'total': 1}]")
    old = run(process(value("begin", n="input.n + 1"), pay(slug), depends), {"n": 1})
    seen = restarts(old).preview("begin")
    assert {one["effect"]["path"]: one["verdict"] for one in seen["effects"]} == {
        "pay": "deduplicated", "depends": "at_run_time",
    }  # fmt: skip
    assert all(one["reason"] and one["name"] for one in seen["effects"])
    assert restarts(old).verdicts("pay") == {"pay": "deduplicated", "depends": "deduplicated"}
    restarts(old).restart("begin", parameters={"n": 1})
    assert len(service.booked) == 2, "what was not known turned out to be the same"


def test_restart_inside_an_iteration_and_a_branch(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    service, slug = payments
    inner = step("which", "branch", config={"cases": [
        {"name": "yes", "when": "item > 0", "steps": [
            pay(slug, "book", "[{'id': item, 'total': 1}]"), value("fee", n="item * input.rate"),
        ]},
    ]})  # fmt: skip
    each = step("each", "foreach", config={"items": "[1, 2, 3]", "steps": [inner]})
    total = {"sum": "list_sum([r.branches.yes.n for r in steps.each.output.results])"}
    old = run(process(value("begin", n="1"), each, output=total), {"rate": 1})
    assert (old.result, len(service.booked)) == ({"sum": 6}, 3)
    start = "each[1]/which:yes/fee"
    assert restarts(old).verdicts(start, parameters={"rate": 10}) == {"each[2]/which:yes/book": "deduplicated"}
    new = restarts(old).restart(start, parameters={"rate": 10})
    assert (new.status, new.result, len(service.booked)) == (RunStatus.SUCCEEDED, {"sum": 51}, 3)
    assert "each[0]/which:yes/fee" not in executed(new)
    assert {"each[1]/which:yes/fee", "each[1]/which.end", "each[2]/which", "each.end"} <= executed(new)
    from_book = restarts(new).restart("each[1]/which:yes/book", again=("each[1]/which:yes/book",))
    assert (from_book.result, len(service.booked)) == ({"sum": 51}, 4)


def test_edited_output_of_a_kept_step_is_what_later_steps_see(
    payments: Any, restarts: Callable[[Run], Restarts]
) -> None:
    old = run(process(value("rate", n="2"), value("price", n="steps.rate.output.n * 10"), output={"n": "steps.price"}))
    new = restarts(old).restart("price", outputs={"rate": {"n": 3}})
    assert (new.status, outputs(new)["price"]) == (RunStatus.SUCCEEDED, {"n": 30})
    refused = restarts(old).answer("price", outputs={"price": {"n": 3}})
    assert (refused.status_code, refused.json()["code"]) == (409, "engine.run.restart_not_possible")


def test_edited_input_is_checked_against_the_declared_fields(
    payments: Any, restarts: Callable[[Run], Restarts]
) -> None:
    declared = [{"name": "n", "type": "BIGINT", "nullable": False}]
    old = run(process(value("a", n="input.n"), input=declared), {"n": 1})
    for wrong in ({"n": "many"}, {}, {"n": 1, "more": 2}):
        body = {"path": "a", "parameters": wrong}
        answer = restarts(old).api.post(f"{restarts(old).address}/preview", body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (422, "engine.process.input_invalid"), wrong
    assert restarts(old).answer("a", parameters={"n": "many"}).status_code == 422
    assert not Run.objects.filter(restarted_from=old).exists()


def test_outdated_preview_restarts_nothing(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    _, slug = payments
    old = run(process(pay(slug)), {"n": 1})
    one = restarts(old)
    seen = one.preview("pay")["hash"]
    assert seen == one.api.get(f"{one.address}/preview?path=pay").json()["hash"]
    edited = one.api.post(one.address, {"path": "pay", "parameters": {"n": 2}, "preview": seen}, format="json")
    assert (edited.status_code, edited.json()["code"]) == (409, "engine.run.preview_outdated")
    Effect.objects.filter(run=old).update(outcome="unknown")
    changed = one.api.post(one.address, {"path": "pay", "preview": seen}, format="json")
    assert (changed.status_code, changed.json()["code"]) == (409, "engine.run.preview_outdated")
    assert not Run.objects.filter(restarted_from=old).exists()


def test_undone_steps_are_no_ground_to_build_on(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    service, slug = payments
    back = pay(slug, "back", "[{'id': input.n, 'total': -1}]")
    old = run(process(value("begin", n="1"), pay(slug, compensation=back), value("next", n="1"), STOP),
              {"n": 1, "go": False})  # fmt: skip
    assert (old.compensation["status"], len(service.booked)) == ("done", 2)
    refused = restarts(old).answer("next", parameters={"n": 1, "go": True})
    assert refused.json()["code"] == "engine.run.restart_not_possible"
    assert "from pay" in refused.json()["remedy"]
    assert restarts(old).verdicts("pay") == {"pay": "repeated"}
    again = restarts(old).restart("pay")
    assert (again.status, again.compensation["status"], len(service.booked)) == (RunStatus.FAILED, "done", 4)
    good = restarts(again).restart("begin", parameters={"n": 1, "go": True})
    assert (good.status, len(service.booked)) == (RunStatus.SUCCEEDED, 5)


def test_kept_steps_are_undone_by_their_own_run_only(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    service, slug = payments
    back = pay(slug, "back", "[{'id': input.n, 'total': -1}]")
    steps = (pay(slug, compensation=back), value("next", {"compensation": value("un-next", n="1")}, n="1"), STOP)
    old = run(process(*steps), {"n": 1, "go": True})
    assert (old.status, len(service.booked)) == (RunStatus.SUCCEEDED, 1)
    new = restarts(old).restart("next", parameters={"n": 1, "go": False})
    assert (new.status, new.compensation["steps"], len(service.booked)) == (RunStatus.FAILED, ["next"], 1)


def test_approval_does_not_count_for_another_input(
    payments: Any, restarts: Callable[[Run], Restarts], committed_acme: Tenant
) -> None:
    old = run(process(value("ask", n="1"), value("after", n="input.n")), {"n": 1})
    StepResult.objects.filter(run=old, path="ask").update(kind="process.task")
    refused = restarts(old).answer("after", parameters={"n": 2})
    assert (refused.status_code, refused.json()["code"]) == (409, "engine.run.restart_not_possible")
    assert restarts(old).restart("after").status == RunStatus.SUCCEEDED, "the same input stays approved"


def test_one_run_of_a_chain_is_active_at_a_time(payments: Any, restarts: Callable[[Run], Restarts]) -> None:
    pause = step("pause", "delay", config={"seconds": "3600"}, skip_if="not input.slow")
    old = run(process(value("a", n="1"), pause, STOP), {"slow": False, "go": False})
    slow = restarts(old).restart("a", parameters={"slow": True, "go": True})
    assert slow.status == RunStatus.WAITING
    second = restarts(old).answer("a")
    assert (second.status_code, second.json()["code"]) == (409, "engine.run.already_active")
    assert restarts(slow).answer("pause").json()["code"] == "engine.run.wrong_state"
    Run.objects.filter(pk=slow.pk).update(status=RunStatus.CANCELLED)


def test_unknown_steps_and_loads_are_refused(
    payments: Any, restarts: Callable[[Run], Restarts], committed_acme: Tenant, api_for: Api
) -> None:
    old = run(process(value("a", n="1")))
    for path in ("b", "a[1]/b", "compensate/a/x", "a\x01"):
        assert restarts(old).answer(path).json()["code"] in ("engine.run.restart_not_possible", "core.invalid"), path
    strange = restarts(old).answer("a", again=("a",))
    assert strange.json()["code"] == "engine.run.restart_not_possible"
    Run.objects.filter(pk=old.pk).update(kind="load")
    assert restarts(old).answer("a").json()["code"] == "engine.run.wrong_state"


def test_restart_needs_its_right_and_the_own_tenant(
    payments: Any, committed_acme: Tenant, committed_globex: Tenant, api_for: Api
) -> None:
    old = run(process(value("a", n="1")))
    for api, code in (
        (api_for(committed_acme, permissions=("run:view", "run:control")), 403),
        (api_for(committed_globex, permissions=MAY), 404),
    ):
        one = Restarts(api, old)
        assert api.get(f"{one.address}/preview?path=a").status_code == code
        assert api.post(f"{one.address}/preview", {"path": "a"}).status_code == code
        assert one.answer("a").status_code == code
    assert not Run.objects.filter(restarted_from=old).exists()


def test_lost_answer_is_dealt_with_by_the_restart(
    payments: Any, restarts: Callable[[Run], Restarts], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, slug = payments
    once = {"max_attempts": 1}
    config = {"connection": slug, "entity": "orders", "rows": "[{'id': input.n, 'total': 1}]", "fields": FIELDS}
    lost = [True]

    async def lose(request: Any) -> Any:
        answer = await ApiServer.send_orders(service.api, request)
        if lost:
            lost.pop()
            request.transport.close()
        return answer

    monkeypatch.setattr(service.api, "send_orders", lose)
    old = run(process(step("put", "write", config=config, retry=once)), {"n": 1})
    assert (old.status, Effect.objects.get(run=old).outcome) == (RunStatus.FAILED, "sent")
    seen = restarts(old).preview("put")["effects"]
    assert (seen[0]["verdict"], "same key" in seen[0]["reason"]) == ("deduplicated", True)
    new = restarts(old).restart("put")
    assert (new.status, len(service.api.written)) == (RunStatus.SUCCEEDED, 1)
    assert len({one.headers["Idempotency-Key"] for one in service.api.requests}) == 1

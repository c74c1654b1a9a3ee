"""Tasks for people: who may answer, what is accepted, how tasks end, and what the process gets of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.access.services.api_keys import create_api_key
from apps.access.services.http import actor_for_user
from apps.audit.models import AuditEntry
from apps.engine.choices import RunStatus, TaskStatus
from apps.engine.models import HumanTask, Run, StepResult
from apps.engine.services.controlling import cancel_run, resume_run, retry_run
from apps.engine.services.restart_plans import RestartRequest
from apps.engine.services.restart_previews import preview_restart
from apps.engine.services.restarting import restart_run
from apps.engine.services.runs import StartRequest, start_run
from apps.events.models import Event
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow
from apps.integrations.services.validation import validate_definition
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, run, start, statuses, step, value, work

Api = Callable[..., Any]
TASKS = "/api/v2/tasks"
FORM = {
    "type": "object",
    "required": ["approved"],
    "properties": {
        "approved": {"type": "boolean", "title": "Approved"},
        "limit": {"type": "integer", "minimum": 0, "maximum": 100},
        "grade": {"type": "string", "enum": ["a", "b"]},
        "day": {"type": "string", "format": "date"},
    },
}


def asking(people: list[Any] | None = None, *, kind: str = "task", **config: Any) -> dict[str, Any]:
    """A process that asks these people, or a role, and returns the step's output."""
    given: dict[str, Any] = {"form": FORM, "show": {"total": "input.total"}, "title": "'Approve ' || input.total"}
    if people is not None:
        given["people"] = "[" + ", ".join(f"'{one.email}'" for one in people) + "]"
    ask = step("ask", kind, config={**given, **config})
    return process(ask, value("after"), output={"got": "steps.ask.output"})


def waiting(tenant: Tenant, definition: Any) -> tuple[Run, HumanTask]:
    """A run that waits at its task."""
    with tenant_context(tenant):
        started = run(definition, {"total": 12})
        assert started.status == RunStatus.WAITING, started.error
        return started, HumanTask.objects.get(run=started)


def finish(tenant: Tenant, started: Run) -> Run:
    with tenant_context(tenant):
        return work(started)


def pass_deadline(task: HumanTask) -> None:
    HumanTask.objects.filter(pk=task.pk).update(due_at=Now() - timedelta(seconds=1))
    StepResult.objects.filter(pk=task.step_id).update(due_at=Now() - timedelta(seconds=1))


def answer(api: Any, task: HumanTask, **values: Any) -> Any:
    return api.post(f"{TASKS}/{task.pk}/answer", {"answer": values}, format="json")


def test_answer_lets_the_process_go_on(acme: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    started, task = waiting(acme, asking([person]))
    api = api_for(acme, user=person)
    shown = api.get(f"{TASKS}/{task.pk}").json()
    assert (shown["title"], shown["shown"], shown["form"]) == ("Approve 12", {"total": 12}, FORM)
    assert (shown["status"], shown["required"], shown["may_answer"]) == ("open", 1, True)
    assert [one["email"] for one in shown["people"]] == [person.email]
    done = answer(api, task, approved=True, limit=5)
    assert done.status_code == 200, done.content
    assert (done.json()["status"], done.json()["may_answer"]) == ("answered", False)
    assert done.json()["answers"][0]["values"] == {"approved": True, "limit": 5}
    assert finish(acme, started).status == RunStatus.SUCCEEDED, started.error
    got = started.result["got"]
    assert (got["outcome"], got["count"], got["answer"]) == ("answered", 1, {"approved": True, "limit": 5})
    assert got["answers"][0]["person"] == person.email
    with tenant_context(acme):
        types = set(Event.objects.filter(subject=f"task/{task.pk}").values_list("type", flat=True))
        assert {one.rsplit(".task.")[-1] for one in types} == {"created.v1", "answered.v1"}
        actions = AuditEntry.objects.filter(target_id=str(task.pk)).values_list("action", flat=True)
        assert set(actions) == {"task.created", "task.answered"}


def test_second_answer_is_refused(acme: Tenant, api_for: Api, user_for: Api) -> None:
    first, second = user_for(acme, roles=("approver",)), user_for(acme, roles=("approver",))
    _, task = waiting(acme, asking([first, second], quorum=2))
    api = api_for(acme, user=first)
    assert answer(api, task, approved=True).status_code == 200
    again = answer(api, task, approved=False)
    assert (again.status_code, again.json()["code"]) == (409, "engine.task.already_answered")
    assert answer(api_for(acme, user=second), task, approved=True).json()["status"] == "answered"
    late = answer(api, task, approved=False)
    assert (late.status_code, late.json()["code"]) == (409, "engine.task.already_answered")


def test_any_one_answer_closes_the_task_for_the_others(acme: Tenant, api_for: Api, user_for: Api) -> None:
    people = [user_for(acme, roles=("approver",)) for _ in range(2)]
    _, task = waiting(acme, asking(people))
    assert answer(api_for(acme, user=people[0]), task, approved=True).status_code == 200
    late = answer(api_for(acme, user=people[1]), task, approved=False)
    assert (late.status_code, late.json()["code"]) == (409, "engine.task.closed")


@pytest.mark.parametrize(("quorum", "needed"), [("any", 1), (2, 2), ("all", 3)], ids=["any", "two", "all"])
def test_quorum_of_three_people(acme: Tenant, api_for: Api, user_for: Api, quorum: Any, needed: int) -> None:
    people = [user_for(acme, roles=("approver",)) for _ in range(3)]
    started, task = waiting(acme, asking(people, quorum=quorum))
    for number, person in enumerate(people[:needed], start=1):
        assert finish(acme, started).status == RunStatus.WAITING
        body = answer(api_for(acme, user=person), task, approved=True).json()
        assert (body["answered"], body["required"]) == (number, needed)
    assert finish(acme, started).status == RunStatus.SUCCEEDED
    assert started.result["got"]["count"] == needed


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "answer"),
        ({"approved": "yes"}, "answer.approved"),
        ({"approved": True, "limit": 101}, "answer.limit"),
        ({"approved": True, "limit": 1.5}, "answer.limit"),
        ({"approved": True, "grade": "c"}, "answer.grade"),
        ({"approved": True, "day": "2026-13-01"}, "answer.day"),
        ({"approved": True, "more": 1}, "answer"),
        ({"approved": True, "grade": "\x00"}, "answer"),
    ],
    ids=["missing", "type", "maximum", "fraction", "enum", "date", "unknown", "nul"],
)
def test_answer_must_fit_the_form(acme: Tenant, api_for: Api, user_for: Api, values: Any, field: str) -> None:
    person = user_for(acme, roles=("approver",))
    started, task = waiting(acme, asking([person]))
    refused = api_for(acme, user=person).post(f"{TASKS}/{task.pk}/answer", {"answer": values}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (422, "engine.task.answer_invalid"), refused.content
    assert refused.json()["field"] == field
    assert finish(acme, started).status == RunStatus.WAITING


def start_as(tenant: Tenant, api: Any, definition: Any) -> Run:
    with tenant_context(tenant):
        flow = make_flow(definition)
    body = {"environment": "dev", "version": "draft", "parameters": {"total": 1}}
    made = api.post(f"/api/v2/flows/{flow.pk}/runs", body, format="json")
    assert made.status_code == 202, made.content
    with tenant_context(tenant):
        return work(Run.objects.get(pk=made.json()["id"]))


def test_who_started_the_run_may_not_approve_it(acme: Tenant, api_for: Api, user_for: Api) -> None:
    starter, other = user_for(acme), user_for(acme, roles=("approver",))
    api = api_for(acme, user=starter)
    definition = asking([starter, other], no_self_approval=True)
    started = start_as(acme, api, definition)
    with tenant_context(acme):
        task = HumanTask.objects.get(run=started)
    refused = answer(api, task, approved=True)
    assert (refused.status_code, refused.json()["code"]) == (403, "engine.task.not_yours")
    assert api.get(f"{TASKS}?mine=true&run={started.pk}").json()["results"] == []
    back = api_for(acme, user=other).post(f"{TASKS}/{task.pk}/delegate", {"to": str(starter.pk)}, format="json")
    assert (back.status_code, back.json()["code"]) == (422, "engine.task.delegate_invalid")
    assert answer(api_for(acme, user=other), task, approved=True).status_code == 200
    allowed = start_as(acme, api, asking([starter]))
    with tenant_context(acme):
        task = HumanTask.objects.get(run=allowed)
    assert answer(api, task, approved=True).status_code == 200


def test_no_detour_around_self_approval(acme: Tenant, user_for: Api) -> None:
    starter, other = user_for(acme), user_for(acme)
    definition = asking([starter, other], no_self_approval=True)
    with tenant_context(acme):
        me = actor_for_user(starter)
        inner = make_flow(definition)
        version = publish_flow(inner.pk, actor=SYSTEM).version
        deploy_version(inner.pk, environment="dev", version=version.number, actor=SYSTEM)
        outer = make_flow(process(step("sub", "flow", config={"flow": inner.slug, "input": {"total": "1"}})))
        parent = work(start_run(StartRequest(outer.pk, "dev", version="draft"), actor=me))
        child = work(Run.objects.get(parent=parent))
        assert HumanTask.objects.get(run=child).barred == [starter.pk], "a sub-run is started by the portal itself"
        cancel_run(child.pk, actor=SYSTEM)
        again = work(retry_run(child.pk, actor=actor_for_user(other)))
        assert again.status == RunStatus.FAILED
        assert again.error["code"] == "engine.task.impossible", "both are behind the run now"
        key, _ = create_api_key("starter", scopes=["run:start", "run:view"], actor=me)
        by_key = start(definition, {"total": 1})
        Run.objects.filter(pk=by_key.pk).update(requested_by_kind="api_key", requested_by_id=key.pk)
        work(by_key)
        assert HumanTask.objects.get(run=by_key).barred == [starter.pk]


def test_restart_is_no_detour_around_self_approval(acme: Tenant, user_for: Api) -> None:
    starter, other = user_for(acme), user_for(acme)
    with tenant_context(acme):
        flow = make_flow(asking([starter, other], no_self_approval=True))
        request = StartRequest(flow.pk, "dev", version="draft", parameters={"total": 1})
        old = work(start_run(request, actor=actor_for_user(starter)))
        task = HumanTask.objects.get(run=old)
        cancel_run(old.pk, actor=SYSTEM)
        restart = RestartRequest(old.pk, task.path)
        seen = preview_restart(restart, actor=actor_for_user(other))
        again = work(restart_run(restart, preview=seen.hash, actor=actor_for_user(other)))
        assert again.status == RunStatus.FAILED
        assert again.error["code"] == "engine.task.impossible", "both are behind the run now"


def test_only_candidates_with_the_permission_answer(acme: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    _, task = waiting(acme, asking([person]))
    other = answer(api_for(acme), task, approved=True)
    assert (other.status_code, other.json()["code"]) == (403, "engine.task.not_yours")
    viewer = answer(api_for(acme, roles=("viewer",)), task, approved=True)
    assert (viewer.status_code, viewer.json()["code"]) == (403, "access.permission_denied")
    assert api_for(acme, roles=("viewer",)).get(f"{TASKS}/{task.pk}").json()["may_answer"] is False
    assert api_for(acme, permissions=("run:view",)).get(f"{TASKS}/{task.pk}").status_code == 403
    assert api_for(acme, permissions=("run:view",)).get(TASKS).status_code == 403


def test_api_key_is_no_person(acme: Tenant, user_for: Api) -> None:
    from rest_framework.test import APIClient

    person = user_for(acme)
    _, task = waiting(acme, asking([person]))
    with tenant_context(acme):
        _, secret = create_api_key("robot", scopes=["task:view", "task:answer"], actor=actor_for_user(person))
    robot = APIClient(HTTP_HOST="acme.localhost", HTTP_AUTHORIZATION=f"Bearer {secret}")
    assert robot.get(f"{TASKS}/{task.pk}").json()["may_answer"] is False
    refused = answer(robot, task, approved=True)
    assert (refused.status_code, refused.json()["code"]) == (403, "engine.task.needs_person")


def test_role_is_asked_as_it_is_held_now(acme: Tenant, api_for: Api, user_for: Api) -> None:
    from apps.access.models import Role

    old, new = user_for(acme, roles=("approver",)), user_for(acme)
    with tenant_context(acme):
        board = Role.objects.create(slug=f"board-{old.pk.hex[:8]}", name="Board", permissions=["task:view"])
        old.roles.add(board)
    _, task = waiting(acme, asking(role=board.slug))
    with tenant_context(acme):
        old.roles.remove(board)
        new.roles.add(board)
    assert answer(api_for(acme, user=old), task, approved=True).status_code == 403
    assert answer(api_for(acme, user=new), task, approved=True).status_code == 200


def test_claimed_task_is_left_to_one(acme: Tenant, api_for: Api, user_for: Api) -> None:
    people = [user_for(acme, roles=("approver",)) for _ in range(2)]
    _, task = waiting(acme, asking(people))
    mine, theirs = (api_for(acme, user=person) for person in people)
    assert mine.post(f"{TASKS}/{task.pk}/claim").json()["claimed_by"]["email"] == people[0].email
    assert mine.post(f"{TASKS}/{task.pk}/claim").status_code == 200, "a second call changes nothing"
    for act in ("claim", "release"):
        refused = theirs.post(f"{TASKS}/{task.pk}/{act}")
        assert (refused.status_code, refused.json()["code"]) == (409, "engine.task.claimed")
    assert answer(theirs, task, approved=True).json()["code"] == "engine.task.claimed"
    assert theirs.get(f"{TASKS}?mine=true&run={task.run_id}").json()["results"] == []
    assert mine.post(f"{TASKS}/{task.pk}/release").json()["claimed_by"] is None
    assert answer(theirs, task, approved=True).status_code == 200
    assert mine.post(f"{TASKS}/{task.pk}/claim").json()["code"] == "engine.task.closed"
    _, several = waiting(acme, asking(people, quorum="all"))
    assert mine.post(f"{TASKS}/{several.pk}/claim").json()["code"] == "engine.task.not_claimable"


def test_delegate_answers_instead(acme: Tenant, api_for: Api, user_for: Api) -> None:
    first, second, third = (user_for(acme, roles=("approver",)) for _ in range(3))
    viewer = user_for(acme, roles=("viewer",))
    started, task = waiting(acme, asking([first, second], quorum="all"))
    api, url = api_for(acme, user=first), f"{TASKS}/{task.pk}/delegate"
    for wrong in (viewer, second, first):
        refused = api.post(url, {"to": str(wrong.pk)}, format="json")
        assert (refused.status_code, refused.json()["code"]) == (422, "engine.task.delegate_invalid")
    assert api.post(url, {"to": str(third.pk)}, format="json").status_code == 200
    assert answer(api, task, approved=True).json()["code"] == "engine.task.not_yours"
    assert answer(api_for(acme, user=third), task, approved=True).json()["answered"] == 1
    again = api_for(acme, user=third).post(url, {"to": str(first.pk)}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "engine.task.already_answered")
    assert answer(api_for(acme, user=second), task, approved=True).json()["status"] == "answered"
    assert finish(acme, started).status == RunStatus.SUCCEEDED
    _, fixed = waiting(acme, asking([first], delegation=False))
    assert api.post(f"{TASKS}/{fixed.pk}/delegate", {"to": str(third.pk)}, format="json").status_code == 422


def test_deadline_fails_or_continues(acme: Tenant, api_for: Api, user_for: Api) -> None:
    people = [user_for(acme, roles=("approver",)) for _ in range(2)]
    hard, task = waiting(acme, asking(people, deadline_s="3600", on_deadline="fail"))
    with tenant_context(acme):
        assert work(hard).status == RunStatus.WAITING, "not before its time"
        pass_deadline(task)
    late = answer(api_for(acme, user=people[0]), task, approved=True)
    assert (late.status_code, late.json()["code"]) == (409, "engine.task.closed"), "nor before the sweeper comes by"
    assert finish(acme, hard).status == RunStatus.FAILED
    assert hard.error["code"] == "engine.task.expired"
    soft, task = waiting(acme, asking(people, quorum="all", deadline_s="3600", on_deadline="continue"))
    assert answer(api_for(acme, user=people[0]), task, approved=False).status_code == 200
    with tenant_context(acme):
        pass_deadline(task)
        assert work(soft).status == RunStatus.SUCCEEDED
        assert HumanTask.objects.get(pk=task.pk).status == TaskStatus.EXPIRED
        assert Event.objects.filter(subject=f"task/{task.pk}", type__endswith="task.expired.v1").count() == 1
        assert AuditEntry.objects.filter(target_id=str(task.pk), action="task.expired").count() == 1
    got = soft.result["got"]
    assert (got["outcome"], got["count"], got["answer"]) == ("expired", 1, {"approved": False})


def test_cancelled_run_needs_no_answers_and_a_resumed_one_asks_anew(acme: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    started, task = waiting(acme, asking([person]))
    with tenant_context(acme):
        cancel_run(started.pk, actor=SYSTEM)
        assert HumanTask.objects.get(pk=task.pk).status == TaskStatus.CANCELLED
    assert answer(api_for(acme, user=person), task, approved=True).json()["code"] == "engine.task.closed"
    with tenant_context(acme):
        resume_run(started.pk, actor=SYSTEM)
        assert work(started).status == RunStatus.WAITING
        fresh = HumanTask.objects.get(run=started, status=TaskStatus.OPEN)
    assert answer(api_for(acme, user=person), fresh, approved=True).status_code == 200
    assert finish(acme, started).status == RunStatus.SUCCEEDED
    assert started.result["got"]["count"] == 1


def test_first_of_two_tasks_ends_the_other(acme: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    ask = {"form": FORM, "people": f"'{person.email}'"}
    branches = [{"name": name, "steps": [step(f"ask_{name}", "task", config=ask)]} for name in ("a", "b")]
    with tenant_context(acme):
        started = run(process(step("race", "parallel", config={"join": "any", "branches": branches})))
        first, second = HumanTask.objects.filter(run=started).order_by("path")
    assert answer(api_for(acme, user=person), first, approved=True).status_code == 200
    with tenant_context(acme):
        assert work(started).status == RunStatus.SUCCEEDED
        assert HumanTask.objects.get(pk=second.pk).status == TaskStatus.CANCELLED
        assert statuses(started)["race:b/ask_b"] == "cancelled"


def test_task_that_nobody_could_complete_is_not_made(acme: Tenant, globex: Tenant, user_for: Api) -> None:
    able, viewer, stranger = user_for(acme), user_for(acme, roles=("viewer",)), user_for(globex)
    for config in (
        asking([viewer]),
        asking([stranger]),
        asking([able], quorum=2),
        asking(role="no-such-role"),
        asking(people=None, role=None) | {"steps": [step("ask", "task", config={"form": FORM, "people": "[1]"})]},
    ):
        with tenant_context(acme):
            failed = run({**config, "output": None}, {"total": 1})
            assert (failed.status, failed.error["code"]) == (RunStatus.FAILED, "engine.task.impossible"), config
            assert not HumanTask.objects.filter(run=failed).exists()


def test_inbox_filters_and_pages(acme: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    made = [waiting(acme, asking([person]))[1] for _ in range(3)]
    api = api_for(acme, user=person)
    newest = [str(task.pk) for task in reversed(made)]
    assert [row["id"] for row in api.get(f"{TASKS}?mine=true").json()["results"]] == newest
    assert api_for(acme).get(f"{TASKS}?mine=true").json()["results"] == []
    with tenant_context(acme):
        flow_id = str(made[0].run.flow_id)
    page = api.get(f"{TASKS}?mine=true&limit=2").json()
    assert [row["id"] for row in page["results"]] == newest[:2]
    assert [row["id"] for row in api.get(page["next"]).json()["results"]] == newest[2:]
    answer(api, made[0], approved=True)
    assert [row["id"] for row in api.get(f"{TASKS}?mine=true&status=open").json()["results"]] == newest[:2]
    (done,) = api.get(f"{TASKS}?status=answered&run={made[0].run_id}").json()["results"]
    assert (done["answered"], done["flow"]["id"]) == (1, flow_id)
    assert api.get(f"{TASKS}?status=done").status_code == 422


def test_second_tenant_sees_and_changes_nothing(acme: Tenant, globex: Tenant, api_for: Api, user_for: Api) -> None:
    person = user_for(acme, roles=("approver",))
    _, task = waiting(acme, asking([person]))
    stranger = api_for(globex)
    assert str(task.pk) not in stranger.get(TASKS).content.decode()
    assert stranger.get(f"{TASKS}/{task.pk}").status_code == 404
    for act in ("claim", "release"):
        assert stranger.post(f"{TASKS}/{task.pk}/{act}").status_code == 404
    assert answer(stranger, task, approved=True).status_code == 404
    assert stranger.post(f"{TASKS}/{task.pk}/delegate", {"to": str(person.pk)}, format="json").status_code == 404
    with tenant_context(acme):
        assert HumanTask.objects.get(pk=task.pk).status == TaskStatus.OPEN


@pytest.mark.usefixtures("as_acme")
@pytest.mark.parametrize(
    ("config", "path", "code"),
    [
        ({"people": None}, "people", "task_candidates"),
        ({"role": "approver"}, "people", "task_candidates"),
        ({"deadline_s": "60"}, "on_deadline", "task_deadline"),
        ({"on_deadline": "fail"}, "on_deadline", "task_deadline"),
        ({"form": {**FORM, "required": ["missing"]}}, "form.required[0]", "task_field_unknown"),
        ({"form": {**FORM, "$ref": "http://x"}}, "form.$ref", "unknown_key"),
        (
            {"form": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}}},
            "form.properties.a.pattern",
            "unknown_key",
        ),
        ({"title": "steps.after.output.x"}, "title", "step_not_before"),
    ],
    ids=["nobody", "both", "no-outcome", "no-deadline", "required", "ref", "pattern", "later-step"],
)
def test_definition_check_finds_what_is_wrong(config: Any, path: str, code: str) -> None:
    ask = step("ask", "task", config={"form": FORM, "people": "'a@b.example'", **config})
    found = {one.path: one.code for one in validate_definition(process(ask, value("after"))).problems}
    assert found == {f"steps[0].config.{path}": f"integrations.{code}"}

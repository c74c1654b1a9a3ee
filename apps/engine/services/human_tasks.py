"""What people do with tasks: claim, give back, answer, delegate. Under the run's lock, so that a task ends once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from jsonschema import Draft202012Validator

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.engine.choices import TaskStatus
from apps.engine.events import TASK_ANSWERED, TaskChanged
from apps.engine.exceptions import (
    AnswerInvalid,
    DelegateInvalid,
    TaskAlreadyAnswered,
    TaskClaimed,
    TaskClosed,
    TaskNeedsPerson,
    TaskNotClaimable,
    TaskNotYours,
)
from apps.engine.models import HumanTask, Run, TaskAnswer
from apps.engine.selectors import get_task, is_candidate, list_answerers
from apps.engine.services.advancing import advance_locked, lock_run
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import require_tenant

ANSWER = "task:answer"
ANSWER_MOST = 64 * 1024
PROBLEMS_MOST = 20


def claim_task(task_id: UUID, *, actor: Actor) -> HumanTask:
    """Take a task that one answer completes, so that nobody else works on it. A second call changes nothing.

    Args:
        task_id: the task.
        actor: a person; needs `task:answer`, and to be a candidate.

    Raises:
        PermissionDenied, TaskNotFound, TaskNeedsPerson, TaskNotYours: as named.
        TaskClosed: it has ended.
        TaskClaimed: somebody else has it.
        TaskNotClaimable: it needs several answers, so nobody has it alone.
    """
    person = _person(actor)
    with transaction.atomic():
        run, task = _locked(task_id)
        _ensure_open(task, run)
        _ensure_candidate(task, person)
        if task.required > 1:
            raise TaskNotClaimable(f"The task needs {task.required} answers.", value=task.required)
        _ensure_not_taken(task, person)
        if task.claimed_by_id is None:
            task.claimed_by_id, task.claimed_at = person, run.db_now
            task.save(update_fields=["claimed_by", "claimed_at", "updated_at"])
            _record(task, "claimed", f"Claimed the task {task.title}.", actor)
    return get_task(task_id)


def release_task(task_id: UUID, *, actor: Actor) -> HumanTask:
    """Give a claimed task back to all candidates. A second call changes nothing.

    Raises:
        PermissionDenied, TaskNotFound, TaskNeedsPerson, TaskClosed, TaskClaimed: see `claim_task`.
    """
    person = _person(actor)
    with transaction.atomic():
        run, task = _locked(task_id)
        _ensure_open(task, run)
        _ensure_not_taken(task, person)
        if task.claimed_by_id is not None:
            task.claimed_by_id, task.claimed_at = None, None
            task.save(update_fields=["claimed_by", "claimed_at", "updated_at"])
            _record(task, "released", f"Gave the task {task.title} back.", actor)
    return get_task(task_id)


def answer_task(task_id: UUID, values: Mapping[str, Any], *, actor: Actor) -> HumanTask:
    """Answer a task; the answer that completes the quorum lets the process go on, in the same transaction.

    Args:
        task_id: the task.
        values: what the form asks for; checked against its JSON Schema.
        actor: a person; needs `task:answer`, and to be a candidate.

    Raises:
        PermissionDenied, TaskNotFound, TaskNeedsPerson, TaskNotYours: as named.
        TaskAlreadyAnswered: this person has answered.
        TaskClosed: it has ended, or its deadline has passed.
        TaskClaimed: somebody else has it.
        AnswerInvalid: a value does not fit the form; `problems` name each.
    """
    person = _person(actor)
    with transaction.atomic():
        run, task = _locked(task_id)
        if TaskAnswer.objects.filter(task=task, person_id=person).exists():
            raise TaskAlreadyAnswered(value=str(task_id))
        _ensure_open(task, run)
        _ensure_candidate(task, person)
        _ensure_not_taken(task, person)
        _check_answer(task.form, values)
        TaskAnswer.objects.create(task=task, person_id=person, person_name=actor.name[:254], values=dict(values))
        count = TaskAnswer.objects.filter(task=task).count()
        if count >= task.required:
            task.status, task.ended_at = TaskStatus.ANSWERED, run.db_now
            task.save(update_fields=["status", "ended_at", "updated_at"])
        _record(task, "answered", f"Answered the task {task.title}.", actor, answers=count, required=task.required)
        publish_task(task, TASK_ANSWERED, flow_id=run.flow_id, answers=count)
        if task.status == TaskStatus.ANSWERED:
            advance_locked(run)
    return get_task(task_id)


def delegate_task(task_id: UUID, to: UUID, *, actor: Actor) -> HumanTask:
    """Let somebody else answer in one's place.

    Args:
        task_id: the task.
        to: a member who may answer tasks and is not a candidate already.
        actor: a person; needs `task:answer`, and to be a candidate who has not answered.

    Raises:
        PermissionDenied, TaskNotFound, TaskNeedsPerson, TaskNotYours, TaskClosed, TaskClaimed: see `claim_task`.
        TaskAlreadyAnswered: the actor has answered.
        DelegateInvalid: the task may not be delegated, or not to that person.
    """
    person = _person(actor)
    with transaction.atomic():
        run, task = _locked(task_id)
        _ensure_open(task, run)
        if TaskAnswer.objects.filter(task=task, person_id=person).exists():
            raise TaskAlreadyAnswered(value=str(task_id))
        _ensure_candidate(task, person)
        _ensure_not_taken(task, person)
        if not task.delegation:
            raise DelegateInvalid("This task may not be delegated.", field="to")
        target = list_answerers().filter(pk=to).values_list("email", flat=True).first()
        if target is None:
            raise DelegateInvalid("There is no member of that id who may answer tasks.", field="to", value=str(to))
        if to in task.barred:
            raise DelegateInvalid(f"{target} started the run, and may not answer.", field="to", value=str(to))
        if is_candidate(task, to) or TaskAnswer.objects.filter(task=task, person_id=to).exists():
            raise DelegateInvalid(f"{target} is a candidate already.", field="to", value=str(to))
        task.people = [*(one for one in task.people if one != person), to]
        task.away = [*(one for one in task.away if one not in (person, to)), person]
        task.claimed_by_id, task.claimed_at = None, None
        task.save(update_fields=["people", "away", "claimed_by", "claimed_at", "updated_at"])
        _record(task, "delegated", f"Delegated the task {task.title} to {target}.", actor, to=str(to))
    return get_task(task_id)


def publish_task(task: HumanTask, type_: str, *, flow_id: UUID, answers: int = 0) -> None:
    """Publish a task's event and tell browsers, with the caller's transaction."""
    publish_event(
        type_,
        subject=f"task/{task.pk}",
        key=str(task.run_id),
        data=TaskChanged(
            task_id=task.pk,
            run_id=task.run_id,
            flow_id=flow_id,
            path=task.path,
            title=task.title,
            status=str(task.status),
            answers=answers,
            required=task.required,
            due_at=task.due_at,
        ),
    )
    hint_task(task)


def hint_task(task: HumanTask) -> None:
    """Tell browsers that the task changed."""
    send_hint(require_tenant().id, "task", task.pk, status=str(task.status))


def _person(actor: Actor) -> UUID:
    """The person who acts. A key is no person, whoever made it: what people decide is decided by people."""
    check_permission(actor, ANSWER)
    if actor.kind != "user" or actor.user_id is None:
        raise TaskNeedsPerson()
    return actor.user_id


def _locked(task_id: UUID) -> tuple[Run, HumanTask]:
    run = lock_run(get_task(task_id).run_id)
    return run, HumanTask.objects.select_for_update().get(pk=task_id)


def _ensure_open(task: HumanTask, run: Run) -> None:
    if task.status != TaskStatus.OPEN:
        raise TaskClosed(f"The task is {task.status}.", value=str(task.status))
    if task.due_at is not None and task.due_at <= run.db_now:
        raise TaskClosed("The task's deadline has passed.", value=task.due_at.isoformat())


def _ensure_candidate(task: HumanTask, person: UUID) -> None:
    if person in task.barred:
        raise TaskNotYours("Who started the run may not answer this task.", remedy="Somebody else must answer it.")
    if not is_candidate(task, person):
        raise TaskNotYours()


def _ensure_not_taken(task: HumanTask, person: UUID) -> None:
    if task.claimed_by_id is not None and task.claimed_by_id != person:
        raise TaskClaimed(value=str(task.claimed_by_id))


def _check_answer(form: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    text = json.dumps(values, default=str)
    if len(text) > ANSWER_MOST:
        raise AnswerInvalid(f"The answer has more than {ANSWER_MOST:,} bytes.", field="answer", value=len(text))
    if "\\u0000" in text:
        raise AnswerInvalid("A text has a NUL character.", field="answer")
    schema = {**form, "additionalProperties": False}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    problems = []
    for error in validator.iter_errors(dict(values)):
        place = ".".join(["answer", *map(str, error.absolute_path)])
        problems.append(Problem(place, "engine.task.answer", error.message[:500]))
        if len(problems) == PROBLEMS_MOST:
            break
    if problems:
        raise AnswerInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _record(task: HumanTask, act: str, summary: str, actor: Actor, **facts: Any) -> None:
    record_audit(
        actor=actor,
        action=f"task.{act}",
        target_type="task",
        target_id=task.pk,
        summary=summary[:500],
        facts={"run_id": str(task.run_id), "path": task.path, **facts},
    )
    if act != "answered":  # its event brings a hint
        hint_task(task)

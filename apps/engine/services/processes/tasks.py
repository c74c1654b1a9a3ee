"""The step that waits for people: it makes a task, and is parked until the quorum is reached or the deadline passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from apps.access.contracts import Actor
from apps.access.selectors import list_api_keys
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.engine.choices import TaskStatus
from apps.engine.contracts import ParkedStep, StepContext, StepOutcome, Wait
from apps.engine.events import TASK_CREATED, TASK_EXPIRED
from apps.engine.exceptions import MomentInvalid, TaskExpired, TaskImpossible
from apps.engine.models import HumanTask, Run, TaskAnswer
from apps.engine.selectors import list_answerers
from apps.engine.services.human_tasks import hint_task, publish_task
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.engine.services.processes.waits import LONGEST
from apps.integrations.process_contracts import ProcessStep

ANCESTORS_MOST = 100


class AskPeople(ProcessStepType):
    """Asks people to fill in a form."""

    type = "process.task"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Make the task with the outcome, so that both are there or neither."""
        config = step.config
        begun = context.run.now or now()
        named = {name: config[name] for name in ("title", "description", "people", "deadline_s") if config[name]}
        values = scope.evaluate(named)
        until = None
        if "deadline_s" in values:
            seconds = values["deadline_s"]
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
                raise MomentInvalid(f"{step.title}: {seconds!r} is not a number of seconds.", field="deadline_s")
            until = begun + timedelta(seconds=min(float(seconds), LONGEST.total_seconds()))
        barred = _starters(context.run.id) if config["no_self_approval"] else set()
        people = _find_people(step, values.get("people")) if config["people"] else []
        task = HumanTask(
            run_id=context.run.id,
            step_id=context.step_id,
            path=context.path,
            title=str(values.get("title") or step.title)[:200],
            description=str(values.get("description") or "")[:4000],
            shown=scope.evaluate(config["show"]),
            form=dict(config["form"]),
            people=people,
            role=config["role"] or "",
            barred=sorted(barred),
            required=_required(step, people, barred),
            delegation=config["delegation"],
            due_at=until,
        )

        def commit() -> None:
            task.save(force_insert=True)
            _record(task, "created", f"{context.run.flow_name} asks: {task.title}."[:500], context.run.flow_name)
            publish_task(task, TASK_CREATED, flow_id=context.run.flow_id)

        wait = Wait("task", {"task": str(task.pk), "on_deadline": config["on_deadline"]}, until)
        return StepOutcome(detail=f"Waits for people: {task.title}.", commit=commit, wait=wait)

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """The answers, or the end of the waiting."""
        task = HumanTask.objects.get(step_id=step.step_id)
        if task.status == TaskStatus.ANSWERED:
            return StepOutcome(output=_to_output(task), detail="Answered.")
        if not step.due:
            return None
        task.status, task.ended_at = TaskStatus.EXPIRED, step.run.now or now()
        task.save(update_fields=["status", "ended_at", "updated_at"])
        output = _to_output(task)
        _record(task, "expired", f"Nobody completed the task {task.title} in time."[:500], step.run.flow_name)
        publish_task(task, TASK_EXPIRED, flow_id=step.run.flow_id, answers=output["count"])
        if step.wait["on_deadline"] == "continue":
            return StepOutcome(output=output, detail="Not answered in time.")
        raise TaskExpired(f"{task.title}: {output['count']} of {task.required} answers came in time.")

    def drop(self, step: ParkedStep) -> None:
        """Nobody needs the answers any more."""
        task = HumanTask.objects.filter(step_id=step.step_id, status=TaskStatus.OPEN).first()
        if task is not None:
            task.status, task.ended_at = TaskStatus.CANCELLED, step.run.now or now()
            task.save(update_fields=["status", "ended_at", "updated_at"])
            _record(task, "cancelled", f"The task {task.title} is not needed any more."[:500], step.run.flow_name)
            hint_task(task)


def _find_people(step: ProcessStep, given: Any) -> list[UUID]:
    """Members by their addresses; each must be able to answer, or the task could wait for ever."""
    wanted = [given] if isinstance(given, str) else given
    if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
        raise TaskImpossible(f"{step.title}: the people are not a list of e-mail addresses.", field="people")
    addresses = list(dict.fromkeys(one.strip().lower() for one in wanted))
    known: dict[str, UUID] = dict(list_answerers().filter(email__in=addresses).values_list("email", "id"))
    missing = [one for one in addresses if one not in known]
    if missing:
        raise TaskImpossible(f"{step.title}: {', '.join(missing)[:300]} may not answer tasks here.", field="people")
    return [known[one] for one in addresses]


def _required(step: ProcessStep, people: list[UUID], barred: set[UUID]) -> int:
    """How many answers complete the task."""
    able: QuerySet[Any] = list_answerers().exclude(pk__in=barred)
    able = able.filter(pk__in=people) if step.config["people"] else able.filter(roles__slug=step.config["role"])
    count: int = able.values("pk").distinct().count()
    quorum = step.config["quorum"]
    required = count if quorum == "all" else 1 if quorum == "any" else int(quorum)
    if count == 0 or required > count:
        raise TaskImpossible(f"{step.title}: {count} people may answer, and {max(required, 1)} must.", field="quorum")
    return required


def _starters(run_id: UUID) -> set[UUID]:
    """The people behind a run: who started it, the run it is a part of, or the one that it repeats."""
    found: set[UUID] = set()
    waiting: list[UUID] = [run_id]
    seen: set[UUID] = set()
    while waiting and len(seen) < ANCESTORS_MOST:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        kind, who, *others = Run.objects.values_list(
            "requested_by_kind", "requested_by_id", "parent_id", "retry_of_id", "restarted_from_id"
        ).get(pk=current)
        waiting += [one for one in others if one is not None]
        if kind == "user" and who is not None:
            found.add(who)
        elif kind == "api_key" and who is not None:
            found |= set(list_api_keys().filter(pk=who).values_list("created_by_id", flat=True))
    return found


def _to_output(task: HumanTask) -> dict[str, Any]:
    rows = TaskAnswer.objects.filter(task=task).order_by("id")
    answers = [
        {"person": row.person_name, "person_id": str(row.person_id), "at": row.created_at.isoformat(),
         "values": row.values}
        for row in rows
    ]  # fmt: skip
    return {
        "outcome": str(task.status),
        "answer": answers[0]["values"] if answers else None,
        "answers": answers,
        "count": len(answers),
    }


def _record(task: HumanTask, act: str, summary: str, flow: str) -> None:
    record_audit(
        actor=Actor.system(f"process {flow}"),
        action=f"task.{act}",
        target_type="task",
        target_id=task.pk,
        summary=summary,
        facts={"run_id": str(task.run_id), "path": task.path, "required": task.required},
    )

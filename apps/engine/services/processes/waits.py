"""Steps that wait: for a moment, or for an event. They are parked meanwhile: no worker, no slot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Q

from apps.core.clock import now
from apps.engine.contracts import ParkedStep, StepContext, StepOutcome, Wait
from apps.engine.events import PROCESS_MESSAGE
from apps.engine.exceptions import MomentInvalid, WaitTimedOut
from apps.engine.models import Waiter
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.events.contracts import EventRecord, to_full_type
from apps.events.registries import event_types
from apps.events.selectors import list_events, to_record
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.services.calendars import add_workdays, get_calendar

LONGEST = timedelta(days=3660)
LOOK_BACK = timedelta(seconds=10)
CANDIDATES = 500


class _Timed(ProcessStepType):
    """Waits until a moment of the database's clock."""

    inline = True

    def moment(self, step: ProcessStep, scope: Scope, begun: datetime) -> datetime:
        """The moment."""
        raise NotImplementedError

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Park until the moment, or go on at once when it has passed."""
        begun = context.run.now or now()
        until = self.moment(step, scope, begun)
        if until > begun + LONGEST:
            raise MomentInvalid(f"{step.title}: {until:%Y-%m-%d} is more than ten years away.")
        if until <= begun:
            return StepOutcome(output={"until": _iso(until)}, detail="The moment has passed.")
        return StepOutcome(detail=f"Waits until {_iso(until)}.", wait=Wait("timer", {"until": _iso(until)}, until))

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """Done once the moment has passed."""
        return StepOutcome(output={"until": step.wait["until"]}) if step.due else None


class Delay(_Timed):
    """Waits for a number of seconds."""

    type = "process.delay"

    def moment(self, step: ProcessStep, scope: Scope, begun: datetime) -> datetime:
        """Now and the seconds."""
        seconds = scope.evaluate({"seconds": step.config["seconds"]})["seconds"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise MomentInvalid(f"{step.title}: {seconds!r} is not a number of seconds.")
        if seconds > LONGEST.total_seconds():
            raise MomentInvalid(f"{step.title}: {seconds:,} seconds are more than ten years.")
        return begun + timedelta(seconds=max(0.0, float(seconds)))


class Until(_Timed):
    """Waits until a point in time; one without a zone is taken as UTC."""

    type = "process.until"

    def moment(self, step: ProcessStep, scope: Scope, begun: datetime) -> datetime:
        """The value of the expression."""
        value = scope.evaluate({"at": step.config["at"]})["at"]
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            raise MomentInvalid(f"{step.title}: {value!r} is not a point in time.") from None
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Workday(_Timed):
    """Waits until a time of day on a working day of a calendar."""

    type = "process.workday"

    def moment(self, step: ProcessStep, scope: Scope, begun: datetime) -> datetime:
        """So many working days on."""
        days = scope.evaluate({"days": step.config["days"]})["days"]
        if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 2000:
            raise MomentInvalid(f"{step.title}: {days!r} is not a number of working days.")
        return add_workdays(get_calendar(step.config["calendar"]), begun, days, time.fromisoformat(step.config["at"]))


class WaitForEvent(ProcessStepType):
    """Waits for an event with the same correlation: a process's message, or one of the portal's or tenant's types."""

    type = "process.wait"
    inline = True

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """Register a waiter with the outcome, so that both are there or neither."""
        begun = context.run.now or now()
        named = {name: step.config[name] for name in ("correlation", "timeout_s") if step.config[name] is not None}
        values = scope.evaluate(named)
        correlation = None if values.get("correlation") is None else str(values["correlation"])
        until = None
        if "timeout_s" in values:
            until = begun + timedelta(seconds=min(float(values["timeout_s"]), LONGEST.total_seconds()))
        event = step.config["event"]

        def commit() -> None:
            Waiter.objects.create(run_id=context.run.id, step_id=context.step_id, event=event, correlation=correlation)

        facts = {
            "event": event,
            "correlation": correlation,
            "since": (begun - LOOK_BACK).isoformat() if step.config["look_back"] else begun.isoformat(),
            "on_timeout": step.config["on_timeout"],
        }
        return StepOutcome(detail=f"Waits for {event}.", commit=commit, wait=Wait("event", facts, until))

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """The event, or the end of the waiting."""
        # The log is asked as well: an event may have been delivered while this wait was being committed.
        event = step.signal or _find_in_log(step.wait)
        if event is not None:
            _forget(step)
            return StepOutcome(output={"timed_out": False, "event": dict(event)}, detail="The event arrived.")
        if not step.due:
            return None
        _forget(step)
        if step.wait["on_timeout"] == "continue":
            return StepOutcome(output={"timed_out": True, "event": None}, detail="Nothing came in time.")
        raise WaitTimedOut(f"{step.wait['event']} did not come in time.")

    def drop(self, step: ParkedStep) -> None:
        """Nobody waits any more."""
        _forget(step)


def name_of(event: EventRecord) -> str:
    """The name under which an event is waited for: a message's own, or the type, short if it is the portal's."""
    if event.type == to_full_type(PROCESS_MESSAGE):
        return str(event.data.get("name"))
    return event.type.removeprefix(to_full_type(""))


def correlations_of(event: EventRecord) -> list[str]:
    """Values that a waiter's correlation may have to be meant."""
    if event.type == to_full_type(PROCESS_MESSAGE):
        given = event.data.get("correlation")
        return [] if given is None else [str(given)]
    return [event.subject_id, event.subject, event.key]


def signal_of(event: EventRecord) -> dict[str, Any]:
    """What a step gets of an event."""
    message = event.type == to_full_type(PROCESS_MESSAGE)
    return {
        "id": str(event.id),
        "name": name_of(event),
        "time": _iso(event.time),
        "data": event.data.get("data", {}) if message else event.data,
    }


def _find_in_log(wait: Mapping[str, Any]) -> dict[str, Any] | None:
    own = event_types.find(to_full_type(wait["event"]))
    meant = Q(type=to_full_type(PROCESS_MESSAGE), data__name=wait["event"])
    meant |= Q(type=own.type if own is not None else wait["event"])
    since = datetime.fromisoformat(wait["since"])
    for row in list_events().filter(meant, time__gte=since).order_by("id")[:CANDIDATES]:
        event = to_record(row)
        if name_of(event) == wait["event"] and (
            wait["correlation"] is None or wait["correlation"] in correlations_of(event)
        ):
            return signal_of(event)
    return None


def _forget(step: ParkedStep) -> None:
    Waiter.objects.filter(step_id=step.step_id).delete()


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")

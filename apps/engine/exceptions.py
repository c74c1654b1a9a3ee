"""Errors of the engine. A class docstring is the default message; `code` is stable."""

from __future__ import annotations

from typing import Any

from apps.core.exceptions import (
    Conflict,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    TerminalError,
    TransientError,
    ValidationFailed,
)


class RunNotFound(NotFound):
    """There is no such run."""

    code = "engine.run.not_found"


class TriggerNotFound(NotFound):
    """There is no such trigger."""

    code = "engine.trigger.not_found"


class TriggerInvalid(ValidationFailed):
    """The trigger cannot be used."""

    code = "engine.trigger.invalid"


class TriggerNameTaken(Conflict):
    """The flow has a trigger of this name in this environment."""

    code = "engine.trigger.name_taken"
    default_remedy = "Choose another name."


class TriggerStateConflict(Conflict):
    """The trigger is not in a state that allows this."""

    code = "engine.trigger.wrong_state"
    default_remedy = "Reload the trigger to see its present state."


class PollTooMany(TerminalError):
    """More rows are new than a poll hands out."""

    code = "engine.poll.too_many"
    default_remedy = "Load such numbers of rows with a load flow, or let the poll start at a later value."


class PollHeldBack(TerminalError):
    """New rows could not be handed out; the next look finds them again."""

    code = "engine.poll.held_back"


class PollCursorCoarse(TerminalError):
    """Too many rows have one value of the cursor column."""

    code = "engine.poll.cursor_coarse"
    default_remedy = "Follow a finer column, such as a number or a time."


class PollCursorUnfit(TerminalError):
    """The column cannot be followed."""

    code = "engine.poll.cursor_unfit"
    default_remedy = "Follow a number or a time."


class PollTimeout(TransientError):
    """The system did not answer in time."""

    code = "engine.poll.timeout"
    default_remedy = "Read fewer columns by a query, or let the system index the cursor column."


class SlaInvalid(ValidationFailed):
    """Runs cannot be measured by this."""

    code = "engine.sla.invalid"


class FiringMissed(TerminalError):
    """The moment passed while nothing could fire."""

    code = "engine.trigger.missed"
    default_remedy = "Choose another catch-up policy to make up for missed firings."


class FiringGivenUp(TerminalError):
    """The flow could not be started for a day."""

    code = "engine.trigger.given_up"


class FilterFailed(TerminalError):
    """The trigger's filter has no value for this event."""

    code = "engine.trigger.filter_failed"
    default_remedy = "Mend the filter; try_cast() gives NULL where a conversion fails."


class RunAlreadyActive(Conflict):
    """This flow is already running in this environment."""

    code = "engine.run.already_active"
    default_remedy = "Wait until the active run ends, or cancel it."


class RunNotControllable(Conflict):
    """The run is not in a state that allows this."""

    code = "engine.run.wrong_state"
    default_remedy = "Reload the run to see its present state."


class RestartNotPossible(Conflict):
    """The run cannot be restarted from there."""

    code = "engine.run.restart_not_possible"


class PreviewOutdated(Conflict):
    """What the restart would do is not what the preview showed."""

    code = "engine.run.preview_outdated"
    default_remedy = "Look at the preview again, then restart with its new hash."


class EffectNotFound(NotFound):
    """The run has no such effect."""

    code = "engine.effect.not_found"


class EffectUnknown(TerminalError):
    """Nobody knows whether the step's effect has happened."""

    code = "engine.effect.unknown"
    default_remedy = "Look into the system, then say on the run's page whether it happened."


class EffectKnown(Conflict):
    """Nothing is to be decided about this effect."""

    code = "engine.effect.known"
    default_remedy = "Reload the run to see its present state."


class IdempotencyConflict(Conflict):
    """The idempotency key was used before for a different request."""

    code = "engine.run.idempotency_conflict"
    default_remedy = "Use a new key for a new request."


class NothingToReplay(ValidationFailed):
    """None of the chosen rows is waiting for a replay."""

    code = "engine.replay.nothing"
    default_remedy = "Choose rows that are open or corrected."


class ReplayNotPossible(ValidationFailed):
    """These rows cannot be replayed together."""

    code = "engine.replay.not_possible"


class DraftNotHere(ValidationFailed):
    """A draft runs in the development environment only."""

    code = "engine.run.draft_not_here"
    default_remedy = "Publish the flow and deploy the version, or run the draft in dev."


class ModeNotPossible(ValidationFailed):
    """The flow cannot run in this mode."""

    code = "engine.run.mode_not_possible"


class DefinitionMismatch(TerminalError):
    """The run's definition is not the one it was started with."""

    code = "engine.run.definition_mismatch"
    default_remedy = "Start a new run; a run never continues on a changed definition."


class StepPoisoned(TerminalError):
    """The worker died each time it executed this step, so the step is set aside."""

    code = "engine.step.poisoned"
    default_remedy = "Look at the worker's log and memory, then resume the run; finished partitions are kept."


class StepTimeout(TransientError):
    """The step took longer than its limit."""

    code = "engine.step.timeout"


class HandlerOutputInvalid(TerminalError):
    """The function that a step calls returned something that is no JSON object."""

    code = "engine.step.handler_output"
    default_remedy = "Correct the function; it returns a mapping of JSON values, or nothing."


class ProcessEnded(TerminalError):
    """A process that somebody waited for did not end well."""

    code = "engine.process.ended"


class ProcessUnfinished(TransientError):
    """A process did not end within the time that somebody waited for it; it goes on."""

    code = "engine.process.unfinished"
    default_remedy = "Wait longer, or look at the run."


class UnexpectedFault(TerminalError):
    """The step hit an unexpected fault."""

    code = "engine.step.unexpected"
    default_remedy = "Give your administrator the run's id; the worker's log has the details."


class LeaseLost(TransientError):
    """Another worker owns this step now."""

    code = "engine.step.lease_lost"


class RunCancelled(TerminalError):
    """The run was cancelled."""

    code = "engine.run.cancelled"


class EmptyExtract(TerminalError):
    """The source returned no rows, and replacing the target would have emptied it. The target was left as it was."""

    code = "engine.load.empty_extract"
    default_remedy = "Check the source; if it really is empty, switch on `allow_empty` in the flow's load settings."


class CursorBackwards(TerminalError):
    """The source's highest cursor value is below the one already loaded."""

    code = "engine.load.cursor_backwards"
    default_remedy = (
        "The source was probably restored or its clock was set back. Start a run with `since`, or a full run, "
        "to read the affected range again."
    )


class CursorMissing(TerminalError):
    """The cursor column is not among the source's columns."""

    code = "engine.load.cursor_missing"
    default_remedy = "Choose another cursor column in the flow's load settings."


class ContractBroken(TerminalError):
    """The source's columns differ from the flow's contract, and the contract is frozen."""

    code = "engine.load.contract_broken"
    default_remedy = "Accept the change in the flow's contract and publish a new version, or restore the source."


class TooManyRejects(TerminalError):
    """More rows were rejected than the flow allows. The target was left as it was."""

    code = "engine.load.too_many_rejects"
    default_remedy = "Look at the quarantine, correct the mapping or the source, then resume or start again."


class CountsDiffer(TerminalError):
    """The rows that were read are not all accounted for. The target was left as it was."""

    code = "engine.load.counts_differ"


class SpillFull(TransientError):
    """The worker's disk is full, so the load could not spill. Nothing was written to the target."""

    code = "engine.load.spill_full"
    default_remedy = "Free space below SPILL_ROOT on the worker (or point it at a larger disk), then resume the run."


class TenantBusy(LimitExceeded):
    """Too many runs are waiting already."""

    code = "engine.run.queue_full"
    default_remedy = "Wait until some of the queued runs have ended."


class CompensationFailed(TerminalError):
    """A completed step could not be undone."""

    code = "engine.run.compensation_failed"
    default_remedy = "Remove the cause and retry the compensation; it goes on where it stopped."


class NothingToUndo(Conflict):
    """No compensation of this run has failed."""

    code = "engine.run.nothing_to_undo"
    default_remedy = "Reload the run to see its present state."


class ProcessInputInvalid(ValidationFailed):
    """The input does not fit the process."""

    code = "engine.process.input_invalid"


class OutputTooLarge(TerminalError):
    """The step's output is too large to be kept."""

    code = "engine.process.output_too_large"
    default_remedy = "Keep only what later steps need, or load rows with a load flow."


class ItemsInvalid(TerminalError):
    """The items of the loop cannot be taken."""

    code = "engine.process.items_invalid"


class MailInvalid(TerminalError):
    """The mail cannot be sent as it is."""

    code = "engine.process.mail_invalid"


class MailRefused(TerminalError):
    """The mail server refused the mail."""

    code = "engine.process.mail_refused"
    default_remedy = "Correct the addresses or the content; the server's own words are in the message."


class MailUnavailable(TransientError):
    """The mail server does not take the mail at present."""

    code = "engine.process.mail_unavailable"
    default_remedy = "Nothing to do while attempts are left: it goes again under the same Message-ID."


class MailLimitReached(TransientError):
    """The organisation has sent as many mails as it may in an hour."""

    code = "engine.process.mail_limit"
    default_remedy = "Send fewer mails, give the step a longer retry, or ask the operator to raise mails_per_hour."


class RowsInvalid(TerminalError):
    """The rows cannot be written."""

    code = "engine.process.rows_invalid"


class LoopTooLong(TerminalError):
    """The loop has not ended within its limit."""

    code = "engine.process.loop_too_long"
    default_remedy = "Look at the condition and the state of the rounds, or raise max_iterations."


class ProcessRaised(TerminalError):
    """The flow ended itself with an error."""

    code = "process.raised"

    def __init__(self, message: str | None = None, *, raised_code: str = "", **given: Any) -> None:
        """As every error; `raised_code` is the code that the flow's author chose."""
        super().__init__(message, **given)
        if raised_code:
            self.code = raised_code  # type: ignore[misc]


class SubRunBusy(TransientError):
    """The flow is running already."""

    code = "engine.process.sub_run_busy"


class SubRunFailed(TerminalError):
    """The run that the step waited for did not end well."""

    code = "engine.process.sub_run_failed"


class MomentInvalid(TerminalError):
    """The step cannot wait until then."""

    code = "engine.process.moment_invalid"


class WaitTimedOut(TerminalError):
    """What the step waited for did not come in time."""

    code = "engine.process.wait_timed_out"


class DecisionOpen(TerminalError):
    """No rule of the decision table applies."""

    code = "engine.process.decision_open"
    default_remedy = "Add a rule for it, or give the table an `otherwise`."


class DecisionAmbiguous(TerminalError):
    """More than one rule of the decision table applies, and only one may."""

    code = "engine.process.decision_ambiguous"
    default_remedy = "Narrow the rules, or choose another hit policy."


class DecisionInputOutside(TerminalError):
    """An input of the decision table is outside of its declared domain."""

    code = "engine.process.decision_input_outside"
    default_remedy = "Correct the value, or widen the domain and look at the gaps that it opens."


class TaskNotFound(NotFound):
    """There is no such task."""

    code = "engine.task.not_found"


class TaskNeedsPerson(PermissionDenied):
    """Only a person who has signed in may work on a task; an API key may not."""

    code = "engine.task.needs_person"


class TaskNotYours(PermissionDenied):
    """You are not among those who may answer this task."""

    code = "engine.task.not_yours"


class TaskClosed(Conflict):
    """The task has ended."""

    code = "engine.task.closed"
    default_remedy = "Reload the task to see how it ended."


class TaskAlreadyAnswered(Conflict):
    """You have answered this task already."""

    code = "engine.task.already_answered"


class TaskClaimed(Conflict):
    """Somebody else works on this task."""

    code = "engine.task.claimed"
    default_remedy = "Ask them to give it back."


class TaskNotClaimable(Conflict):
    """The task needs several answers, so nobody has it alone."""

    code = "engine.task.not_claimable"
    default_remedy = "Answer it."


class AnswerInvalid(ValidationFailed):
    """The answer does not fit the form."""

    code = "engine.task.answer_invalid"


class DelegateInvalid(ValidationFailed):
    """The task cannot be delegated to that person."""

    code = "engine.task.delegate_invalid"


class TaskImpossible(TerminalError):
    """The task could never be completed, so it was not made."""

    code = "engine.task.impossible"
    default_remedy = "Look at the people or role, the quorum, and who holds the permission task:answer."


class TaskExpired(TerminalError):
    """The task was not completed before its deadline."""

    code = "engine.task.expired"

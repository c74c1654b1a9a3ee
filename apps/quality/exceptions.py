"""Errors of the quality app."""

from __future__ import annotations

from apps.core.exceptions import Conflict, NotFound, PermissionDenied, TerminalError, ValidationFailed


class QuarantinedRowNotFound(NotFound):
    """There is no such quarantined row."""

    code = "quality.quarantined_row_not_found"


class QuarantinedRowDecided(Conflict):
    """The row was already replayed or discarded."""

    code = "quality.quarantined_row_decided"
    default_remedy = "Reload the list; decided rows are kept for the record and cannot be changed."


class CorrectionInvalid(ValidationFailed):
    """The corrected row still breaks rules."""

    code = "quality.correction_invalid"
    default_remedy = "Look at the broken rules, change the values, and save again."


class CorrectionFieldUnknown(ValidationFailed):
    """The correction names a field that the row does not have."""

    code = "quality.correction_field_unknown"


class SelectionEmpty(ValidationFailed):
    """No quarantined row matches the selection."""

    code = "quality.selection_empty"
    default_remedy = "Choose rows that are open or corrected."


class SelectionTooLarge(ValidationFailed):
    """Too many rows were selected at once."""

    code = "quality.selection_too_large"


class ReasonRequired(ValidationFailed):
    """Discarding rows needs a reason."""

    code = "quality.reason_required"
    default_remedy = "Say why the rows are given up; it stays in the record."


class SelectionMixed(ValidationFailed):
    """The selected rows belong to more than one flow or environment."""

    code = "quality.selection_mixed"
    default_remedy = "Choose rows of one flow in one environment."


class ReconciliationNotFound(NotFound):
    """There is no such reconciliation."""

    code = "quality.reconciliation_not_found"


class AlreadySigned(Conflict):
    """The reconciliation is already signed."""

    code = "quality.reconciliation_signed"
    default_remedy = "A signature is final. Start a new run if the data changed."


class SelfSignOff(PermissionDenied):
    """Whoever started the run may not sign its reconciliation."""

    code = "quality.self_signoff"
    default_remedy = "Ask a second person with the permission reconciliation:sign."


class PersonRequired(PermissionDenied):
    """Only a person can sign a reconciliation."""

    code = "quality.person_required"
    default_remedy = "Sign in and sign it in the portal; API keys cannot."


class CommentRequired(ValidationFailed):
    """Signing a reconciliation that is not green needs a comment."""

    code = "quality.comment_required"
    default_remedy = "Say why the difference is acceptable."


class ContractBroken(TerminalError):
    """The source no longer matches the data contract."""

    code = "quality.contract_broken"
    default_remedy = "Look at the differences, then change the contract or the source, and publish the flow again."

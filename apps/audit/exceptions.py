"""What can go wrong with the audit log."""

from __future__ import annotations

from apps.core.exceptions import TerminalError, ValidationFailed


class AuditImmutable(TerminalError):
    """The audit log is append-only: entries are never changed or deleted."""

    code = "audit.immutable"
    status = 409


class AuditFactsInvalid(ValidationFailed):
    """The facts of an audit entry must be JSON: text, whole numbers, booleans, lists and objects."""

    code = "audit.facts_invalid"


class AnchorFileUnreadable(TerminalError):
    """The anchor file cannot be read."""

    code = "audit.anchor_unreadable"
    default_remedy = "Give the file that `audit_anchor` writes, one JSON object a line."

"""The portal's one error hierarchy, ordered by consequence.

An error knows its stable `code`, the HTTP status it maps to, and what the reader can do next. The class docstring's
first line is the default message. Nothing here knows Django REST framework: `apps.core.api.problems` renders it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

_text_cleaners: list[Callable[[str], str]] = []


def register_text_cleaner(clean: Callable[[str], str]) -> None:
    """Let every text of every error pass `clean`, for example to take out secrets that a remote system echoes.

    An error's texts go everywhere: answers, run logs, events, the audit log. So they are cleaned where they are made.
    """
    if clean not in _text_cleaners:
        _text_cleaners.append(clean)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        for clean in _text_cleaners:
            value = clean(value)
    elif isinstance(value, dict):
        return {name: _clean(inner) for name, inner in value.items()}
    elif isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value


@dataclass(frozen=True)
class Problem:
    """One finding about one place of the input.

    Attributes:
        path: where, in dotted form (`draft.nodes[1].config.fields[0].expression`).
        code: stable code (`expressions.unknown_column`).
        message: a sentence for the person who wrote the input.
        severity: `error` (blocks) or `warning` (shown).
        start, end: character offsets inside the value at `path`, where that is text.
        hint: what to do instead, if known.
    """

    path: str
    code: str
    message: str
    severity: str = "error"
    start: int | None = None
    end: int | None = None
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object; absent facts are left out."""
        return {name: value for name, value in self.__dict__.items() if value is not None}


class PortalError(Exception):
    """Something went wrong inside the portal."""

    code: ClassVar[str] = "core.error"
    status: ClassVar[int] = 500
    default_remedy: ClassVar[str | None] = None

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        value: object = None,
        remedy: str | None = None,
        problems: list[Problem] | None = None,
        **facts: Any,
    ) -> None:
        """Build the error.

        Args:
            message: sentence for the reader; the class docstring's first line when absent.
            field: input field at fault.
            value: the refused value (shown shortened; never pass a secret).
            remedy: what to do next.
            problems: several findings, when the input has more than one.
            facts: further JSON-able facts, shown in the problem document and the log.
        """
        doc = (type(self).__doc__ or "Error.").strip().splitlines()[0]
        self.message: str = _clean(message or doc)
        self.field = field
        self.value = _clean(value)
        self.remedy = _clean(remedy or self.default_remedy)
        self.problems = problems or []
        self.facts: dict[str, Any] = _clean(facts)
        super().__init__(self.message)


class TransientError(PortalError):
    """A passing fault; the same call may succeed later."""

    code = "core.transient"
    status = 503
    default_remedy = "Try again in a moment."


class TerminalError(PortalError):
    """Trying again will not help until something is changed."""

    code = "core.terminal"
    status = 422


class BadRequest(TerminalError):
    """The request could not be read."""

    code = "core.bad_request"
    status = 400


class NotFound(TerminalError):
    """There is no such object."""

    code = "core.not_found"
    status = 404


class Conflict(TerminalError):
    """The object was changed by somebody else."""

    code = "core.conflict"
    status = 409
    default_remedy = "Reload it, look at the change, and apply yours again."


class PermissionDenied(TerminalError):
    """You may not do this."""

    code = "core.permission_denied"
    status = 403
    default_remedy = "Ask an administrator of your organisation for the permission."


class ValidationFailed(TerminalError):
    """The input has problems."""

    code = "core.invalid"
    status = 422


class LimitExceeded(TerminalError):
    """A limit was exceeded."""

    code = "core.limit_exceeded"
    status = 429


class TooLarge(LimitExceeded):
    """The input is larger than allowed."""

    code = "core.too_large"
    status = 413

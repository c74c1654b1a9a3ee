"""Errors of the expression language."""

from __future__ import annotations

from apps.core.exceptions import LimitExceeded, TerminalError, TransientError


class ExpressionInvalid(TerminalError):
    """The expression cannot be used."""

    code = "expressions.invalid"
    status = 422


class EvaluationFailed(TerminalError):
    """The expression could not be evaluated with this input."""

    code = "expressions.evaluation_failed"
    status = 422


class EvaluationTimeout(LimitExceeded):
    """The expression took too long and was stopped."""

    code = "expressions.timeout"
    status = 422
    default_remedy = "Make the expression simpler, or give it shorter texts and lists."


class EvaluationMemory(LimitExceeded):
    """The expression needed more memory than allowed and was stopped."""

    code = "expressions.memory"
    status = 422
    default_remedy = "Make the expression simpler, or give it shorter texts and lists."


class SandboxFailed(TransientError):
    """The evaluation engine failed for a reason outside of the expression."""

    code = "expressions.sandbox_failed"


class NotPushable(TerminalError):
    """The expression cannot be run inside the target database with the same result."""

    code = "expressions.not_pushable"
    default_remedy = "The load runs through the worker instead; nothing else changes."

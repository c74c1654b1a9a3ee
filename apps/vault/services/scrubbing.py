"""Keeps secrets out of logs and errors, whatever a library or a remote system puts into a message.

Three nets, because each alone has holes: fields with telling names, passwords inside addresses, and the very values
that this thread or task has revealed lately.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from apps.vault.contracts import HIDDEN, SecretDict

SENSITIVE_NAME = re.compile(
    r"(pass(word|wd|phrase)?|secrets?|tokens?|api_?keys?|authorization|cookies?|private_?key|credentials?|dsn)$",
    re.IGNORECASE,
)
PASSWORD_IN_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^\s:/@]*):(?P<password>[^\s@/]+)@", re.IGNORECASE)
PASSWORD_IN_TEXT = re.compile(
    r"(?P<name>\b(?:password|passwd|pwd|secret|token|api[_-]?key)\b\s*[=:]\s*)(?P<quote>['\"]?)(?P<value>[^\s'\",;&]+)",
    re.IGNORECASE,
)
BEARER = re.compile(r"\b(?P<scheme>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
MIN_KNOWN_CHARS = 6
MAX_KNOWN_VALUES = 64
MAX_DEPTH = 6
ESCAPES = {"\n": "n", "\r": "r", "\t": "t"}

_revealed: ContextVar[deque[str] | None] = ContextVar("vault_revealed", default=None)


def remember_values(values: Iterable[str]) -> None:
    """Note values that must not appear in a log line of this thread or task from now on.

    Bounded to the last 64, since a worker's main context lives as long as the worker.
    """
    known = _revealed.get()
    if known is None:
        known = deque(maxlen=MAX_KNOWN_VALUES)
        _revealed.set(known)
    for value in values:
        if len(value) >= MIN_KNOWN_CHARS and value not in known:
            known.append(value)


@lru_cache(maxsize=2 * MAX_KNOWN_VALUES)
def _spellings(value: str) -> tuple[str, re.Pattern[str]]:
    """The value's longest run that no encoding touches, and a pattern of how addresses, JSON and `repr` spell it."""
    plain = max(re.findall(r"[A-Za-z0-9_-]+", value), key=len, default="")
    pattern = ""
    for character in value:
        if character.isascii() and (character.isalnum() or character in "_-"):
            pattern += character
            continue
        ways = [rf"\\*{re.escape(character)}", "".join(f"%{byte:02X}" for byte in character.encode())]
        ways.append(rf"\\+u{ord(character):04x}" if ord(character) < 0x10000 else rf"\\+U{ord(character):08x}")
        if character == " ":
            ways.append(r"\+")
        if character in ESCAPES:
            ways.append(rf"\\+{ESCAPES[character]}")
        pattern += f"(?:{'|'.join(ways)})"
    return plain, re.compile(pattern, re.IGNORECASE)


def hide_revealed(text: str) -> str:
    """The text without values that were revealed lately, in every spelling, and without bearer and basic headers.

    Registered as a cleaner of errors: a remote system may answer with what it was sent.
    """
    lowered = text.lower()
    for value in _revealed.get() or ():
        plain, pattern = _spellings(value)
        if plain.lower() in lowered:
            text = pattern.sub(HIDDEN, text)
    return BEARER.sub(rf"\g<scheme> {HIDDEN}", text)


def scrub_text(text: str) -> str:
    """The text with passwords, tokens and lately revealed values replaced."""
    text = PASSWORD_IN_ADDRESS.sub(rf"\g<scheme>:{HIDDEN}@", hide_revealed(text))
    return PASSWORD_IN_TEXT.sub(rf"\g<name>\g<quote>{HIDDEN}", text)


def scrub_value(value: Any, *, depth: int = 0) -> Any:
    """The value with every secret replaced, in texts and inside containers down to six levels."""
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, SecretDict):
        return repr(value)
    if depth >= MAX_DEPTH:
        return value if isinstance(value, int | float | bool | None) else scrub_text(str(value))
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if isinstance(key, str) and inner and SENSITIVE_NAME.search(key)
            else scrub_value(inner, depth=depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub_value(inner, depth=depth + 1) for inner in value]
    if isinstance(value, BaseException):
        return scrub_text(f"{type(value).__name__}: {value}")
    return value


def scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog processor; place it after the exception formatter, so that tracebacks are scrubbed too."""
    for key, value in list(event.items()):
        if key.startswith("_"):
            continue
        event[key] = HIDDEN if value and SENSITIVE_NAME.search(key) else scrub_value(value)
    return event

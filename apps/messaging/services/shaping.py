"""From a message to an event: format, schema, filter and key; what does not fit says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from apps.connectors.contracts import IncomingMessage
from apps.core.exceptions import PortalError
from apps.events.exceptions import EventInvalid
from apps.events.services.foreign_bodies import check_against, dump_exact, find_schema, load_exact, read_json
from apps.events.services.outbox import MAX_DATA_BYTES, MAX_NAME_CHARS, NewEvent
from apps.events.services.payloads import to_json
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.evaluation import evaluate_rows
from apps.messaging.choices import MessageFormat
from apps.messaging.events import MESSAGE_RECEIVED
from apps.messaging.exceptions import MessageRefused
from apps.messaging.models import Consumer

MAX_KEY_CHARS = 200
EVALUATION_S = 5.0
MESSAGE_COLUMNS = Schema(
    (
        Field("source", "VARCHAR", nullable=False),
        Field("message_id", "VARCHAR", nullable=False),
        Field("key", "VARCHAR", nullable=False),
        Field("headers", "JSON", nullable=False),
        Field("body", "JSON"),
    )
)
"""Columns that a consumer's filter and key may use; fields of the body are read with `body->>'status'`."""


@dataclass(frozen=True)
class Plan:
    """What shaping needs to know of a consumer."""

    consumer_id: UUID
    format: str
    event_type: str
    schema: Mapping[str, Any] | None
    filter: str
    key_expression: str


@dataclass(frozen=True)
class Shaped:
    """What became of a message.

    Attributes:
        message: as it came.
        key: by which it is taken once; empty when it has neither id nor place.
        event: to be published; None when it is filtered out or at fault.
        fault: (code, reason) of a message that cannot become an event.
    """

    message: IncomingMessage
    key: str
    event: NewEvent | None = None
    fault: tuple[str, str] | None = None


def plan_of(row: Consumer) -> Plan:
    """The plan of a consumer, with the latest schema of its type.

    Raises:
        EventInvalid: its type is no longer defined.
    """
    schema = None
    if row.event_type != MESSAGE_RECEIVED.type:
        schema = find_schema(row.event_type)
        if schema is None:
            raise EventInvalid(
                f"The type {row.event_type} is not defined any more.", remedy="Define it, or choose another type."
            )
    return Plan(row.id, row.format, row.event_type, schema, row.filter, row.key_expression)


def shape_messages(plan: Plan, messages: Sequence[IncomingMessage]) -> list[Shaped]:
    """Each message as an event, as filtered out, or as a fault; in their order."""
    bodies: list[_Body | tuple[str, str]] = [_read(plan, one) for one in messages]
    choices = _evaluate(plan, messages, bodies)
    found: list[Shaped] = []
    for message, body, (wanted, key, fault) in zip(messages, bodies, choices, strict=True):
        name = _message_key(message, body)
        if isinstance(body, tuple):
            found.append(Shaped(message, name, fault=body))
        elif fault:
            found.append(Shaped(message, name, fault=("messaging.expression", fault[:500])))
        elif not wanted:
            found.append(Shaped(message, name))
        else:
            found.append(_to_event(plan, message, body, name, key))
    return found


@dataclass(frozen=True)
class _Body:
    """A body that could be read: its value, its exact text, and what a CloudEvent says about itself."""

    value: Any
    text: str
    event_id: str = ""
    subject: str = ""
    key: str = ""


def _read(plan: Plan, message: IncomingMessage) -> _Body | tuple[str, str]:
    try:
        if plan.format == MessageFormat.TEXT:
            text = to_json(message.body.decode())
            return _Body(text, json.dumps(text, ensure_ascii=False))
        value, text = read_json(message.body)
        return _Body(value, text) if plan.format == MessageFormat.JSON else _open_envelope(value, text)
    except UnicodeDecodeError:
        return "messaging.not_text", "The body is not UTF-8."
    except MessageRefused as error:
        return "messaging.not_cloudevent", error.message
    except EventInvalid as error:
        return "messaging.not_json", error.message[:500]


def _open_envelope(value: Any, text: str) -> _Body:
    names = ("specversion", "id", "source", "type")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) and value[name] for name in names):
        raise MessageRefused("The body is not a CloudEvent: specversion, id, source and type are missing.")
    if not value["specversion"].startswith("1."):
        raise MessageRefused(f"The CloudEvent is of version {value['specversion'][:20]}; 1.0 is understood.")
    if "data_base64" in value:
        raise MessageRefused("The CloudEvent carries binary data; JSON is understood.")
    return _Body(
        value.get("data"),
        dump_exact(load_exact(text).get("data")),
        event_id=f"{value['source']} {value['id']}",
        subject=str(value.get("subject") or ""),
        key=str(value.get("partitionkey") or ""),
    )


def _evaluate(
    plan: Plan, messages: Sequence[IncomingMessage], bodies: Sequence[_Body | tuple[str, str]]
) -> list[tuple[bool, str, str]]:
    """(wanted, key, fault) of each message."""
    named = [(name, source) for name, source in (("filter", plan.filter), ("key", plan.key_expression)) if source]
    if not named:
        return [(True, "", "")] * len(messages)
    rows = [
        {
            "source": message.source,
            "message_id": message.message_id,
            "key": message.key,
            "headers": dict(message.headers),
            "body": None if isinstance(body, tuple) else body.value,
        }
        for message, body in zip(messages, bodies, strict=True)
    ]
    try:
        results = evaluate_rows(named, rows, MESSAGE_COLUMNS, timeout_s=EVALUATION_S)
    except PortalError as error:
        # One message makes it too slow or too large for all together: each by itself, so that it alone is at fault.
        if len(messages) > 1:
            return [_evaluate(plan, [one], [body])[0] for one, body in zip(messages, bodies, strict=True)]
        return [(True, "", error.message)]
    return [
        (
            not plan.filter or result.values.get("filter") is True,
            "" if result.values.get("key") is None else str(result.values["key"]),
            "; ".join(f"{error.name}: {error.message}" for error in result.errors),
        )
        for result in results
    ]


def _to_event(plan: Plan, message: IncomingMessage, body: _Body, name: str, key: str) -> Shaped:
    subject = _name(body.subject) or f"consumer/{plan.consumer_id}"
    key = _name(key) or _name(body.key) or _name(message.key) or subject
    text = body.text
    if plan.schema is not None:
        try:
            if not isinstance(body.value, dict):
                raise EventInvalid("The body is not an object.")
            check_against(plan.schema, body.value)
        except EventInvalid as error:
            said = "; ".join(f"{one.path}: {one.message}" for one in error.problems) or error.message
            return Shaped(message, name, fault=("messaging.schema", said[:500]))
    else:
        head = {
            "consumer": str(plan.consumer_id),
            "source": message.source,
            "message_id": message.message_id,
            "position": message.position,
            "content_type": message.content_type,
            "headers": dict(message.headers),
        }
        text = f'{json.dumps(to_json(head), ensure_ascii=False)[:-1]}, "body": {body.text}}}'
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_DATA_BYTES:
        reason = f"The event would have {size:,} bytes; at most {MAX_DATA_BYTES:,} are published."
        return Shaped(message, name, fault=("messaging.too_large", reason))
    return Shaped(message, name, event=NewEvent(plan.event_type, text, subject, key))


def _name(text: str) -> str:
    return text.replace("\x00", "")[:MAX_NAME_CHARS]


def _message_key(message: IncomingMessage, body: _Body | tuple[str, str]) -> str:
    if not isinstance(body, tuple) and body.event_id:
        found = f"ce:{body.event_id}"
    elif message.message_id:
        found = f"id:{message.message_id}"
    elif message.position:
        found = f"at:{message.position}"
    else:
        return ""
    if len(found) > MAX_KEY_CHARS or not found.isprintable():
        return "sha256:" + hashlib.sha256(found.encode("utf-8", "surrogatepass")).hexdigest()
    return found

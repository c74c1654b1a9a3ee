"""Types of events that tenants define: a JSON Schema with versions, and who would break if it changes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jsonschema
from django.db import IntegrityError, connection, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.exceptions import Problem
from apps.core.ids import uuid7
from apps.events.choices import Compatibility, SubscriptionStatus
from apps.events.contracts import TYPE_PREFIX, Consumer
from apps.events.exceptions import (
    ContractBreaks,
    ContractInvalid,
    ContractNotFound,
    EventInvalid,
    PublicationConflict,
)
from apps.events.models import ContractVersion, EventContract, EventSubscription, Publication
from apps.events.registries import consumer_finders, subscribers
from apps.events.services.compatibility import Change, is_broken, list_changes
from apps.events.services.fan_out import matcher_of
from apps.events.services.outbox import append_event, check_size
from apps.events.services.payloads import to_json
from apps.tenancy.services.context import require_tenant

DEFINE, PUBLISH = "event:define", "event:publish"
MAX_CONTRACTS = 500
MAX_SCHEMA_BYTES = 64 * 1024
MAX_PROBLEMS = 20
MAX_DEPTH = 20
TYPE = re.compile(r"^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*\.v[1-9][0-9]{0,3}\Z")
CLIENT_ID = re.compile(r"^[\x21-\x7e]{1,200}\Z")


@dataclass(frozen=True)
class ContractCheck:
    """What a new schema would mean.

    Attributes:
        compatible: it keeps what the contract's mode promises.
        mode: the contract's.
        changes: every difference.
        consumers: who gets events of the type; those that name a changed field say so.
    """

    compatible: bool
    mode: str
    changes: list[Change] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)


@dataclass(frozen=True)
class Published:
    """An event that a program published, and whether it was there before."""

    event_id: UUID
    duplicate: bool


@transaction.atomic
def create_contract(
    type_: str,
    *,
    schema: Mapping[str, Any],
    description: str = "",
    compatibility: str = Compatibility.FULL,
    note: str = "",
    actor: Actor,
) -> EventContract:
    """Define a type of event; its first version is published with it.

    Args:
        type_: reverse-DNS name with a version (`com.acme.invoice.paid.v1`); not one of the portal's.
        schema: JSON Schema (2020-12) of an object.
        description: one sentence.
        compatibility: what later versions must keep.
        note: about the first version.
        actor: needs `event:define`.
    """
    check_permission(actor, DEFINE)
    problems = _schema_problems(schema)
    if not TYPE.match(type_) or len(type_) > 150 or type_.startswith(TYPE_PREFIX) or "." not in type_[:-3]:
        message = "A type of your own is a reverse-DNS name with a version: com.example.invoice.paid.v1."
        problems.insert(0, Problem("type", "events.type_name", message))
    if compatibility not in Compatibility.values:
        problems.append(Problem("compatibility", "events.compatibility", "Use none, backward, forward or full."))
    if EventContract.objects.count() >= MAX_CONTRACTS:
        problems.append(Problem("type", "events.too_many", f"A tenant has at most {MAX_CONTRACTS} types."))
    _raise(problems)
    row = EventContract(id=uuid7(), type=type_, description=description[:500], compatibility=compatibility)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        _raise([Problem("type", "events.type_taken", f"{type_} is defined already.")])
    _add_version(row, 1, schema, note, actor)
    _record(row, "created", f"Defined event type {type_}", actor, {"compatibility": compatibility})
    return row


@transaction.atomic
def update_contract(
    contract_id: UUID, *, description: str | None = None, compatibility: str | None = None, actor: Actor
) -> EventContract:
    """Change the description or what later versions must keep."""
    check_permission(actor, DEFINE)
    row = _locked(contract_id)
    if compatibility is not None and compatibility not in Compatibility.values:
        _raise([Problem("compatibility", "events.compatibility", "Use none, backward, forward or full.")])
    row.description = row.description if description is None else description[:500]
    row.compatibility = compatibility or row.compatibility
    row.save()
    _record(row, "updated", f"Changed event type {row.type}", actor, {"compatibility": row.compatibility})
    return row


def check_contract(contract_id: UUID, *, schema: Mapping[str, Any]) -> ContractCheck:
    """What publishing this schema as the next version would break, and for whom; changes nothing.

    Raises:
        ContractNotFound, ContractInvalid.
    """
    row = EventContract.objects.filter(id=contract_id).first()
    if row is None:
        raise ContractNotFound(value=contract_id)
    _raise(_schema_problems(schema))
    return _check(row, schema)


@transaction.atomic
def publish_contract_version(
    contract_id: UUID, *, schema: Mapping[str, Any], note: str = "", accept_breaking: bool = False, actor: Actor
) -> ContractVersion:
    """Publish the next version; events are checked against it from now on.

    Args:
        contract_id: the contract.
        schema: the new JSON Schema.
        note: what changed.
        accept_breaking: publish although it breaks what the contract promises; audited with the consumers.
        actor: needs `event:define`.

    Raises:
        ContractBreaks: its problems name each breaking change, its facts the consumers.
    """
    check_permission(actor, DEFINE)
    row = _locked(contract_id)
    _raise(_schema_problems(schema))
    found = _check(row, schema)
    names = [consumer.name for consumer in found.consumers]
    if not found.compatible and not accept_breaking:
        problems = [
            Problem(f"schema.{change.path}".rstrip("."), "events.breaking_change", _sentence(change))
            for change in found.changes
            if is_broken(row.compatibility, [change])
        ]
        who = f" Consumers: {', '.join(names[:20])}." if names else " Nobody consumes it at the moment."
        raise ContractBreaks(
            f"The new version is not {row.compatibility} compatible.{who}", problems=problems, consumers=names
        )
    number = (row.versions.order_by("-number").values_list("number", flat=True).first() or 0) + 1
    version = _add_version(row, number, schema, note, actor)
    facts = {"version": number, "breaking": not found.compatible, "consumers": names[:100]}
    _record(row, "versioned", f"Published version {number} of event type {row.type}", actor, facts)
    return version


@transaction.atomic
def publish_custom_event(
    type_: str, *, subject: str, data: Mapping[str, Any], client_id: str, key: str | None = None, actor: Actor
) -> Published:
    """Publish an event of a type that the tenant defined; the same id a second time changes nothing.

    Args:
        type_: a defined type.
        subject: what it is about.
        data: fits the type's latest version; at most 64 KiB of JSON.
        client_id: the program's id of the event, 1 to 200 printable ASCII characters.
        key: events of one key are delivered in order; the subject when absent.
        actor: needs `event:publish`.

    Raises:
        EventInvalid: with a problem for each place.
        PublicationConflict: the id was used for something else.
    """
    check_permission(actor, PUBLISH)
    if not CLIENT_ID.match(client_id):
        raise EventInvalid("The id of an event has 1 to 200 printable ASCII characters.", field="id")
    schema = (
        ContractVersion.objects.filter(contract__type=type_)
        .order_by("-number")
        .values_list("schema", flat=True)
        .first()
    )
    if schema is None:
        problem = Problem("type", "events.type_undefined", f"The type {type_} is not defined here.")
        raise EventInvalid(problem.message, field="type", problems=[problem], remedy="Define it under event contracts.")
    payload = to_json(data)
    check_data(schema, payload)
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    key = subject if key is None else key
    check_size(type_, text, subject, key)
    canonical = json.dumps([type_, subject, key, payload], sort_keys=True, ensure_ascii=False)
    content_hash = hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()
    with connection.cursor() as cursor:
        # Two requests with one id: the second waits here for the first one's commit, and then finds it.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{require_tenant().id}:{client_id}"])
    known = Publication.objects.filter(client_id=client_id).first()
    if known is None:
        event_id = append_event(type_, text, subject=subject, key=key)
        Publication.objects.create(client_id=client_id, event_id=event_id, content_hash=content_hash)
        return Published(event_id, duplicate=False)
    if known.content_hash != content_hash:
        raise PublicationConflict(field="id", value=client_id)
    return Published(known.event_id, duplicate=True)


def _check(row: EventContract, schema: Mapping[str, Any]) -> ContractCheck:
    latest = row.versions.order_by("-number").first()
    changes = list_changes(latest.schema, schema) if latest is not None else []
    fields = {change.path.split(".")[0].removesuffix("[]") for change in changes if change.breaks} - {""}
    return ContractCheck(
        compatible=not is_broken(row.compatibility, changes),
        mode=row.compatibility,
        changes=changes,
        consumers=list_consumers(row.type, fields),
    )


def list_consumers(type_: str, fields: set[str]) -> list[Consumer]:
    """Who gets events of a full type, and which of the fields their expressions name."""
    found: list[Consumer] = []
    wanting = EventSubscription.objects.exclude(status=SubscriptionStatus.ARCHIVED).order_by("name")
    for row in wanting:
        if matcher_of(row).wants_type(type_):
            text = f"{row.filter} {row.key_expression}"
            reads = tuple(name for name in sorted(fields) if re.search(rf"\b{re.escape(name)}\b", text))
            found.append(Consumer("subscription", row.id, row.name, reads))
    code = [one for one in subscribers if "*" not in one.types and one.wants(type_)]
    found += [Consumer("subscriber", None, one.name) for one in code]
    for finder in consumer_finders:
        found += finder.find(type_)
    return found


def _schema_problems(schema: Mapping[str, Any]) -> list[Problem]:
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        return [Problem("schema", "events.schema", 'The schema describes an object: {"type": "object", …}.')]
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        return [Problem("schema", "events.schema", f"A schema has at most {MAX_SCHEMA_BYTES} bytes.")]
    if (found := _find_refused(schema)) is not None:
        return [Problem("schema", "events.schema_keyword", found)]
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        place = ".".join(["schema", *map(str, error.absolute_path)])
        return [Problem(place, "events.schema", error.message[:500])]
    return []


def _find_refused(value: Any, depth: int = 0) -> str | None:
    """Why a schema is not taken although it is valid: what it says could be slow without bound, or lies elsewhere."""
    if depth > MAX_DEPTH:
        return f"A schema is at most {MAX_DEPTH} levels deep."
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in {"$ref", "$dynamicRef"} and isinstance(inner, str):
                return "References are not followed; write the schema out."
            if (name == "pattern" and isinstance(inner, str)) or name == "patternProperties":
                return f"{name} is not taken: a regular expression can hold up every publisher. Use enum or a length."
            if (found := _find_refused(inner, depth + 1)) is not None:
                return found
    if isinstance(value, list):
        return next((found for inner in value if (found := _find_refused(inner, depth + 1)) is not None), None)
    return None


def check_data(schema: Mapping[str, Any], payload: Any) -> None:
    """Refuse data that do not fit a contract's schema.

    Raises:
        EventInvalid: with a problem for each place.
    """
    problems = []
    for error in jsonschema.Draft202012Validator(dict(schema)).iter_errors(payload):
        place = ".".join(["data", *map(str, error.absolute_path)])
        problems.append(Problem(place, "events.data", error.message[:500]))
        if len(problems) == MAX_PROBLEMS:
            break
    if problems:
        raise EventInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _sentence(change: Change) -> str:
    where = f"{change.path}: " if change.path else ""
    return f"{where}{change.message} (breaks {' and '.join(change.breaks)})."


def _add_version(
    row: EventContract, number: int, schema: Mapping[str, Any], note: str, actor: Actor
) -> ContractVersion:
    version: ContractVersion = ContractVersion.objects.create(
        contract=row, number=number, schema=dict(schema), note=note[:500], published_by=actor.name[:300]
    )
    return version


def _locked(contract_id: UUID) -> EventContract:
    row: EventContract | None = EventContract.objects.select_for_update().filter(id=contract_id).first()
    if row is None:
        raise ContractNotFound(value=contract_id)
    return row


def _raise(problems: list[Problem]) -> None:
    if problems:
        raise ContractInvalid(problems[0].message, field=problems[0].path, problems=problems)


def _record(row: EventContract, verb: str, summary: str, actor: Actor, facts: dict[str, Any]) -> None:
    audit_sink.record(
        actor=actor,
        action=f"events.contract.{verb}",
        target_type="event_contract",
        target_id=row.id,
        summary=f"{summary}.",
        facts=facts,
    )

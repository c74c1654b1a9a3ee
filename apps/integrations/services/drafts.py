"""The draft of a flow: made, saved with a revision, never lost to a second editor."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.exceptions import Problem
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.integrations import exceptions
from apps.integrations.choices import FlowKind
from apps.integrations.events import (
    FLOW_ARCHIVED,
    FLOW_CREATED,
    FLOW_RESTORED,
    FlowArchived,
    FlowCreated,
    FlowRestored,
)
from apps.integrations.exceptions import (
    DefinitionInvalid,
    DraftConflict,
    FlowInUse,
    FlowNotFound,
    NameInvalid,
    SlugTaken,
)
from apps.integrations.models import Flow
from apps.integrations.services.validation import validate_definition
from apps.integrations.shape import PROCESS_SCHEMA_ID, find_shape_problems, is_process
from apps.tenancy.services.context import require_tenant

DRAFT_MAX_BYTES = 1024 * 1024
NAME_CHARS = 200
SLUG_CHARS = 63


def build_starter() -> dict[str, Any]:
    """An empty load: three nodes in a line, nothing chosen yet."""
    return {
        "schema": "flow/1",
        "kind": "load",
        "nodes": [
            {"id": "source", "kind": "source", "config": {"connection": "", "entity": ""}},
            {"id": "map", "kind": "map", "config": {"fields": [], "filter": None, "validations": []}},
            {
                "id": "target",
                "kind": "target",
                "config": {"connection": "warehouse", "entity": "", "disposition": "upsert", "keys": []},
            },
        ],
        "edges": [{"from": "source", "to": "map"}, {"from": "map", "to": "target"}],
        "load": {"mode": "full"},
        "contract": {"new_column": "ignore", "missing_column": "freeze", "type_change": "quarantine", "fields": []},
        "reconciliation": {"controls": [], "count_tolerance": 0},
        "limits": {"max_reject_share": None},
        "variables": {},
    }


def build_process_starter() -> dict[str, Any]:
    """A process with nothing to do yet."""
    return {"schema": PROCESS_SCHEMA_ID, "kind": "process", "steps": []}


@transaction.atomic
def create_flow(
    name: str,
    *,
    actor: Actor,
    description: str = "",
    kind: str = FlowKind.LOAD,
    definition: Mapping[str, Any] | None = None,
) -> Flow:
    """Make a flow with a draft.

    Args:
        name: shown to people; its short name is derived from it and made unique.
        actor: needs `flow:edit`.
        description: for people.
        kind: `load` or `process`; a definition that is given decides.
        definition: first draft; an empty one of the kind when absent. It may be incomplete.

    Raises:
        NameInvalid: the name is empty or too long.
        DefinitionInvalid: the draft has settings that do not exist, or is too large.
    """
    check_permission(actor, "flow:edit")
    if definition is not None:
        draft = dict(definition)
        kind = FlowKind.PROCESS if is_process(draft) else FlowKind.LOAD
    else:
        draft = build_process_starter() if kind == FlowKind.PROCESS else build_starter()
    _ensure_savable(draft)
    flow = Flow(
        name=_clean_name(name),
        slug=_free_slug(name),
        description=description,
        kind=kind,
        draft=draft,
        draft_problems_count=_count_errors(draft),
        draft_saved_by=actor.id,
        draft_saved_by_name=actor.name,
        draft_saved_at=now(),
        created_by=actor.id,
    )
    try:
        with transaction.atomic():
            flow.save(force_insert=True)
    except IntegrityError as error:
        raise SlugTaken(f"Another flow was just called {name!r}.", field="name", value=name) from error
    record_audit(
        actor=actor,
        action="flow.created",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Created the flow {flow.name}.",
        facts={"slug": flow.slug, "kind": flow.kind},
    )
    publish_event(
        FLOW_CREATED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowCreated(flow_id=flow.pk, name=flow.name, kind=flow.kind, by=actor.name),
    )
    _hint(flow, change="created")
    return flow


@transaction.atomic
def update_flow(flow_id: UUID, *, actor: Actor, name: str | None = None, description: str | None = None) -> Flow:
    """Rename or describe a flow. Its short name stays, so that nothing that refers to it breaks.

    Raises:
        FlowNotFound, FlowArchived, NameInvalid: see their messages.
    """
    check_permission(actor, "flow:edit")
    flow = _lock(flow_id)
    before = {"name": flow.name, "description": flow.description}
    if name is not None:
        flow.name = _clean_name(name)
    if description is not None:
        flow.description = description
    after = {"name": flow.name, "description": flow.description}
    if after == before:
        return flow
    flow.save(update_fields=["name", "description", "updated_at"])
    record_audit(
        actor=actor,
        action="flow.updated",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Changed the name or description of {flow.name}.",
        facts={"before": before, "after": after},
    )
    _hint(flow, change="renamed")
    return flow


def update_draft(flow_id: UUID, definition: Mapping[str, Any], *, expected_revision: int, actor: Actor) -> Flow:
    """Save the draft, if nobody else did since it was read.

    A draft may be incomplete: its errors are counted, not refused. Saving what is stored already changes nothing.
    Autosave is not audited, because publishing is; the row says who saved last.

    Args:
        flow_id: the flow.
        definition: the whole draft.
        expected_revision: `draft_revision` that the editor started from.
        actor: needs `flow:edit`.

    Raises:
        DefinitionInvalid: settings that do not exist, or larger than 1 MB.
        DraftConflict: saved by somebody else in the meantime; facts say who, when and the current revision.
        FlowNotFound, FlowArchived: see their messages.
    """
    check_permission(actor, "flow:edit")
    draft = dict(definition)
    _ensure_savable(draft)
    errors = _count_errors(draft)
    with transaction.atomic():
        flow = _lock(flow_id)
        if is_process(draft) != (flow.kind == FlowKind.PROCESS):
            raise DefinitionInvalid(
                f"{flow.name} is a {flow.kind}; its draft cannot become another kind.", field="draft.schema"
            )
        if flow.draft_revision != expected_revision:
            raise conflict_of(flow)
        if flow.draft == draft and flow.draft_problems_count == errors:
            return flow
        flow.draft = draft
        flow.draft_revision += 1
        flow.draft_problems_count = errors
        flow.draft_saved_by, flow.draft_saved_by_name, flow.draft_saved_at = actor.id, actor.name, now()
        flow.save(
            update_fields=[
                "draft", "draft_revision", "draft_problems_count", "draft_saved_by", "draft_saved_by_name",
                "draft_saved_at", "updated_at",
            ]
        )  # fmt: skip
        _hint(flow, change="draft", revision=flow.draft_revision)
    return flow


@transaction.atomic
def archive_flow(flow_id: UUID, *, actor: Actor) -> Flow:
    """Take a flow out of use; its versions, runs and record stay. Archiving an archived flow changes nothing.

    Raises:
        FlowNotFound: there is none.
        FlowInUse: it is deployed to a protected environment.
    """
    check_permission(actor, "flow:edit")
    flow: Flow | None = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is not None:
        return flow
    protected = flow.deployments.filter(status="active", environment__protected=True).select_related("environment")
    active = protected.first()
    if active is not None:
        raise FlowInUse(f"{flow.name} is deployed in {active.environment.name}.", value=active.environment.slug)
    at = now()
    flow.deployments.filter(status="active").update(status="retired", retired_at=at, updated_at=at)
    flow.archived_at = at
    flow.save(update_fields=["archived_at", "updated_at"])
    record_audit(
        actor=actor,
        action="flow.archived",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Archived the flow {flow.name}.",
        facts={"slug": flow.slug},
    )
    publish_event(
        FLOW_ARCHIVED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowArchived(flow_id=flow.pk, name=flow.name, by=actor.name),
    )
    _hint(flow, change="archived")
    return flow


@transaction.atomic
def restore_flow(flow_id: UUID, *, actor: Actor) -> Flow:
    """Bring an archived flow back (the undo of `archive_flow`); what was deployed has to be deployed again.

    Its short name changes when another flow has taken it. Restoring a flow in use changes nothing.

    Raises:
        FlowNotFound: there is none.
    """
    check_permission(actor, "flow:edit")
    flow: Flow | None = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is None:
        return flow
    if Flow.objects.filter(slug=flow.slug, archived_at__isnull=True).exists():
        flow.slug = _free_slug(flow.name)
    flow.archived_at = None
    flow.save(update_fields=["archived_at", "slug", "updated_at"])
    record_audit(
        actor=actor,
        action="flow.restored",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Restored the flow {flow.name}.",
        facts={"slug": flow.slug},
    )
    publish_event(
        FLOW_RESTORED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowRestored(flow_id=flow.pk, name=flow.name, by=actor.name),
    )
    _hint(flow, change="restored")
    return flow


def conflict_of(flow: Flow) -> DraftConflict:
    """The error for an editor whose draft is out of date."""
    who = flow.draft_saved_by_name or "Somebody"
    when = f"{flow.draft_saved_at:%Y-%m-%d %H:%M:%S} UTC" if flow.draft_saved_at else "an unknown time"
    return DraftConflict(
        f"{who} saved this draft at {when}.",
        field="expected_revision",
        saved_by=who,
        saved_at=flow.draft_saved_at.isoformat() if flow.draft_saved_at else "",
        revision=flow.draft_revision,
    )


def _lock(flow_id: UUID) -> Flow:
    flow: Flow | None = Flow.objects.select_for_update().filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is not None:
        raise exceptions.FlowArchived(f"{flow.name} is archived.", value=flow.pk)
    return flow


def _ensure_savable(draft: dict[str, Any]) -> None:
    text = json.dumps(draft, default=str)
    if len(text.encode()) > DRAFT_MAX_BYTES:
        raise DefinitionInvalid("The draft is larger than 1 MB.", field="draft")
    if "\\u0000" in text:
        raise DefinitionInvalid("The draft contains a NUL character.", field="draft")
    unknown = [problem for problem in find_shape_problems(draft) if problem.code == "integrations.unknown_key"]
    if unknown:
        raise DefinitionInvalid(
            f"{unknown[0].path}: {unknown[0].message}",
            field=f"draft.{unknown[0].path}",
            problems=[
                Problem(path=f"draft.{item.path}", code=item.code, message=item.message, hint=item.hint)
                for item in unknown
            ],
        )


def _count_errors(draft: dict[str, Any]) -> int:
    return len(validate_definition(draft, live=False).errors)


def _clean_name(name: str) -> str:
    cleaned = " ".join(name.replace("\x00", "").split())
    if not cleaned:
        raise NameInvalid("A flow needs a name.", field="name")
    if len(cleaned) > NAME_CHARS:
        raise NameInvalid(f"A name has at most {NAME_CHARS} characters.", field="name")
    return cleaned


def to_slug(name: str) -> str:
    """Short name that a flow of this name gets while no other has it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[: SLUG_CHARS - 4].strip("-") or "flow"


def _free_slug(name: str) -> str:
    stem = to_slug(name)
    taken = set(Flow.objects.filter(archived_at__isnull=True, slug__startswith=stem).values_list("slug", flat=True))
    if stem not in taken:
        return stem
    return next(slug for number in range(2, len(taken) + 3) if (slug := f"{stem}-{number}") not in taken)


def _hint(flow: Flow, **facts: object) -> None:
    send_hint(require_tenant().id, "flow", flow.pk, **facts)

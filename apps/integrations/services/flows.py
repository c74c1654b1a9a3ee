"""Flows: the verbs other apps and the API use. Drafts are in `drafts`; publishing is here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from apps.access.contracts import Actor
from apps.access.services.permissions import check_permission
from apps.audit.services.entries import record_audit
from apps.core.clock import now
from apps.core.services.hints import send_hint
from apps.events.services.outbox import publish_event
from apps.integrations.contracts import Definition, DefinitionCheck, FlowDefinition, read_definition
from apps.integrations.events import FLOW_PUBLISHED, FlowPublished
from apps.integrations.exceptions import DefinitionInvalid, FlowArchived, FlowNotFound
from apps.integrations.models import Flow, FlowVersion
from apps.integrations.services.canonical import content_hash
from apps.integrations.services.drafts import (
    archive_flow,
    build_starter,
    conflict_of,
    create_flow,
    restore_flow,
    update_draft,
    update_flow,
)
from apps.integrations.services.validation import validate_definition
from apps.quality.contracts import ColumnLineage, ContractField
from apps.quality.services.drift import compare_schema
from apps.quality.services.lineage import record_lineage
from apps.tenancy.services.context import require_tenant

__all__ = [
    "PublishResult",
    "archive_flow",
    "build_starter",
    "create_flow",
    "publish_flow",
    "restore_flow",
    "update_draft",
    "update_flow",
]


@dataclass(frozen=True)
class PublishResult:
    """What publishing did.

    Attributes:
        version: the new version, or the existing one with the same content.
        created: False when an identical version was there already.
        message: one sentence for people.
    """

    version: FlowVersion
    created: bool
    message: str


def publish_flow(flow_id: UUID, *, actor: Actor, note: str = "") -> PublishResult:
    """Freeze the draft as the next version.

    An empty data contract is filled with the source's columns of today; one that evolves takes over the changes that
    its modes accept. A definition that behaves like an earlier
    version is not published twice: that version is returned.

    Args:
        flow_id: the flow.
        actor: needs `flow:publish`.
        note: what changed, for people.

    Raises:
        FlowNotFound, FlowArchived: see their messages.
        DefinitionInvalid: the draft has errors; one problem per place, warnings included.
        DraftConflict: the draft was saved while it was being checked.
    """
    check_permission(actor, "flow:publish")
    flow = Flow.objects.filter(pk=flow_id).first()
    if flow is None:
        raise FlowNotFound(value=flow_id)
    if flow.archived_at is not None:
        raise FlowArchived(f"{flow.name} is archived.", value=flow.pk)
    revision = flow.draft_revision
    # The source is asked before the row is locked: a slow system must not hold the lock.
    check = validate_definition(flow.draft, live=True)
    if not check.valid:
        first = check.errors[0]
        raise DefinitionInvalid(
            f"The draft cannot be published: {first.message}", field=first.path, problems=list(check.problems)
        )
    definition = read_definition(flow.draft)
    if isinstance(definition, FlowDefinition):
        definition = _with_contract(definition, check)
    return _store(flow_id, revision, definition, check, actor=actor, note=note)


@transaction.atomic
def _store(
    flow_id: UUID, revision: int, definition: Definition, check: DefinitionCheck, *, actor: Actor, note: str
) -> PublishResult:
    flow = Flow.objects.select_for_update().get(pk=flow_id)
    if flow.draft_revision != revision:
        raise conflict_of(flow)
    digest = content_hash(definition)
    same = FlowVersion.objects.filter(flow=flow, content_hash=digest).first()
    if same is not None:
        return PublishResult(
            version=same,
            created=False,
            message=f"Nothing was published: the draft behaves exactly like version {same.number}.",
        )
    last = FlowVersion.objects.filter(flow=flow).aggregate(last=Max("number"))["last"] or 0
    version = FlowVersion.objects.create(
        flow=flow,
        number=last + 1,
        definition=definition.to_json(),
        content_hash=digest,
        note=note.strip(),
        published_by=actor.id,
        published_by_name=actor.name,
        published_at=now(),
    )
    if isinstance(definition, FlowDefinition):
        record_lineage(
            flow_id=flow.pk,
            flow_version_id=version.pk,
            source=(definition.source.connection, definition.source.entity),
            target=(definition.target.connection, definition.target.entity),
            columns=_lineage_of(definition, check),
        )
    record_audit(
        actor=actor,
        action="flow.published",
        target_type="flow",
        target_id=flow.pk,
        summary=f"Published version {version.number} of {flow.name}.",
        facts={"version": version.number, "content_hash": digest, "note": version.note},
    )
    publish_event(
        FLOW_PUBLISHED,
        subject=f"flow/{flow.pk}",
        key=str(flow.pk),
        data=FlowPublished(
            flow_id=flow.pk,
            name=flow.name,
            version=version.number,
            version_id=version.pk,
            content_hash=digest,
            by=actor.name,
        ),
    )
    send_hint(require_tenant().id, "flow", flow.pk, change="published", version=version.number)
    return PublishResult(version=version, created=True, message=f"Published version {version.number}.")


def _with_contract(definition: FlowDefinition, check: DefinitionCheck) -> FlowDefinition:
    """The definition with today's columns where nothing was agreed, or where the contract evolves."""
    if check.source_known != "live":
        return definition
    actual = [ContractField(name=item["name"], type=item["type"]) for item in check.source_fields]
    fields = compare_schema(definition.contract, actual).fields
    return replace(definition, contract=replace(definition.contract, fields=fields))


def _lineage_of(definition: FlowDefinition, check: DefinitionCheck) -> list[ColumnLineage]:
    columns = {item["target"]: tuple(item["columns"]) for item in check.fields}
    return [
        ColumnLineage(
            target_column=field.target,
            source_columns=columns.get(field.target, ()),
            expression=field.expression,
            identity=columns.get(field.target) == (field.expression.strip().strip('"'),),
        )
        for field in definition.map.fields
    ]

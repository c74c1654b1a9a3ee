"""`load/open`: looks at both systems and decides everything the later steps rely on."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.connectors.base import ConnectorBase, Snapshot
from apps.connectors.contracts import (
    ROW_ID,
    SOURCE_POSITION,
    CursorRange,
    EntitySchema,
    Partition,
    StatsRequest,
)
from apps.connectors.exceptions import ColumnGone
from apps.engine.choices import RunKind, RunMode
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.selectors import find_load_state, running_without_rows
from apps.engine.services.definitions import parse_definition
from apps.engine.services.limits import engine_limits
from apps.engine.services.loads.connections import use_connector
from apps.engine.services.loads.controls import source_controls, target_controls
from apps.engine.services.loads.cursors import CursorDecision, decide_cursor
from apps.engine.services.loads.mapping import FlowMapping, use_mapping
from apps.engine.services.loads.plans import LoadPlan
from apps.engine.services.loads.pushdown import find_obstacle
from apps.expressions.contracts import Field, Schema
from apps.expressions.services.checking import check_expression
from apps.integrations.choices import Disposition
from apps.integrations.contracts import FlowDefinition
from apps.integrations.selectors import resolve_binding
from apps.quality.choices import DriftAction
from apps.quality.contracts import ContractField, DriftReport
from apps.quality.services.drift import compare_schema, ensure_contract

PAYLOAD_COLUMNS_MOST = 64
OWN_NAMES = (ROW_ID, SOURCE_POSITION)
SNAPSHOT_LINGER_S = 60.0
LINGER_STEP_S = 0.1


class OpenLoad(StepType):
    """Plans a load, or a replay."""

    type = "load.open"

    def execute(self, context: StepContext) -> StepOutcome:
        """Decide the plan; its JSON is the step's output."""
        definition = parse_definition(context.run.definition)
        if context.run.kind == RunKind.REPLAY:
            return plan_replay(context, definition)
        return plan_load(context, definition)


def plan_load(context: StepContext, definition: FlowDefinition) -> StepOutcome:
    """The plan of a load."""
    run = context.run
    source_id = resolve_binding(run.environment_id, definition.source.connection)
    target_id = resolve_binding(run.environment_id, definition.target.connection)
    source = use_connector(context, source_id, "read")
    target = use_connector(context, target_id, "write")
    entity = _without_own_names(context, source.describe(definition.source.entity))
    drift = _compare_contract(context, definition, entity)
    visible = _visible_schema(entity, drift)
    mapping = use_mapping(context, definition, visible)
    columns = _columns_to_read(entity, drift, mapping, definition)
    cursor = _decide_cursor(context, definition, source, entity)
    snapshot = _open_snapshot(context, source, definition, source_id)
    partitions = _plan_partitions(context, definition, source, target, entity, snapshot)
    range_ = cursor.range if cursor and context.run.mode == RunMode.INCREMENTAL else None
    plan = LoadPlan(
        source_connection=source_id,
        target_connection=target_id,
        source_entity=definition.source.entity,
        target_entity=definition.target.entity,
        disposition=definition.target.disposition,
        keys=definition.target.keys,
        columns=columns,
        source_fields=tuple(_field_to_json(visible.find(name)) for name in _mapping_columns(columns, drift)),
        casts=_casts(drift),
        null_columns=_columns_by(drift, DriftAction.FILL_NULL),
        quarantine_columns=_columns_by(drift, DriftAction.QUARANTINE_ROWS),
        quarantine_all=next((i.message for i in drift.decisions if i.action == DriftAction.QUARANTINE_ALL), None),
        target_fields=target_fields(mapping, definition),
        partitions=tuple(part.to_json() for part in partitions),
        cursor=range_.to_json() if range_ else None,
        next_cursor=cursor.next if cursor else None,
        snapshot=snapshot,
        estimate_rows=entity.row_estimate if range_ is None or range_.lower is None else None,
        actual_fields=tuple({"name": item.name, "type": item.type} for item in entity.fields),
        # Rows that the contract takes out before the mapping would make the two totals differ.
        source_totals=None if drift.decisions else _source_totals(source, definition, entity, range_, snapshot),
        allow_empty=definition.load.allow_empty,
        meter_target=_must_meter(definition, target),
    )
    obstacle = find_obstacle(plan, mapping, entity, source, target)
    if obstacle is None:
        plan = replace(plan, pushdown=True, partitions=(Partition().to_json(),))
        context.log("info", "Source and target are one database: the mapping runs inside it.")
    elif obstacle:
        context.log("info", f"Source and target are one database, but {obstacle}; the rows pass through the worker.")
    context.stats.estimate_rows = plan.estimate_rows
    return StepOutcome(output={"plan": plan.to_json(), "drift": drift.to_json()}, detail=_describe(plan))


def plan_replay(context: StepContext, definition: FlowDefinition) -> StepOutcome:
    """The plan of a replay: the source is the quarantine, with the types that the rows had when they were read."""
    run = context.run
    target_id = resolve_binding(run.environment_id, definition.target.connection)
    target = use_connector(context, target_id, "write")
    fields = [Field(item["name"], item["type"], True) for item in run.parameters["source_fields"]]
    mapping = use_mapping(context, definition, Schema(tuple(fields)))
    disposition = definition.target.disposition
    if disposition == Disposition.REPLACE:
        # The rows join what the load has put there; replacing it by them would empty the target.
        disposition = Disposition.UPSERT if definition.target.keys else Disposition.APPEND
    plan = LoadPlan(
        source_connection=None,
        target_connection=target_id,
        source_entity=definition.source.entity,
        target_entity=definition.target.entity,
        disposition=str(disposition),
        keys=definition.target.keys,
        columns=tuple(field.name for field in fields),
        source_fields=tuple(_field_to_json(field) for field in fields),
        target_fields=target_fields(mapping, definition),
        partitions=(Partition().to_json(),),
        estimate_rows=int(run.parameters.get("rows", 0)),
        allow_empty=True,
        meter_target=_must_meter(definition, target),
    )
    context.stats.estimate_rows = plan.estimate_rows
    return StepOutcome(output={"plan": plan.to_json()}, detail=f"{plan.estimate_rows:,} rows from the quarantine")


def _must_meter(definition: FlowDefinition, target: ConnectorBase) -> bool:
    """Whether the target side of the reconciliation has to be added up on the way."""
    if not definition.reconciliation.controls:
        return False
    names = [field.target for field in definition.map.fields]
    return not target.capabilities.stats or target_controls(definition, names) is None


def target_fields(mapping: FlowMapping, definition: FlowDefinition) -> tuple[dict[str, Any], ...]:
    """Columns of the target; a key column is never NULL."""
    keys = set(definition.target.keys)
    return tuple(
        {"name": item.name, "type": item.type, "nullable": item.nullable and item.name not in keys}
        for item in mapping.compiled.fields
    )


def _without_own_names(context: StepContext, entity: EntitySchema) -> EntitySchema:
    """The entity without columns that have the names of the engine's own (a table that the portal loaded has them)."""
    own = [name for name in entity.names if name in OWN_NAMES]
    if not own:
        return entity
    context.log("info", f"The source's {', '.join(own)} is left out: the name belongs to the portal.")
    return replace(entity, fields=tuple(field for field in entity.fields if field.name not in own))


# -- contract ----------------------------------------------------------------------------------------------------------


def _compare_contract(context: StepContext, definition: FlowDefinition, entity: EntitySchema) -> DriftReport:
    actual = [ContractField(item.name, item.type) for item in entity.fields]
    if not definition.contract.fields:
        _warn_of_changes(context, entity, actual)
    contract = Schema(tuple(Field(item.name, item.type) for item in definition.contract.fields))
    present = tuple(Field(item.name, item.type) for item in actual if contract.find(item.name) is None)
    used = _used_columns(definition, Schema((*contract.fields, *present)))
    report = compare_schema(definition.contract, actual, used=used)
    ensure_contract(report)
    for decision in report.decisions:
        context.log("warning", decision.message, change=decision.change, action=str(decision.action))
    return report


def _warn_of_changes(context: StepContext, entity: EntitySchema, actual: list[ContractField]) -> None:
    """Without a contract (a draft) nothing can be refused, but a change since the last load is still worth saying."""
    state = find_load_state(context.run.flow_id, context.run.environment_id, entity.name)
    before = {item["name"]: item["type"] for item in (state.source_fields if state else [])}
    now = {item.name: item.type for item in actual}
    for name in sorted(set(before) | set(now)) if before else []:
        if before.get(name) != now.get(name):
            was, is_ = before.get(name, "absent"), now.get(name, "gone")
            context.log("warning", f"The source column {name!r} was {was} at the last load and is now {is_}.")


def _used_columns(definition: FlowDefinition, schema: Schema) -> set[str]:
    """Source columns that the mapping reads, whether they still exist or not."""
    mapping = definition.map
    expressions = [item.expression for item in mapping.fields] + [rule.expression for rule in mapping.validations]
    expressions += [mapping.filter] if mapping.filter else []
    found: set[str] = set()
    for expression in expressions:
        found |= set(check_expression(expression, schema).columns)
    return found


def _visible_schema(entity: EntitySchema, drift: DriftReport) -> Schema:
    """Columns as the mapping sees them: the contract's types where values are cast, gone columns as NULL."""
    casts = _casts(drift)
    fields = [Field(item.name, casts.get(item.name, item.type), item.nullable) for item in entity.fields]
    known = {field.name for field in fields}
    gone = [item for item in drift.decisions if item.column not in known and item.expected_type is not None]
    fields += [Field(item.column, str(item.expected_type), True) for item in gone]
    return Schema(tuple(fields))


def _casts(drift: DriftReport) -> dict[str, str]:
    return {i.column: i.expected_type for i in drift.decisions if i.action == DriftAction.CAST and i.expected_type}


def _columns_by(drift: DriftReport, action: DriftAction) -> tuple[str, ...]:
    return tuple(item.column for item in drift.decisions if item.action == action)


def _columns_to_read(
    entity: EntitySchema, drift: DriftReport, mapping: FlowMapping, definition: FlowDefinition
) -> tuple[str, ...]:
    """Every column of a narrow entity, so that a rejected row is whole; of a wide one what is used, keys and cursor."""
    if len(entity.fields) <= PAYLOAD_COLUMNS_MOST:
        return entity.names
    wanted = {*mapping.source_columns, *entity.keys, *_columns_by(drift, DriftAction.QUARANTINE_ROWS)}
    wanted |= {definition.load.cursor} if definition.load.cursor else set()
    wanted |= mapping.control_columns
    return tuple(name for name in entity.names if name in wanted)


def _mapping_columns(columns: tuple[str, ...], drift: DriftReport) -> tuple[str, ...]:
    gone = (*_columns_by(drift, DriftAction.FILL_NULL), *_columns_by(drift, DriftAction.QUARANTINE_ALL))
    return (*columns, *(name for name in gone if name not in columns))


# -- reading -----------------------------------------------------------------------------------------------------------


def _decide_cursor(
    context: StepContext, definition: FlowDefinition, source: ConnectorBase, entity: EntitySchema
) -> CursorDecision | None:
    if context.run.mode != RunMode.INCREMENTAL:
        if not definition.load.cursor:
            return None
        # A full load also moves the cursor, so that the next incremental one starts behind it.
        return _cursor_of_full_load(definition, source, entity)
    state = find_load_state(context.run.flow_id, context.run.environment_id, definition.source.entity)
    decision = decide_cursor(
        source,
        entity,
        definition.load,
        stored=state.cursor if state else None,
        since=context.run.since,
        appends=definition.target.disposition == Disposition.APPEND,
    )
    for note in decision.notes:
        context.log("info", note)
    shown = decision.range
    context.log("info", f"Reads {shown.column} from {shown.lower or 'the start'} to {shown.upper or 'the end'}.")
    return decision


def _cursor_of_full_load(
    definition: FlowDefinition, source: ConnectorBase, entity: EntitySchema
) -> CursorDecision | None:
    column = definition.load.cursor or ""
    known = entity.find_field(column)
    if known is None:
        return None
    value, snapshot, guarded = None, None, False
    if definition.load.late_commit_guard and source.capabilities.watermark:
        watermark = source.watermark(entity.name, column)
        value, snapshot, guarded = watermark.value, watermark.snapshot, True
    state = {"column": column, "type": known.type, "value": value, "snapshot": snapshot, "guarded": guarded}
    return CursorDecision(CursorRange(column=column, include_null=True), state)


def _open_snapshot(
    context: StepContext, source: ConnectorBase, definition: FlowDefinition, source_id: UUID
) -> str | None:
    """One consistent view for all parts and the control totals; held until every part has joined it."""
    if not source.capabilities.snapshots:
        return None
    run_id = context.run.id

    def close(snapshot: Snapshot) -> None:
        # A part that another worker has claimed joins within moments; closing earlier would send it back.
        deadline = time.monotonic() + SNAPSHOT_LINGER_S
        while time.monotonic() < deadline and running_without_rows(run_id, "load.part"):
            time.sleep(LINGER_STEP_S)
        snapshot.close()

    del definition
    snapshot: Snapshot = context.resources.get("snapshot", str(source_id), source.open_snapshot, close)
    return snapshot.id


def _plan_partitions(
    context: StepContext,
    definition: FlowDefinition,
    source: ConnectorBase,
    target: ConnectorBase,
    entity: EntitySchema,
    snapshot: str | None,
) -> tuple[Partition, ...]:
    limits = engine_limits()
    splittable = source.capabilities.partitions and target.capabilities.concurrent_stage
    wanted = 1
    if context.run.mode == RunMode.PARTITIONED:
        wanted = definition.load.partitions
        if not splittable:
            context.log("warning", "These systems cannot be read and staged in parallel; the load runs in one part.")
    elif context.run.mode == RunMode.FULL and (entity.row_estimate or 0) >= limits.auto_partition_rows:
        wanted = limits.auto_partitions
    if wanted < 2 or not splittable:
        return (Partition(),)
    del snapshot
    return source.plan_partitions(entity.name, wanted, column=definition.load.partition_column)


def _source_totals(
    source: ConnectorBase,
    definition: FlowDefinition,
    entity: EntitySchema,
    range_: CursorRange | None,
    snapshot: str | None,
) -> dict[str, str | None] | None:
    """Count and control totals computed by the source system itself, at the moment of the snapshot.

    None when it cannot: no such ability, a filter (whose rows do not count), or an expression that is not a column.
    """
    if not source.capabilities.stats or snapshot is None or definition.map.filter:
        return None
    controls = source_controls(definition, entity)
    if controls is None:
        return None
    totals: dict[str, str | None] | None = None
    with contextlib.suppress(ColumnGone):
        totals = source.stats(StatsRequest(entity.name, controls, cursor=range_, snapshot=snapshot))
    # One value that is no number makes a sum none; the rows that can be read still add up.
    return None if totals is None or {"NaN", "Infinity", "-Infinity"} & set(totals.values()) else totals


def _field_to_json(field: Field | None) -> dict[str, Any]:
    assert field is not None
    return {"name": field.name, "type": field.type, "nullable": field.nullable}


def _describe(plan: LoadPlan) -> str:
    parts = len(plan.partitions)
    size = f"about {plan.estimate_rows:,} rows" if plan.estimate_rows is not None else "rows of unknown number"
    how = "inside the database" if plan.pushdown else f"in {parts} part{'s' if parts > 1 else ''}"
    return f"{size}, {how}, {plan.disposition} into {plan.target_entity}"

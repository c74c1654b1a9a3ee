"""`load/pushdown`: source and target are one database, so one statement does what the parts would do.

Two sessions work in one snapshot: one stages the accepted rows by `INSERT … SELECT`, the other fetches the rejected
rows for the quarantine at the same time. Staging, marker and merge are those of every load.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa

from apps.connectors.base import ConnectorBase, Writer
from apps.connectors.choices import EntityKind
from apps.connectors.contracts import ROW_ID, EntitySchema, StagedPart
from apps.core.exceptions import PortalError
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.exceptions import CountsDiffer
from apps.engine.services.definitions import parse_definition
from apps.engine.services.loads.connections import use_connector, use_writer
from apps.engine.services.loads.controls import COUNT, plain_column
from apps.engine.services.loads.mapping import FlowMapping, source_meter, use_mapping
from apps.engine.services.loads.plans import OPEN, LoadPlan
from apps.engine.services.loads.rejects import forget_rejected, keep_rejected
from apps.expressions.exceptions import NotPushable
from apps.expressions.services.inputs import to_arrow_rows
from apps.expressions.services.transpiling import transpile_select
from apps.expressions.types import quote_name
from apps.quality.contracts import BrokenRule, RejectedRow

WHOLE_NUMBERS = ("SMALLINT", "INTEGER", "BIGINT")
FETCH_ROWS = 2_000
JOIN_S = 0.2
CTID = "((ctid::text::point)[0]::bigint << 16) + (ctid::text::point)[1]::bigint"


def find_obstacle(
    plan: LoadPlan, mapping: FlowMapping, entity: EntitySchema, source: ConnectorBase, target: ConnectorBase
) -> str | None:
    """Why the load cannot run inside the database, as half a sentence for the log; None when it can.

    An empty text means that nobody would expect it to (two different databases).
    """
    if not (source.capabilities.pushdown and target.capabilities.pushdown):
        return ""
    here = source.pushdown_url()
    if here is None or here != target.pushdown_url():
        return ""
    if plan.cursor is not None:
        return "it is incremental"
    if plan.snapshot is None or plan.source_totals is None:
        return "the source's totals cannot be computed in one snapshot"
    if plan.meter_target:
        return "a control of the target is more than a column"
    if row_id_sql(entity) is None:
        return "its rows have no identity (a view, or a partitioned table without a whole-number key)"
    try:
        transpile_select(mapping.request)
    except NotPushable as error:
        return error.message[:1].lower() + error.message[1:].rstrip(".")
    table = source.table_sql(plan.source_entity)
    if table is None or not _may_read(target, table):
        return "the warehouse's role may not read the source table"
    return _odd_number(plan, mapping, entity, target, table)


def _odd_number(
    plan: LoadPlan, mapping: FlowMapping, entity: EntitySchema, target: ConnectorBase, table: str
) -> str | None:
    """A decimal that its type does not hold: the worker rejects its row, the database would round it or let it pass."""
    # A column with a NaN has a sum that is none, and the source's totals would not have been taken.
    controls = mapping.definition.reconciliation.controls
    added_up = {plain_column(item.source, entity.names) for item in controls if item.aggregate == "sum"}
    read = mapping.source_columns | mapping.control_columns
    decimals = [field for field in entity.fields if field.name in read and field.native_type.startswith("numeric")]
    free = next((field.name for field in decimals if field.native_type == "numeric"), None)
    if free is not None:
        return f"{free} is a decimal without a declared scale"
    unsure = [field for field in decimals if field.name not in added_up]
    if not unsure:
        return None
    odd = " OR ".join(f"{quote_name(field.name)} = 'NaN'" for field in unsure)
    with target.session() as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        session.execute(f"SET TRANSACTION SNAPSHOT '{plan.snapshot}'")
        row = session.execute(f"SELECT count(*) FROM {table} WHERE {odd}").fetchone()  # noqa: S608 - quoted names
        session.rollback()
    return "some decimals are not numbers (NaN)" if row[0] else None


def row_id_sql(entity: EntitySchema) -> str | None:
    """An expression that identifies a row in one snapshot: a whole-number key, else the row's physical place.

    Rows of a partitioned table have their places per partition, so without a key they have no identity here.
    """
    if len(entity.keys) == 1:
        key = entity.find_field(entity.keys[0])
        if key is not None and key.type in WHOLE_NUMBERS:
            return f"{quote_name(key.name)}::bigint"
    return CTID if entity.kind == EntityKind.TABLE and not entity.partitioned else None


def _may_read(target: ConnectorBase, table: str) -> bool:
    try:
        with target.session() as session:
            row = session.execute("SELECT has_table_privilege(%s::regclass, 'SELECT')", (table,)).fetchone()
            return bool(row and row[0])
    except (PortalError, psycopg.Error):
        return False


class PushdownLoad(StepType):
    """Maps inside the database."""

    type = "load.pushdown"

    def execute(self, context: StepContext) -> StepOutcome:
        """Stage accepted rows and fetch rejected ones, both in the database, in one snapshot."""
        plan = LoadPlan.from_json(context.outputs[OPEN]["plan"])
        definition = parse_definition(context.run.definition)
        forget_rejected(context)
        assert plan.source_connection is not None
        source = use_connector(context, plan.source_connection, "read")
        target = use_connector(context, plan.target_connection, "write")
        entity = source.describe(plan.source_entity)
        mapping = use_mapping(context, definition, plan.source_schema)
        pushed = transpile_select(mapping.request)
        relation = _relation(plan, entity, source)
        staging = _Staging(use_writer(context, plan), pushed.over(relation, pushed.accepted_sql), context, plan)
        staging.start()
        rejected = _Rejected(context, plan, mapping, target)
        rejected.keep_all(pushed.over(relation, pushed.rejected_sql))
        staged = staging.wait()
        return _outcome(context, plan, mapping, staged, rejected)


class _Staging(threading.Thread):
    """The INSERT … SELECT in a thread of its own; the caller's thread keeps rejected rows and reports."""

    def __init__(self, writer: Writer, select: str, context: StepContext, plan: LoadPlan) -> None:
        super().__init__(name=f"stage {context.path}", daemon=True)
        self._writer, self._select, self._context, self._plan = writer, select, context, plan
        self._part = context.fenced_part
        self._staged: StagedPart | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._staged = self._writer.stage_select(self._select, part=self._part, snapshot=self._plan.snapshot)
        except BaseException as error:  # noqa: BLE001 - raised again by `wait`
            self._error = error

    def wait(self) -> StagedPart:
        """The staged part. A cancellation or lost lease is noticed meanwhile; the statement's rows are then garbage."""
        while self.is_alive():
            self.join(JOIN_S)
            self._context.tick()
        if self._error is not None:
            raise self._error
        assert self._staged is not None
        return self._staged


class _Rejected:
    """Rejected rows on their way from the database to the quarantine."""

    def __init__(self, context: StepContext, plan: LoadPlan, mapping: FlowMapping, target: ConnectorBase) -> None:
        self._context = context
        self._plan = plan
        self._target = target
        self._meter = source_meter(mapping.definition, plan.source_schema)
        # Every control is a column here, so nothing else of a rejected row needs a typed value.
        self._metered = [item for item in plan.source_schema.fields if item.name in mapping.control_columns]
        self.count = 0
        self.totals: dict[str, str | None] = {}

    def keep_all(self, select: str) -> None:
        """Fetch and keep, a few thousand at a time."""
        try:
            with self._target.session() as session:
                session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                session.execute(f"SET TRANSACTION SNAPSHOT '{self._plan.snapshot}'")
                session.execute("SET LOCAL jit = off")
                for rows in _fetch(session, select):
                    self._keep(rows)
                session.rollback()
            self.totals = self._meter.totals()
        finally:
            self._meter.close()

    def _keep(self, rows: list[tuple[int, str, str]]) -> None:
        # Numbers stay text: a binary float would lose digits on the way through JSON.
        payloads = [json.loads(source, parse_float=str) for _, source, _ in rows]
        keep_rejected(
            self._context,
            [
                RejectedRow(
                    row_id=str(row_id),
                    payload=payload,
                    errors=tuple(BrokenRule.from_json(item) for item in json.loads(errors)),
                    source_position=f"row {row_id}",
                )
                for (row_id, _, errors), payload in zip(rows, payloads, strict=True)
            ],
        )
        table, refused = to_arrow_rows(payloads, self._metered)
        table = table.append_column(ROW_ID, pa.array([row_id for row_id, _, _ in rows], pa.int64()))
        if refused:
            table = table.filter(pa.array([place not in refused for place in range(len(rows))]))
        for batch in table.combine_chunks().to_batches():
            self._meter.add(batch)
        self.count += len(rows)
        self._context.stats.rows_quarantined = self.count
        self._context.tick()


def _fetch(session: Any, select: str) -> Iterator[list[tuple[int, str, str]]]:
    with session.cursor(name="rejected") as cursor:
        cursor.execute(f"SELECT {quote_name(ROW_ID)}, _source::text, _errors::text FROM ({select}) AS found")  # noqa: S608
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield rows


def _relation(plan: LoadPlan, entity: EntitySchema, source: ConnectorBase) -> str:
    columns = [f"{row_id_sql(entity)} AS {quote_name(ROW_ID)}", *(quote_name(name) for name in plan.columns)]
    return f"SELECT {', '.join(columns)} FROM {source.table_sql(plan.source_entity)}"  # noqa: S608 - quoted names


def _outcome(
    context: StepContext, plan: LoadPlan, mapping: FlowMapping, staged: StagedPart, rejected: _Rejected
) -> StepOutcome:
    """Three independent counts of one snapshot: what the source has, what was staged, what was rejected."""
    assert plan.source_totals is not None
    read = int(plan.source_totals[COUNT] or 0)
    filtered = read - staged.rows - rejected.count
    if filtered < 0 or (filtered and mapping.request.filter is None):
        raise CountsDiffer(
            f"The source has {read:,} rows, but {staged.rows:,} were staged and {rejected.count:,} rejected."
        )
    stats = context.stats
    stats.rows_read, stats.rows_accepted = read, staged.rows
    stats.rows_quarantined, stats.rows_filtered = rejected.count, filtered
    return StepOutcome(
        output={
            "staged": staged.to_json(),
            "read": read,
            "accepted": staged.rows,
            "quarantined": rejected.count,
            "filtered": filtered,
            "cursor": None,
            "source_totals": None,
            "rejected_totals": rejected.totals,
            "warnings": {},
        },
        detail=f"{read:,} rows mapped inside the database, {rejected.count:,} in quarantine",
    )

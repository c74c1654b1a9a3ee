"""`load/part[i]`: extract, map, validate and stage one partition, in one fused step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa

from apps.connectors.choices import PartitionKind
from apps.connectors.contracts import ROW_ID, ReadRequest, RejectedRecord, StagedPart
from apps.connectors.exceptions import SnapshotGone
from apps.engine.choices import RunKind
from apps.engine.contracts import StepContext, StepOutcome, StepType
from apps.engine.exceptions import CountsDiffer
from apps.engine.services.definitions import parse_definition
from apps.engine.services.limits import engine_limits
from apps.engine.services.loads.connections import use_connector, use_writer
from apps.engine.services.loads.cursors import highest_of
from apps.engine.services.loads.drift import DriftFilter
from apps.engine.services.loads.lineage import add_row_ids
from apps.engine.services.loads.mapping import ControlMeter, FlowMapping, source_meter, target_meter, use_mapping
from apps.engine.services.loads.pipelines import Piece, Pipeline
from apps.engine.services.loads.plans import OPEN, PART_SHIFT, LoadPlan
from apps.engine.services.loads.rejects import SOURCE, RejectEncoder, forget_rejected, keep_rejected
from apps.engine.services.loads.replayed import read_replayed
from apps.expressions.services.pipeline import BatchMapper
from apps.integrations.contracts import FlowDefinition
from apps.quality.contracts import BrokenRule, RejectedRow
from apps.quality.services.payloads import encode_payload
from apps.tenancy.services.context import require_tenant

METERED_AT_ONCE = 10_000
METERED_BYTES = 32 * 1024**2
EXPLAINED_AT_ONCE = 2_000
EXPLAINED_BYTES = 8 * 1024**2


class LoadPart(StepType):
    """One partition of a load."""

    type = "load.part"

    def execute(self, context: StepContext) -> StepOutcome:
        """Stage the partition under a name of this execution alone, so that a zombie's rows are never used."""
        plan = LoadPlan.from_json(context.outputs[OPEN]["plan"])
        definition = parse_definition(context.run.definition)
        index = int(context.config["index"])
        if plan.is_empty:
            return _nothing(context)
        forget_rejected(context)
        mapping = use_mapping(context, definition, plan.source_schema)
        writer = use_writer(context, plan)
        work = PartWork(context, plan, mapping, definition, index)
        try:
            staged = work.stage(writer)
        finally:
            work.close()
        return StepOutcome(
            output={
                "staged": staged.to_json(),
                "read": context.stats.rows_read,
                "accepted": context.stats.rows_accepted,
                "quarantined": context.stats.rows_quarantined,
                "filtered": context.stats.rows_filtered,
                "cursor": work.highest,
                "source_totals": work.source_totals(),
                "rejected_totals": work.rejected_totals(),
                "target_totals": work.target_totals(),
                "warnings": work.warnings,
            },
            detail=_detail(context, staged),
        )


def _nothing(context: StepContext) -> StepOutcome:
    """The source itself counted no rows in the snapshot that this part would read."""
    empty = StagedPart(context.fenced_part, 0, 0, "")
    counts = {"read": 0, "accepted": 0, "quarantined": 0, "filtered": 0}
    output = {"staged": empty.to_json(), **counts, "cursor": None, "source_totals": None, "rejected_totals": {}}
    return StepOutcome(output={**output, "warnings": {}}, detail="The source has no rows")


class PartWork:
    """What one execution of a partition holds: mapper, meters, encoder. The producer's thread alone uses them."""

    def __init__(
        self, context: StepContext, plan: LoadPlan, mapping: FlowMapping, definition: FlowDefinition, index: int
    ) -> None:
        self._context = context
        self._plan = plan
        self._index = index
        self._mapping = mapping
        self._mapper: BatchMapper | None = None
        self._encoder = RejectEncoder(plan.source_schema)
        self._drift = DriftFilter(plan, self._encoder) if DriftFilter.needed(plan) else None
        # The source's own totals need no second opinion from us; others are metered from what was read.
        self._meter: ControlMeter | None = (
            source_meter(definition, plan.source_schema) if plan.source_totals is None else None
        )
        self._rejected_meter: ControlMeter = source_meter(definition, plan.source_schema)
        self._target_meter = target_meter(definition, plan.target_columns) if plan.meter_target else None
        self._cursor_type = str((plan.next_cursor or {}).get("type", ""))
        self._source: Any = None
        self._waiting: list[pa.Table] = []
        self._unexplained: list[pa.Table] = []
        self._tenant = require_tenant()
        self._refused: list[RejectedRow] = []
        self.highest: str | None = None
        self.warnings: dict[str, int] = {}

    def stage(self, writer: Any) -> StagedPart:
        """Run the pipeline into the writer's staging area."""
        context = self._context
        pipeline = Pipeline(
            context, self._read(), self._transform, self._finish, lambda rows: keep_rejected(context, rows)
        )
        try:
            staged: StagedPart = writer.stage(pipeline.accepted(), part=context.fenced_part)
        except BaseException:
            if pipeline.failure is not None:
                # A driver that pulls the batches may wrap our error in one of its own.
                raise pipeline.failure from None
            raise
        if pipeline.failure is not None:
            raise pipeline.failure
        self._keep_unreadable(context)
        return staged

    def source_totals(self) -> dict[str, str | None] | None:
        """Control totals over what was read, where the source did not compute them itself."""
        return None if self._meter is None else self._meter.totals()

    def rejected_totals(self) -> dict[str, str | None]:
        """Control totals over the rejected rows; they explain a difference."""
        self._meter_waiting()
        return self._rejected_meter.totals()

    def target_totals(self) -> dict[str, str | None] | None:
        """Control totals over what was handed to a target that computes none itself."""
        return None if self._target_meter is None else self._target_meter.totals()

    def close(self) -> None:
        """Let everything go."""
        for item in (self._mapper, self._encoder, self._meter, self._rejected_meter, self._target_meter):
            if item is not None:
                item.close()
        # Freed batches go back to the system, so that a worker's size is that of its largest part, not of its history.
        pa.default_memory_pool().release_unused()

    # -- the producer's thread -------------------------------------------------------------------------------------

    def _read(self) -> Iterator[pa.RecordBatch]:
        plan, context = self._plan, self._context
        if context.run.kind == RunKind.REPLAY:
            return read_replayed(context.run.id, self._tenant, plan, self._refuse)
        assert plan.source_connection is not None
        self._source = use_connector(context, plan.source_connection, "read")
        partition = plan.partition(self._index)
        request = ReadRequest(
            entity=plan.source_entity,
            columns=plan.columns,
            optional=self._optional(),
            cursor=plan.cursor_range,
            partition=None if partition.kind == PartitionKind.WHOLE else partition,
            batch_rows=engine_limits().batch_rows,
            snapshot=plan.snapshot,
        )
        return self._read_source(request)

    def _optional(self) -> frozenset[str]:
        """Columns that nothing but a rejected row's payload needs: what they cannot hold rejects no row."""
        mapping, plan = self._mapping, self._plan
        needed = {*mapping.source_columns, *mapping.control_columns, *plan.casts, *plan.quarantine_columns}
        return frozenset(plan.columns) - needed - {(plan.next_cursor or {}).get("column")}

    def _read_source(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        try:
            batches = self._source.read(request)
            first = next(iter(batches), None)
        except SnapshotGone:
            if request.partition is not None and request.partition.kind == PartitionKind.BLOCKS:
                raise  # blocks of two moments do not fit together: the whole load is planned anew
            self._context.log("warning", "The source's snapshot has ended; this part reads the present state.")
            yield from self._source.read(replace(request, snapshot=None))
            return
        if first is not None:
            yield first
            yield from batches

    def _refuse(self, rows: list[RejectedRow]) -> None:
        """Rows that never became part of a batch; they go with the next one."""
        self._refused += rows

    def _transform(self, batch: pa.RecordBatch) -> Piece:
        read, size = batch.num_rows, batch.nbytes
        column = (self._plan.next_cursor or {}).get("column")
        if column and self._plan.next_cursor and not self._plan.next_cursor.get("guarded"):
            self.highest = highest_of(batch, column, self.highest, self._cursor_type)
        batch = add_row_ids(batch, self._index)
        refused, self._refused = [*self._refused, *self._take_unreadable()], []
        read += len(refused)
        if self._drift is not None:
            batch, drifted = self._drift.apply(batch)
            refused += drifted
        if self._meter is not None:
            self._meter.add(batch)
        if self._mapper is None:
            self._mapper = self._mapping.open_mapper()
        mapped = self._mapper.apply(batch, explain=False)
        count = len(refused) + mapped.rejected.num_rows
        rejected = [*refused, *self._encode(mapped.rejected)]
        if mapped.unexplained is not None:
            count += mapped.unexplained.num_rows
            self._unexplained.append(mapped.unexplained)
            if (
                sum(table.num_rows for table in self._unexplained) >= EXPLAINED_AT_ONCE
                or sum(table.nbytes for table in self._unexplained) >= EXPLAINED_BYTES
            ):
                rejected += self._explain()
        accepted = mapped.accepted.to_batches()
        if self._target_meter is not None:
            for piece in accepted:
                self._target_meter.add(piece)
        for rule, count in mapped.warnings.items():
            self.warnings[rule] = self.warnings.get(rule, 0) + count
        return Piece(
            accepted=accepted,
            rejected=rejected,
            refused=count,
            read=read,
            filtered=mapped.filtered,
            size_bytes=size,
        )

    def _finish(self) -> Piece:
        """The rejected rows of the last batches."""
        return Piece(accepted=[], rejected=self._explain(), refused=0, read=0, filtered=0, size_bytes=0)

    def _explain(self) -> list[RejectedRow]:
        """Rejected rows are few a batch: their broken rules are asked for some thousands at a time."""
        waiting, self._unexplained = self._unexplained, []
        if not waiting or self._mapper is None:
            return []
        rows = pa.concat_tables(waiting).combine_chunks()
        explained = self._mapper.explain(rows)
        if explained.num_rows != rows.num_rows:
            raise CountsDiffer(f"Of {rows.num_rows} rejected rows only {explained.num_rows} broke a rule.")
        return self._encode(explained)

    def _encode(self, rejected: pa.Table) -> list[RejectedRow]:
        encoded = self._encoder.encode(rejected)
        if encoded:
            self._meter_rejected(rejected)
        return encoded

    def _meter_rejected(self, rejected: pa.Table) -> None:
        """Rejected rows are few a batch: they are metered some thousands at a time."""
        source = rejected.column(SOURCE)
        names = [field.name for field in source.type]
        columns = pa.Table.from_arrays(source.flatten(), names=names)
        self._waiting.append(columns.append_column(ROW_ID, rejected.column(ROW_ID)))
        rows = sum(table.num_rows for table in self._waiting)
        if rows >= METERED_AT_ONCE or sum(table.nbytes for table in self._waiting) >= METERED_BYTES:
            self._meter_waiting()

    def _meter_waiting(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting, promote_options="permissive").combine_chunks()
            self._waiting = []
            for batch in table.to_batches():
                self._rejected_meter.add(batch)

    def _take_unreadable(self) -> list[RejectedRow]:
        """Records that the source could not make a row of go to the quarantine, too: they were read and refused."""
        if self._source is None or not self._source.rejected:
            return []
        found: list[RejectedRecord] = list(self._source.rejected)
        self._source.rejected.clear()
        return [_unreadable_row(record, self._index) for record in found]

    # -- the caller's thread ---------------------------------------------------------------------------------------

    def _keep_unreadable(self, context: StepContext) -> None:
        """What the source could not read after its last batch."""
        unreadable = self._take_unreadable()
        if unreadable:
            keep_rejected(context, unreadable)
            context.stats.rows_read += len(unreadable)
            context.stats.rows_quarantined += len(unreadable)


def _unreadable_row(record: RejectedRecord, index: int) -> RejectedRow:
    payload, _ = encode_payload(record.payload)
    return RejectedRow(
        row_id=f"{(index << PART_SHIFT) + record.position}",
        payload=payload,
        errors=(BrokenRule("unreadable", None, record.code, record.message),),
        source_position=str(record.position),
    )


def _detail(context: StepContext, staged: StagedPart) -> str:
    stats = context.stats
    text = f"{stats.rows_read:,} read, {staged.rows:,} staged"
    if stats.rows_quarantined:
        text += f", {stats.rows_quarantined:,} in quarantine"
    if stats.rows_filtered:
        text += f", {stats.rows_filtered:,} filtered"
    return text

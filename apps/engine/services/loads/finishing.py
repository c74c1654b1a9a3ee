"""`load/finish`: the last look before the target changes, then the change, in one transaction of the target."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from apps.connectors.base import Writer
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ROW_ID, WriteResult
from apps.engine.choices import RunKind
from apps.engine.contracts import EffectDraft, StepContext, StepOutcome, StepType
from apps.engine.exceptions import CountsDiffer, EmptyExtract, TooManyRejects
from apps.engine.services.definitions import parse_definition
from apps.engine.services.effects import announce_effect, confirm_effect, find_prior, sending
from apps.engine.services.loads.connections import use_writer
from apps.engine.services.loads.lineage import position_of
from apps.engine.services.loads.mapping import ControlMeter, target_meter
from apps.engine.services.loads.plans import OPEN, LoadPlan
from apps.engine.services.loads.rejects import RejectEncoder, forget_rejected, keep_rejected
from apps.engine.services.loads.results import PartResults, collect_parts
from apps.engine.services.loads.staged import staged_totals
from apps.expressions.contracts import Schema
from apps.integrations.contracts import FlowDefinition
from apps.quality.contracts import BrokenRule, RejectedRow

DUPLICATE_RULE = "duplicate_key"


class FinishLoad(StepType):
    """Brings the staged parts into the target."""

    type = "load.finish"

    def execute(self, context: StepContext) -> StepOutcome:
        """Merge or swap. The target's own marker makes a repetition return the first result."""
        plan = LoadPlan.from_json(context.outputs[OPEN]["plan"])
        definition = parse_definition(context.run.definition)
        results = collect_parts(plan, definition, context.outputs)
        ensure_loadable(context, plan, definition, results)
        writer = use_writer(context, plan)
        totals = staged_totals(writer, plan, definition, results)
        context.check()  # the last moment to notice a cancellation or a lost lease
        duplicates, duplicate_totals = quarantine_duplicates(context, plan, definition, writer, results)
        draft = _to_draft(plan, results)
        prior = find_prior(context.run, context.path, draft)
        effect = announce_effect(context, draft, prior, repeatable=writer.repeatable)
        with sending(context, effect):
            result: WriteResult = writer.finish(
                results.staged, allow_empty=plan.allow_empty, marker=str(context.run.id)
            )
        # The parts have counted these rows as accepted; only now is anything written.
        context.stats.rows_quarantined, context.stats.rows_accepted = duplicates, -duplicates
        context.stats.rows_written = results.staged_rows - duplicates
        counted = {name: getattr(result, name) for name in ("rows", "inserted", "updated", "unchanged", "deleted")}
        reference = f"load {result.load_id}" if result.load_id else ""
        return StepOutcome(
            output={
                "write_result": result.to_json(),
                "duplicates": duplicates,
                "duplicate_totals": duplicate_totals,
                "target_totals": totals,
            },
            detail=describe_result(result),
            commit=lambda: confirm_effect(effect.pk, counted, reference),
        )


def _to_draft(plan: LoadPlan, results: PartResults) -> EffectDraft:
    """What the target is told to do with the staged rows."""
    parts = [[part.part, part.rows, part.checksum] for part in results.staged]
    return EffectDraft(
        operation=str(plan.disposition),
        target=plan.target_entity,
        payload={"parts": parts, "keys": list(plan.keys)},
        connection=plan.target_connection,
        summary={"rows": results.staged_rows, "parts": len(parts), "keys": list(plan.keys)},
    )


def ensure_loadable(context: StepContext, plan: LoadPlan, definition: FlowDefinition, results: PartResults) -> None:
    """Refuse what must not reach the target.

    Raises:
        CountsDiffer: rows are unaccounted for.
        TooManyRejects: the share of rejected rows is above the flow's limit.
        EmptyExtract: nothing was read, and replacing the target would empty it.
    """
    accounted = results.accepted + results.quarantined + results.filtered
    if results.read != accounted or results.accepted != results.staged_rows:
        raise CountsDiffer(
            f"{results.read:,} rows were read, but {results.accepted:,} accepted + {results.quarantined:,} rejected +"
            f" {results.filtered:,} filtered = {accounted:,}, and {results.staged_rows:,} are staged."
        )
    limit = definition.limits.max_reject_share
    if limit is not None and results.read:
        share = Decimal(results.quarantined) / Decimal(results.read)
        if share > limit:
            raise TooManyRejects(
                f"{results.quarantined:,} of {results.read:,} rows ({share:.2%}) were rejected; the flow allows"
                f" {limit:.2%}. The target was left as it was."
            )
    replaces = plan.disposition == Disposition.REPLACE
    if replaces and results.accepted == 0 and not plan.allow_empty and context.run.kind == RunKind.LOAD:
        if results.read == 0:
            raise EmptyExtract()
        raise EmptyExtract(
            f"All {results.read:,} rows were rejected or filtered out, and replacing the target would have emptied it."
            " The target was left as it was."
        )


def quarantine_duplicates(
    context: StepContext, plan: LoadPlan, definition: FlowDefinition, writer: Writer, results: PartResults
) -> tuple[int, dict[str, str | None]]:
    """Rows that lose to a later row of the same key go to the quarantine; the source order decides.

    Returns:
        How many, and what they add up to on the target side.
    """
    if not plan.keys or not results.staged_rows:
        return 0, {}
    forget_rejected(context)
    count = 0
    schema = Schema.from_json(list(plan.target_fields))
    encoder = RejectEncoder(schema)
    meter: ControlMeter | None = None
    names = ", ".join(plan.keys)
    message = f"Another row of this load has the same key ({names}); the later one was loaded."
    reason = BrokenRule(DUPLICATE_RULE, plan.keys[0], "engine.duplicate_key", message)
    try:
        for batch in writer.duplicates(results.staged):
            rows = pa.Table.from_batches([batch])
            if rows.num_rows == 0:
                continue
            keep_rejected(context, _mark_staged(encoder.refuse(_known(rows, schema), reason)))
            meter = meter or target_meter(definition, schema.fields)
            meter.add(batch)
            count += rows.num_rows
            context.tick()
        totals = meter.totals() if meter is not None else {}
    finally:
        encoder.close()
        if meter is not None:
            meter.close()
    if count:
        context.log("warning", f"{count:,} rows share their key with a later row and went to the quarantine.")
    return count, totals


def _known(rows: pa.Table, schema: Schema) -> pa.Table:
    return rows.select([*(field.name for field in schema.fields if field.name in rows.column_names), ROW_ID])


def _mark_staged(rows: list[RejectedRow]) -> list[RejectedRow]:
    """These rows were mapped already: their payload is the target row, and the position says where it came from."""
    return [
        RejectedRow(row.row_id, row.payload, row.errors, f"{position_of(int(row.row_id))} (mapped)") for row in rows
    ]


def describe_result(result: WriteResult) -> str:
    """One line for people."""
    parts = [f"{result.inserted:,} inserted"]
    for name in ("updated", "unchanged", "deleted"):
        count = getattr(result, name)
        if count:
            parts.append(f"{count:,} {name}")
    return ", ".join(parts)

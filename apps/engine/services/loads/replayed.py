"""Quarantined rows as a source: corrected payloads, typed again, in batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import UUID

import pyarrow as pa
from django.db import connection

from apps.connectors.contracts import SOURCE_POSITION
from apps.engine.services.loads.plans import LoadPlan
from apps.expressions.services.inputs import to_arrow_rows
from apps.quality.contracts import BrokenRule, RejectedRow
from apps.quality.selectors import iter_replay_rows
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

BATCH_ROWS = 5_000


def read_replayed(
    run_id: UUID, tenant: Tenant, plan: LoadPlan, refuse: Callable[[list[RejectedRow]], None]
) -> Iterator[pa.RecordBatch]:
    """Rows that a replaying run was handed, as the source once gave them, corrections applied.

    Runs in a thread of its own, so it enters the tenant and closes the thread's connection itself.

    Args:
        run_id, tenant: whose rows.
        plan: columns and types of the source.
        refuse: called with rows whose values do not fit the source's types, before the batch they were in.
    """
    fields = plan.source_schema.fields
    position = 0
    try:
        with tenant_context(tenant):
            for rows in iter_replay_rows(run_id, batch_rows=BATCH_ROWS):
                table, problems = to_arrow_rows([row.values for row in rows], fields)
                positions = pa.array(range(position, position + len(rows)), pa.int64())
                refuse(
                    [
                        RejectedRow(
                            row_id=str(position + place),
                            payload=json.dumps(rows[place].values),
                            errors=(BrokenRule("conversion", None, "engine.source_value", problem),),
                            source_position=rows[place].source_position,
                        )
                        for place, problem in problems.items()
                    ]
                )
                position += len(rows)
                table = table.append_column(SOURCE_POSITION, positions)
                if problems:
                    table = table.filter(pa.array([place not in problems for place in range(len(rows))]))
                yield _to_batch(table)
    finally:
        connection.close()


def _to_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)

"""Steps that call an operation of a connection: read a few rows, ask a query, write a few rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import uuid5

from apps.connectors.choices import Disposition
from apps.connectors.contracts import EntitySchema, QueryRequest, ReadRequest, WriteRequest
from apps.connectors.contracts.reading import SOURCE_POSITION
from apps.engine.contracts import StepContext, StepOutcome
from apps.engine.exceptions import RowsInvalid
from apps.engine.services.loads.connections import use_connector
from apps.engine.services.processes.scopes import Scope, exact, to_json
from apps.engine.services.processes.steps import ProcessStepType
from apps.expressions.contracts import Field
from apps.expressions.services.inputs import to_arrow_rows
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.selectors import resolve_binding

ROWS_MOST = 1000


class ReadRows(ProcessStepType):
    """Reads the first rows of an entity."""

    type = "process.read"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{rows, count, more}."""
        config = step.config
        connector = use_connector(context, resolve_binding(context.run.environment_id, config["connection"]), "read")
        columns = config["columns"] or connector.describe(config["entity"]).names
        limit = config["limit"]
        batches = connector.read(
            ReadRequest(config["entity"], columns=tuple(columns), limit=limit + 1, batch_rows=limit + 1)
        )
        return _rows(context, batches, limit)


class QueryRows(ProcessStepType):
    """Asks a read-only statement in the system's own language, values handed over as parameters."""

    type = "process.query"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{rows, count, more}."""
        config = step.config
        connector = use_connector(context, resolve_binding(context.run.environment_id, config["connection"]), "read")
        limit = config["limit"]
        request = QueryRequest(
            text=config["text"],
            parameters=scope.evaluate(config["parameters"]),
            limit=limit + 1,
            batch_rows=limit + 1,
        )
        return _rows(context, connector.query(request), limit)


class WriteRows(ProcessStepType):
    """Writes a few rows in one transaction of the target, with a marker: repeated, it finds them written."""

    type = "process.write"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """What the target did."""
        config = step.config
        rows = scope.evaluate({"rows": config["rows"]})["rows"] or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RowsInvalid(f"{step.title}: the rows are not a list of objects.", field="rows")
        if len(rows) > ROWS_MOST:
            raise RowsInvalid(
                f"{step.title}: {len(rows):,} rows; at most {ROWS_MOST:,} are written by a step.",
                field="rows",
                remedy="Load such numbers of rows with a load flow.",
            )
        if not rows:
            return StepOutcome(output={"rows": 0, "inserted": 0, "updated": 0, "unchanged": 0}, detail="No rows.")
        names = {item["name"] for item in config["fields"]}
        unknown = sorted({name for row in rows for name in row} - names)
        if unknown:
            raise RowsInvalid(f"{step.title}: the rows have fields without a type: {', '.join(unknown)}.", field="rows")
        fields = [Field(item["name"], item["type"], item.get("nullable", True)) for item in config["fields"]]
        table, refused = to_arrow_rows([exact(row) for row in rows], fields)
        if refused:
            number, problem = next(iter(refused.items()))
            raise RowsInvalid(f"{step.title}: row {number + 1}: {problem}", field=f"rows[{number}]")
        connector = use_connector(context, resolve_binding(context.run.environment_id, config["connection"]), "write")
        context.tick(force=True)  # nothing is sent any more once the step belongs to somebody else
        writer = connector.open_writer(
            WriteRequest(
                entity=config["entity"],
                schema=EntitySchema.of(
                    config["entity"], [(item.name, item.type, item.nullable) for item in fields], keys=config["keys"]
                ),
                run_id=uuid5(context.run.id, context.path),
                disposition=Disposition(config["disposition"]),
                keys=tuple(config["keys"]),
                on_duplicate="refuse",
                description=f"{context.run.flow_name} {context.path}",
            )
        )
        part = writer.stage(table.to_batches(), part=context.fenced_part)
        result = writer.finish([part], allow_empty=False, marker=str(context.run.id))
        context.stats.rows_written = result.rows
        counters = ("rows", "inserted", "updated", "unchanged")
        return StepOutcome(
            output={name: getattr(result, name) for name in counters}, detail=f"{result.rows:,} rows written"
        )


def _rows(context: StepContext, batches: Iterable[Any], limit: int) -> StepOutcome:
    rows: list[dict[str, Any]] = []
    for batch in batches:
        context.tick()
        rows += batch.to_pylist()
        if len(rows) > limit:
            break
    more = len(rows) > limit
    kept = [{name: to_json(value) for name, value in row.items() if name != SOURCE_POSITION} for row in rows[:limit]]
    context.stats.rows_read = len(kept)
    detail = f"{len(kept):,} rows" + (", and there are more" if more else "")
    return StepOutcome(output={"rows": kept, "count": len(kept), "more": more}, detail=detail)

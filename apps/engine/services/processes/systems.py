"""Steps that call an operation of a connection: read a few rows, ask a query, write a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from apps.connectors.base import ConnectorBase
from apps.connectors.choices import Disposition
from apps.connectors.contracts import ROW_ID, EntitySchema, QueryRequest, ReadRequest, WriteRequest
from apps.connectors.contracts.reading import SOURCE_POSITION
from apps.connectors.services.sessions import open_connection
from apps.core.exceptions import PortalError
from apps.engine.contracts import EffectDraft, ParkedStep, StepContext, StepOutcome
from apps.engine.exceptions import RowsInvalid
from apps.engine.services.effects import (
    announce_effect,
    ask_people,
    confirm_effect,
    find_prior,
    repeat_outcome,
    sending,
    wake_decided,
)
from apps.engine.services.loads.connections import use_connector
from apps.engine.services.processes.scopes import Scope, exact, to_json
from apps.engine.services.processes.steps import ProcessStepType
from apps.expressions.contracts import Field
from apps.expressions.services.inputs import to_arrow_rows
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.selectors import resolve_binding

ROWS_MOST = 1000
KEYS_SHOWN = 20
COUNTERS = ("rows", "inserted", "updated", "unchanged")


class ReadRows(ProcessStepType):
    """Reads the first rows of an entity."""

    type = "process.read"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{rows, count, more}."""
        config = step.config
        limit = config["limit"]
        columns = tuple(config["columns"]) if config["columns"] else None
        request = ReadRequest(config["entity"], columns=columns, limit=limit + 1, batch_rows=limit + 1)
        with _opened(context, step, "read") as connector:
            return _rows(context, connector, connector.read(request), limit)


class QueryRows(ProcessStepType):
    """Asks a read-only statement in the system's own language, values handed over as parameters."""

    type = "process.query"

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{rows, count, more}."""
        config = step.config
        limit = config["limit"]
        request = QueryRequest(
            text=config["text"],
            parameters=scope.evaluate(config["parameters"]),
            limit=limit + 1,
            batch_rows=limit + 1,
        )
        with _opened(context, step, "read") as connector:
            return _rows(context, connector, connector.query(request), limit)


class WriteRows(ProcessStepType):
    """Writes a few rows in one transaction of the target, with a marker: repeated, it finds them written.

    A system without transactions gets the same idempotency keys again: they come from the ledger's key and the row, not
    from the attempt or the worker. One that honours no keys is not asked twice: a person says what has happened.
    """

    type = "process.write"

    def draft(self, step: ProcessStep, scope: Scope) -> EffectDraft:
        """The rows as they would be sent."""
        config = step.config
        rows = scope.evaluate({"rows": config["rows"]})["rows"] or []
        connection = resolve_binding(scope.run.environment_id, config["connection"])
        count = len(rows) if isinstance(rows, list) else 0
        return EffectDraft(
            operation=config["disposition"],
            target=config["entity"],
            payload={"rows": rows, "fields": config["fields"], "keys": list(config["keys"])},
            business_key=_business_key(rows, config["keys"]),
            connection=connection,
            summary={
                "rows": count,
                "fields": [item["name"] for item in config["fields"]],
                "system": config["connection"],
            },
        )

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """What the target did."""
        config = step.config
        draft = self.draft(step, scope)
        rows = draft.payload["rows"]
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
        prior = find_prior(context.run, context.path, draft)
        if prior.confirmed is not None:
            return repeat_outcome(context, draft, prior.confirmed)
        numbered = table.append_column(ROW_ID, pa.array(range(table.num_rows), pa.int64()))
        request = WriteRequest(
            entity=config["entity"],
            schema=EntitySchema.of(
                config["entity"], [(item.name, item.type, item.nullable) for item in fields], keys=config["keys"]
            ),
            run_id=prior.key,
            disposition=Disposition(config["disposition"]),
            keys=tuple(config["keys"]),
            on_duplicate="refuse",
            description=f"{context.run.flow_name} {context.path}",
        )
        with _opened(context, step, "write") as connector:
            writer = connector.open_writer(request)
            if prior.open is not None and not writer.repeatable:
                return ask_people(context, draft, prior)
            # From here on nothing is sent once the step belongs to somebody else, and what is sent is known.
            effect = announce_effect(context, draft, prior, repeatable=writer.repeatable)
            with sending(context, effect):
                part = writer.stage(numbered.to_batches(), part=context.fenced_part)
                if part.rejected:
                    first = part.rejected[0]
                    raise RowsInvalid(
                        f"{step.title}: the system refused {len(part.rejected):,} of {table.num_rows:,} rows; "
                        f"row {first.position + 1}: {first.message}",
                        field=f"rows[{first.position}]",
                        remedy="Correct the rows; those that were taken are not sent twice when the run is resumed.",
                        taken=part.rows,
                    )
                result = writer.finish([part], allow_empty=False, marker=str(context.run.id))
        context.stats.rows_written = result.rows
        output = {name: getattr(result, name) for name in COUNTERS}
        reference = str(result.facts.get("reference") or (f"load {result.load_id}" if result.load_id else ""))
        return StepOutcome(
            output=output,
            detail=f"{result.rows:,} rows written",
            commit=lambda: confirm_effect(effect.pk, output, reference),
        )

    def wake(self, step: ParkedStep) -> StepOutcome | None:
        """What a person said of rows that may have been written."""

        def output(rows: int) -> dict[str, int]:
            return {"rows": rows, "inserted": rows, "updated": 0, "unchanged": 0}

        return wake_decided(step, lambda effect: output(effect.summary["rows"]))


def _business_key(rows: Any, keys: Sequence[str]) -> str:
    """Values of the key columns, as the people of the target call its records."""
    if not keys or not isinstance(rows, list):
        return ""
    known = [row for row in rows if isinstance(row, Mapping)]
    shown = ["/".join(f"{key}={row.get(key)}" for key in keys) for row in known[:KEYS_SHOWN]]
    more = len(known) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more > 0 else [])])


@contextmanager
def _opened(context: StepContext, step: ProcessStep, purpose: str) -> Iterator[ConnectorBase]:
    """The step's system. With a time limit it has a connection of its own, on which nothing outlasts that limit."""
    connection_id = resolve_binding(context.run.environment_id, step.config["connection"])
    if step.timeout_s is None:
        yield use_connector(context, connection_id, purpose)
        return
    context.tick()
    try:
        with open_connection(connection_id, purpose, time_limit_s=context.remaining_s()) as connector:
            yield connector
    except PortalError:
        context.tick()  # what ended because the time was over is a timeout, whatever the system says
        raise


def _rows(context: StepContext, connector: ConnectorBase, batches: Iterable[Any], limit: int) -> StepOutcome:
    known = len(connector.rejected)
    rows: list[dict[str, Any]] = []
    for batch in batches:
        context.tick()
        rows += batch.to_pylist()
        if len(rows) > limit:
            break
    refused = connector.rejected[known:]
    if refused:
        raise RowsInvalid(
            f"{len(refused):,} rows cannot be read; the first is row {refused[0].position + 1}: {refused[0].message}",
            remedy="Correct the rows in the system, or name only columns that can be read.",
        )
    more = len(rows) > limit
    kept = [{name: to_json(value) for name, value in row.items() if name != SOURCE_POSITION} for row in rows[:limit]]
    context.stats.rows_read = len(kept)
    detail = f"{len(kept):,} rows" + (", and there are more" if more else "")
    return StepOutcome(output={"rows": kept, "count": len(kept), "more": more}, detail=detail)

"""A source system with a flow that loads it, as most tests of loads need it."""

from __future__ import annotations

from typing import Any

from apps.engine.choices import RunStatus
from apps.engine.models import Run, RunLog
from apps.engine.services.executing import work_on_run
from apps.engine.services.runs import StartRequest, start_run
from apps.integrations.services.drafts import update_draft
from apps.tenancy.models import Tenant
from tests.engine.factories import SYSTEM, flow_definition, make_flow
from tests.engine.systems import make_database_connection, make_source_table, target_rows, unique_name

POSITIVE = {
    "id": "positive",
    "expression": "total >= 0",
    "message": "Total must not be negative",
    "field": "total",
    "severity": "quarantine",
}
TOTAL = {"name": "Total", "source": "total", "target": "total", "aggregate": "sum", "tolerance": "0.00"}


class Erp:
    """A source table, a flow that loads it, and its runs."""

    def __init__(self, tenant: Tenant, rows: int = 0, *, shared: bool = False, **definition: Any) -> None:
        self.tenant = tenant
        self.table = make_source_table(rows, shared=shared)
        self.target = unique_name("t")
        self.connection = make_database_connection()
        self.flow = make_flow(self.define(**definition))

    def define(self, **definition: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "source": self.connection.slug,
            "entity": f"public.{self.table}",
            "target": self.target,
            "controls": [TOTAL],
            **definition,
        }
        return flow_definition(**values)

    def redefine(self, **definition: Any) -> None:
        self.flow.refresh_from_db()
        self.flow = update_draft(
            self.flow.pk, self.define(**definition), expected_revision=self.flow.draft_revision, actor=SYSTEM
        )

    def start(self, **request: Any) -> Run:
        return start_run(StartRequest(self.flow.pk, "dev", version="draft", **request), actor=SYSTEM)

    def load(self, **request: Any) -> Run:
        run = self.start(**request)
        work_on_run(run.pk)
        run.refresh_from_db()
        return run

    def loaded(self, **request: Any) -> Run:
        run = self.load(**request)
        assert run.status == RunStatus.SUCCEEDED, run.error
        return run

    def rows(self, columns: str = "count(*), count(DISTINCT id), sum(total)") -> list[tuple[Any, ...]]:
        return target_rows(self.tenant, self.target, columns)

    def log(self, run: Run) -> str:
        return "\n".join(RunLog.objects.filter(run=run).order_by("seq").values_list("message", flat=True))

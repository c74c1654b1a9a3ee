"""Correcting a quarantined row runs it through the rules that hold now."""

from __future__ import annotations

import pytest

from apps.core.ids import uuid7
from apps.integrations.selectors import get_environment, get_version
from apps.integrations.services.deployments import deploy_version
from apps.quality.contracts import BrokenRule, QuarantineContext, RejectedRow
from apps.quality.exceptions import CorrectionInvalid
from apps.quality.models import QuarantinedRow
from apps.quality.services.quarantine import correct_row
from apps.quality.services.rejection import quarantine_rows_bulk
from tests.integrations.factories import BEN, make_definition, make_flow, make_version
from tests.integrations.memory import MemoryConnector

BROKEN = BrokenRule("positive_total", "total", "expressions.row.rule", "Total must not be negative")
PAYLOAD = {
    "id": 3, "customer": None, "total": "-5.00", "lines": 1, "due": None,
    "updated_at": "2026-01-03T00:00:00+00:00", "paid": None,
}  # fmt: skip


def reject(flow, version_id=None):
    """A rejected row of the flow in dev."""
    context = QuarantineContext(uuid7(), flow.pk, version_id, get_environment("dev").id)
    quarantine_rows_bulk(context, [RejectedRow("3", PAYLOAD, (BROKEN,))])
    return QuarantinedRow.objects.get(run_id=context.run_id)


def problems(row, corrected):
    """(path, code) of what is still broken."""
    with pytest.raises(CorrectionInvalid) as refused:
        correct_row(row.pk, corrected, actor=BEN)
    return [(problem.path, problem.code) for problem in refused.value.problems]


def test_a_row_of_a_draft_is_checked_by_the_draft(erp):
    row = reject(make_flow())
    assert problems(row, {"total": "-1.00"}) == [("corrected.total", "expressions.row.rule")]
    assert correct_row(row.pk, {"total": "5.00"}, actor=BEN).status == "corrected"


def test_the_deployed_version_wins_over_the_one_that_rejected(erp):
    flow = make_flow()
    make_version(flow)
    strict = [{"id": "big", "expression": "total > 100", "message": "Too small", "field": "total"}]
    make_version(flow, make_definition(map__validations=strict))
    row = reject(flow, get_version(flow.pk, 1).id)
    deploy_version(flow.pk, environment="dev", version=2, actor=BEN)
    assert problems(row, {"total": "5.00"}) == [("corrected.total", "expressions.row.rule")]
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    assert correct_row(row.pk, {"total": "5.00"}, actor=BEN).status == "corrected"


def test_a_value_of_the_wrong_type_is_named(erp):
    flow = make_flow()
    make_version(flow)
    row = reject(flow)
    found = problems(row, {"total": "five", "lines": "1.5"})
    assert found == [("corrected.total", "expressions.row.input"), ("corrected.lines", "expressions.row.input")]


def test_a_row_that_the_filter_leaves_out_is_refused(erp):
    row = reject(make_flow(definition=make_definition(map__filter="total > 100")))
    assert problems(row, {"total": "5.00"}) == [("corrected", "quality.filtered")]


def test_the_check_works_while_the_source_is_down(erp):
    flow = make_flow()
    make_version(flow)
    deploy_version(flow.pk, environment="dev", version=1, actor=BEN)
    row = reject(flow)
    MemoryConnector.down = True
    assert correct_row(row.pk, {"total": "5.00"}, actor=BEN).status == "corrected"


def test_an_incomplete_draft_says_so(erp):
    flow = make_flow(definition=make_definition(source__entity=""))
    assert problems(reject(flow), {"total": "5.00"}) == [("corrected", "integrations.definition_invalid")]

"""Quarantined rows tried again: corrected payloads through the same mapping and keys, handed over and given back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from apps.engine.choices import RunStatus
from apps.engine.exceptions import RunNotControllable
from apps.engine.models import Run
from apps.engine.services.controlling import cancel_run, resume_run
from apps.engine.services.executing import work_on_run
from apps.engine.services.replays import ReplayRequest, start_replay_run
from apps.quality.exceptions import SelectionEmpty
from apps.quality.models import QuarantinedRow
from apps.quality.selectors import find_reconciliation
from apps.quality.services.quarantine import correct_row
from apps.tenancy.models import Tenant
from tests.engine.erp import POSITIVE, Erp
from tests.engine.factories import SYSTEM
from tests.engine.systems import execute

pytestmark = pytest.mark.committed


def replay(**selection: Any) -> Run:
    run = start_replay_run(ReplayRequest(**selection), actor=SYSTEM)
    work_on_run(run.pk)
    run.refresh_from_db()
    return run


def with_three_rejects(erp: Callable[..., Erp], **definition: Any) -> tuple[Erp, Run, list[QuarantinedRow]]:
    source = erp(100, validations=[POSITIVE], **definition)
    execute(f"UPDATE public.{source.table} SET total = -total WHERE id IN (7, 8, 9)")
    run = source.loaded()
    return source, run, list(QuarantinedRow.objects.filter(run_id=run.pk).order_by("payload__id"))


@pytest.mark.parametrize("disposition", ["upsert", "replace", "append"])
def test_corrected_row_joins_the_others(erp: Callable[..., Erp], disposition: str) -> None:
    source, _, rows = with_three_rejects(erp, disposition=disposition, keys=[] if disposition == "append" else ["id"])
    correct_row(rows[0].pk, {"total": "12345678901234.56"}, note="typing error", actor=SYSTEM)
    run = replay(ids=(rows[0].pk,))
    assert run.status == RunStatus.SUCCEEDED, run.error
    assert (run.kind, run.rows_read, run.rows_accepted) == ("replay", 1, 1)
    found = dict(source.rows("id, total"))
    assert len(found) == 98
    assert found[7] == Decimal("12345678901234.56")
    rows[0].refresh_from_db()
    assert (rows[0].status, rows[0].replay_run_id) == ("replayed", run.pk)
    reconciliation = find_reconciliation(run.pk)
    assert reconciliation is not None
    assert reconciliation.status == "green", reconciliation.reasons


def test_row_that_is_rejected_again_becomes_a_new_one(erp: Callable[..., Erp]) -> None:
    source, first, _rows = with_three_rejects(erp)
    run = replay(run_id=first.pk)
    assert run.status == RunStatus.SUCCEEDED
    assert (run.rows_read, run.rows_quarantined, run.rows_accepted) == (3, 3, 0)
    assert source.rows("count(*)") == [(97,)]
    assert QuarantinedRow.objects.filter(run_id=run.pk, status="open").count() == 3
    assert set(QuarantinedRow.objects.filter(run_id=first.pk).values_list("status", flat=True)) == {"replayed"}


def test_value_that_no_longer_fits_the_source_s_type_is_named(erp: Callable[..., Erp]) -> None:
    _, _, rows = with_three_rejects(erp)
    QuarantinedRow.objects.filter(pk=rows[0].pk).update(corrected={"total": "much"}, status="corrected")
    run = replay(ids=(rows[0].pk,))
    assert (run.rows_read, run.rows_quarantined) == (1, 1)
    again = QuarantinedRow.objects.get(run_id=run.pk)
    assert "total" in again.errors[0]["message"]


def test_cancelled_replay_gives_its_rows_back(erp: Callable[..., Erp]) -> None:
    _, first, rows = with_three_rejects(erp)
    run = start_replay_run(ReplayRequest(run_id=first.pk), actor=SYSTEM)
    with pytest.raises(SelectionEmpty):
        start_replay_run(ReplayRequest(run_id=first.pk), actor=SYSTEM)  # they are taken
    assert cancel_run(run.pk, actor=SYSTEM).status == RunStatus.CANCELLED
    assert set(QuarantinedRow.objects.filter(run_id=first.pk).values_list("status", flat=True)) == {"open"}
    with pytest.raises(RunNotControllable):
        resume_run(run.pk, actor=SYSTEM)
    assert replay(ids=tuple(row.pk for row in rows)).status == RunStatus.SUCCEEDED


def test_repaired_mapping_lets_the_rows_in(erp: Callable[..., Erp]) -> None:
    source, first, _ = with_three_rejects(erp)
    from apps.integrations.services.deployments import deploy_version
    from apps.integrations.services.flows import publish_flow

    fields = [
        {"target": "id", "type": "BIGINT", "expression": "id", "nullable": False},
        {"target": "total", "type": "DECIMAL(18,2)", "expression": "abs(total)", "nullable": True},
    ]
    source.redefine(fields=fields)
    version = publish_flow(source.flow.pk, actor=SYSTEM).version
    deploy_version(source.flow.pk, environment="dev", version=version.number, actor=SYSTEM)
    run = replay(run_id=first.pk)
    assert (run.version_number, run.rows_accepted) == (version.number, 3)
    assert source.rows("count(*)") == [(100,)]


def test_replay_by_rest_needs_both_rights_and_stays_in_its_tenant(
    erp: Callable[..., Erp],
    api_for: Callable[..., Any],
    committed_acme: Tenant,
    committed_globex: Tenant,
) -> None:
    _, first, rows = with_three_rejects(erp)
    body = {"ids": [str(rows[0].pk)]}
    assert api_for(committed_globex).post("/api/v2/quarantine/replay", body).status_code == 404
    assert api_for(committed_globex).post("/api/v2/quarantine/replay", {"run": str(first.pk)}).status_code == 422
    for rights in (("run:start",), ("quarantine:edit",)):
        answer = api_for(committed_acme, permissions=rights).post("/api/v2/quarantine/replay", body)
        assert answer.status_code == 403
    assert api_for(committed_acme).post("/api/v2/quarantine/replay", {}).status_code == 422
    answer = api_for(committed_acme, roles=("operator",)).post("/api/v2/quarantine/replay", body)
    assert answer.status_code == 202, answer.content
    assert (answer.json()["kind"], answer.json()["trigger"]) == ("replay", "replay")
    work_on_run(answer.json()["id"])

"""Process steps against real systems: PostgreSQL, the warehouse, an HTTP API; faults, time limits, loads as steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from django.db.models.functions import Now

from apps.connectors.services.connections import create_connection
from apps.engine.choices import RunStatus
from apps.engine.models import Run, StepResult
from apps.engine.services.controlling import resume_run
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.connectors.rest_server import ApiServer, serve
from tests.engine.erp import Erp
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, start, statuses, step, work
from tests.engine.systems import (
    drop_table,
    execute,
    make_database_connection,
    make_source_table,
    target_exists,
    target_rows,
    unique_name,
)

pytestmark = pytest.mark.committed
NO_WAIT = {"max_attempts": 3, "base_s": 0, "cap_s": 0, "jitter": 0}
ONCE = {"max_attempts": 1}
FIELDS = [{"name": "id", "type": "BIGINT", "nullable": False}, {"name": "total", "type": "DECIMAL(18,2)"}]
ROWS = "[{'id': 1, 'total': 10.25}, {'id': 2, 'total': 0.1}]"


@pytest.fixture
def invoices(committed_acme: Tenant) -> Iterator[Any]:
    """Slug of a connection to PostgreSQL, and a table of five invoices there, inside acme."""
    table = make_source_table(5)
    with tenant_context(committed_acme):
        yield make_database_connection().slug, f"public.{table}"
    drop_table(table)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """An HTTP API on this machine."""
    with serve() as server:
        yield server


@pytest.fixture
def rest(api: ApiServer, committed_acme: Tenant) -> Iterator[Callable[..., str]]:
    """Makes a connection to the API, inside acme; gives its slug."""

    def connect(*resources: dict[str, Any], **config: Any) -> str:
        slug = unique_name("api").replace("_", "-")
        settings = {"base_url": api.base_url, "requests_per_second": 1000, "resources": list(resources), **config}
        create_connection(name=slug, slug=slug, connector="rest", config=settings, secrets={}, actor=SYSTEM)
        return slug

    with tenant_context(committed_acme):
        yield connect


def write(connection: str, entity: str, rows: str = ROWS, /, **envelope: Any) -> Any:
    config = {"connection": connection, "entity": entity, "rows": rows, "fields": FIELDS, "disposition": "append"}
    config.update(envelope.pop("config", {}))
    return step("put", "write", config=config, **envelope)


def attempts(started: Run, path: str) -> list[tuple[str, str]]:
    found = StepResult.objects.filter(run=started, path=path).order_by("attempt")
    return [(one.status, (one.error or {}).get("code", "")) for one in found]


def test_read_and_query_give_exact_rows(invoices: Any) -> None:
    connection, table = invoices
    text = f"SELECT id, total FROM {table} WHERE total >= %(least)s ORDER BY id"
    done = run(
        process(
            step("few", "read", config={"connection": connection, "entity": table, "columns": ["id"], "limit": 2}),
            step("big", "query", config={"connection": connection, "text": text, "parameters": {"least": "input.x"}}),
            output={"more": "steps.few.output.more", "sum": "list_sum([r.total for r in steps.big.output.rows])"},
        ),
        {"x": 0.03},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    few, big = outputs(done)["few"], outputs(done)["big"]
    assert (few["count"], few["more"], [set(row) for row in few["rows"]]) == (2, True, [{"id"}, {"id"}])
    assert (big["count"], big["more"], [row["id"] for row in big["rows"]]) == (3, False, [3, 4, 5])
    assert done.result == {"more": True, "sum": 0.12}


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("read", {"entity": "public.is_not_there"}),
        ("query", {"text": "SELECT nothing FROM nowhere"}),
        ("query", {"text": "DELETE FROM pg_class"}),
        ("query", {"text": "SELECT 1) t; SELECT (1"}),
        ("query", {"text": "SELECT 1 / (3 - i) AS x FROM generate_series(1, 5) i"}),
    ],
    ids=["no-table", "no-column", "no-select", "two-statements", "while-rows-stream"],
)
def test_what_the_system_refuses_is_the_steps_error_with_a_code(invoices: Any, kind: str, config: Any) -> None:
    done = run(process(step("ask", kind, config={"connection": invoices[0], **config}, retry=NO_WAIT)))
    assert (done.status, len(attempts(done, "ask"))) == (RunStatus.FAILED, 1), "no fault that passes"
    assert done.error["code"].startswith("connectors."), done.error
    assert done.error["step"] == "ask"


def test_slow_statement_is_ended_in_time_and_tried_again(invoices: Any) -> None:
    config = {"connection": invoices[0], "text": "SELECT pg_sleep(60)"}
    began = time.monotonic()
    done = run(process(step("ask", "query", config=config, timeout_s=0.5, retry={**NO_WAIT, "max_attempts": 2})))
    assert time.monotonic() - began < 20
    assert done.status == RunStatus.FAILED
    assert attempts(done, "ask") == [("failed", "engine.step.timeout")] * 2


def test_slow_api_is_left_in_time(api: ApiServer, rest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.json_response([])

    monkeypatch.setattr(api, "get_plain", hang)
    config = {"connection": rest({"name": "invoices", "path": "plain"}), "entity": "invoices"}
    began = time.monotonic()
    handled = step("get", "read", config=config, timeout_s=0.5, retry=ONCE, on_error="continue")
    done = run(process(handled, output={"code": "steps.get.error.code"}))
    assert time.monotonic() - began < 20
    assert done.result == {"code": "engine.step.timeout"}


def test_api_that_is_always_busy_does_not_outlast_the_step(api: ApiServer, rest: Any) -> None:
    api.failures, api.retry_after = [503] * 50, "30"
    config = {"connection": rest({"name": "invoices", "path": "plain"}), "entity": "invoices"}
    began = time.monotonic()
    done = run(process(step("get", "read", config=config, timeout_s=0.5, retry=ONCE)))
    assert time.monotonic() - began < 20
    assert done.error["code"] == "engine.step.timeout"


def test_api_is_read_with_exact_amounts(rest: Any) -> None:
    config = {"connection": rest({"name": "invoices", "path": "plain"}), "entity": "invoices", "limit": 2}
    done = run(process(step("get", "read", config=config)))
    assert done.status == RunStatus.SUCCEEDED, done.error
    found = outputs(done)["get"]
    assert [(row["id"], row["total"], row["customer"]["name"]) for row in found["rows"]] == [
        (1, 1.1, "Customer 1"),
        (2, 2.1, "Customer 2"),
    ]
    assert found["more"] is True


def test_rows_that_cannot_be_read_are_not_left_out(rest: Any) -> None:
    config = {"connection": rest({"name": "uneven", "path": "uneven"}), "entity": "uneven", "limit": 1000}
    done = run(process(step("get", "read", config=config)))
    assert done.error["code"] == "engine.process.rows_invalid"
    assert "row 551" in done.error["message"]


def test_passing_fault_of_the_api_is_tried_again(api: ApiServer, rest: Any) -> None:
    api.failures = [503] * 6  # one more than the connector tries by itself
    config = {"connection": rest({"name": "invoices", "path": "plain"}), "entity": "invoices"}
    done = run(process(step("get", "read", config=config, retry=NO_WAIT)))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert attempts(done, "get") == [("failed", "connectors.unavailable"), ("succeeded", "")]


def test_write_appends_exact_rows_once_and_upserts(committed_acme: Tenant) -> None:
    target = unique_name("w")
    with tenant_context(committed_acme):
        done = run(process(write("warehouse", target)))
        assert done.status == RunStatus.SUCCEEDED, done.error
        assert outputs(done)["put"] == {"rows": 2, "inserted": 2, "updated": 0, "unchanged": 0}
        assert [tuple(map(str, row)) for row in target_rows(committed_acme, target, "id, total")] == [
            ("1", "10.25"),
            ("2", "0.10"),
        ]
        keyed = unique_name("w")
        upsert = {"disposition": "upsert", "keys": ["id"]}
        run(process(write("warehouse", keyed, config=upsert)))
        changed = "[{'id': 1, 'total': 10.25}, {'id': 2, 'total': 7}, {'id': 3, 'total': 1}]"
        again = run(process(write("warehouse", keyed, changed, config=upsert)))
        assert outputs(again)["put"] == {"rows": 3, "inserted": 1, "updated": 1, "unchanged": 1}


@pytest.mark.parametrize(
    ("rows", "config"),
    [
        ("[{'id': 1, 'total': 'much'}]", {}),
        ("[{'id': NULL, 'total': 1.0}]", {}),
        ("[{'id': 1, 'amount': 1.0}]", {}),
        ("[1, 2]", {}),
        ("[{'id': 1, 'total': 1}, {'id': 1, 'total': 2}]", {"disposition": "upsert", "keys": ["id"]}),
    ],
    ids=["no-number", "null", "unknown-field", "no-objects", "same-key-twice"],
)
def test_rows_that_do_not_fit_are_written_nowhere(committed_acme: Tenant, rows: str, config: Any) -> None:
    target = unique_name("w")
    with tenant_context(committed_acme):
        done = run(process(write("warehouse", target, rows, config=config, retry=NO_WAIT)))
        assert (done.status, len(attempts(done, "put"))) == (RunStatus.FAILED, 1)
        assert done.error["code"] != "engine.step.unexpected", done.error
    assert not target_exists(committed_acme, target)


def test_step_repeated_after_its_rows_were_written_finds_them(committed_acme: Tenant) -> None:
    """What a crash between the write and the step's record leaves: rows and marker are there, the outcome is not."""
    target = unique_name("w")
    with tenant_context(committed_acme):
        done = run(process(write("warehouse", target), step("after", config={"constants": {"x": 1}})))
        first = outputs(done)["put"]
        StepResult.objects.filter(run=done).exclude(path="put").delete()
        StepResult.objects.filter(run=done).update(status="ready", output=None, ended_at=None, due_at=Now())
        Run.objects.filter(pk=done.pk).update(status="running", ended_at=None, result=None)
        assert work(done).status == RunStatus.SUCCEEDED, done.error
        assert outputs(done)["put"] == first
    assert target_rows(committed_acme, target, "count(*)") == [(2,)]


def test_write_to_an_api_sends_each_row_once_and_names_the_refused(api: ApiServer, rest: Any) -> None:
    connection = rest({"name": "orders", "path": "orders"})
    done = run(process(write(connection, "orders")))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert sorted(one["id"] for _, _, one in api.written.values()) == [1, 2]
    refused = start(process(write(connection, "orders", "[{'id': 3, 'total': 1.5}, {'id': 4, 'total': -1.5}]")))
    assert work(refused).status == RunStatus.FAILED
    assert refused.error["code"] == "engine.process.rows_invalid"
    assert "row 2: total must not be negative" in refused.error["message"]
    resume_run(refused.pk, actor=SYSTEM)
    work(refused)
    assert sorted(one["id"] for _, _, one in api.written.values()) == [1, 2, 3], "the resume sent the same keys"


def deployed(erp: Erp) -> str:
    version = publish_flow(erp.flow.pk, actor=SYSTEM).version
    deploy_version(erp.flow.pk, environment="dev", version=version.number, actor=SYSTEM)
    return str(erp.flow.slug)


def test_load_step_waits_for_its_load_and_gives_its_counts(erp: Callable[..., Erp]) -> None:
    source = erp(120)
    parent = run(process(step("load", "load", config={"flow": deployed(source)}), output={"n": "steps.load.output"}))
    assert (parent.status, statuses(parent)) == (RunStatus.WAITING, {"load": "parked"})
    assert work(Run.objects.get(parent=parent)).status == RunStatus.SUCCEEDED
    assert work(parent).status == RunStatus.SUCCEEDED, parent.error
    counts = outputs(parent)["load"]
    assert (counts["rows_read"], counts["rows_written"], counts["status"]) == (120, 120, "succeeded")
    assert source.rows()[0][:2] == (120, 120)


def test_load_that_runs_already_is_waited_for_by_retrying(erp: Callable[..., Erp]) -> None:
    source = erp(10)
    slug = deployed(source)
    first = source.start()
    parent = run(process(step("load", "load", config={"flow": slug}, retry=NO_WAIT, on_error="continue")))
    assert attempts(parent, "load") == [("failed", "engine.process.sub_run_busy")] * 3
    work(first)
    again = run(process(step("load", "load", config={"flow": slug, "wait": False})))
    assert again.status == RunStatus.SUCCEEDED
    assert work(Run.objects.get(parent=again)).status == RunStatus.SUCCEEDED


def test_failed_load_fails_the_step_with_its_reason(erp: Callable[..., Erp]) -> None:
    source = erp(10)
    slug = deployed(source)
    execute(f"DROP TABLE public.{source.table}")
    parent = run(process(step("load", "load", config={"flow": slug}, on_error="continue")))
    assert work(Run.objects.get(parent=parent)).status == RunStatus.FAILED
    assert work(parent).status == RunStatus.SUCCEEDED
    assert attempts(parent, "load") == [("failed", "engine.process.sub_run_failed")]


def test_connection_of_another_tenant_is_not_found(invoices: Any, committed_globex: Tenant) -> None:
    connection, table = invoices
    with tenant_context(committed_globex):
        done = run(process(step("ask", "read", config={"connection": connection, "entity": table})))
        assert done.status == RunStatus.FAILED
        assert outputs(done)["ask"] is None

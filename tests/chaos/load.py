"""Runs of a process under faults: what was promised, what the database noted, and what must be true in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db import InterfaceError, OperationalError, connection

from apps.engine.choices import ENDED_RUN_STATUSES, RunStatus
from apps.engine.models import Run, RunLog, StepResult
from apps.engine.services.runs import StartRequest, start_run
from apps.events.models import Event
from apps.tenancy.models import Tenant
from tests.chaos.history import History
from tests.engine.factories import SYSTEM, make_flow
from tests.engine.process_factories import process, run, step, value
from tests.engine.systems import execute, target_rows, unique_name

FIELDS = [{"name": "id", "type": "BIGINT"}, {"name": "run", "type": "BIGINT"}]
END_TIMEOUT_S = 600


def wait_for(check: Callable[[], Any], what: str, *, timeout_s: float = 60.0, every_s: float = 0.02) -> Any:
    """Wait until the check gives something true."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s for {what}")
        time.sleep(every_s)
    return found


def insisting(work: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
    """The work's result, asked for again while the database is away."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(0.1)


@contextmanager
def noting(tenant: Tenant) -> Iterator[Notes]:
    """While the block runs, the database notes every claim and every outcome of the tenant's steps."""
    table = f"public.{unique_name('notes')}"
    steps = f'"{tenant.schema_name}".engine_stepresult'
    execute(
        f"CREATE TABLE {table} (number bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT clock_timestamp(),"
        " began timestamptz DEFAULT now(),"
        " what text, run uuid, path text, attempt int, status text, epoch int, owner text)"
    )
    execute(f"GRANT INSERT, SELECT ON {table} TO PUBLIC")
    execute(
        f"CREATE FUNCTION {table}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" INSERT INTO {table} (what, run, path, attempt, status, epoch, owner) VALUES"
        " (TG_ARGV[0], NEW.run_id, NEW.path, NEW.attempt, NEW.status, NEW.lease_epoch, NEW.lease_owner);"
        " RETURN NULL; END $$"
    )
    ended = "NEW.status IN ('succeeded', 'failed', 'skipped', 'cancelled') AND NEW.ended_at IS NOT NULL"
    claimed = "NEW.status = 'running' AND OLD.lease_epoch <> NEW.lease_epoch"
    for name, moments, condition in (
        ("outcome", "INSERT OR UPDATE OF status, output", ended),
        ("claim", "UPDATE OF lease_epoch", claimed),
        ("parked", "INSERT OR UPDATE OF status", "NEW.status = 'parked'"),
    ):
        execute(
            f"CREATE TRIGGER chaos_{name} AFTER {moments} ON {steps} FOR EACH ROW WHEN ({condition})"
            f" EXECUTE FUNCTION {table}_note('{name}')"
        )
    try:
        yield Notes(table)
    finally:
        for name in ("outcome", "claim", "parked"):
            execute(f"DROP TRIGGER chaos_{name} ON {steps}")
        execute(f"DROP FUNCTION {table}_note()")
        execute(f"DROP TABLE {table}")


class Notes:
    """What the database noted."""

    def __init__(self, table: str) -> None:
        self.table = table

    def of(self, what: str, *columns: str, runs: Sequence[UUID] = ()) -> list[tuple[Any, ...]]:
        """These columns of the notes of one sort, oldest first."""
        only = " AND run = ANY(%(runs)s)" if runs else ""
        statement = f"SELECT {', '.join(columns)} FROM {self.table} WHERE what = %(what)s{only} ORDER BY number"
        found: list[tuple[Any, ...]] = insisting(lambda: execute(statement, {"what": what, "runs": list(runs)}))
        return found

    def count(self) -> int:
        """Outcomes so far."""
        return int(insisting(lambda: execute(f"SELECT count(*) FROM {self.table} WHERE what = 'outcome'"))[0][0])


def database_now() -> datetime:
    """The database's clock."""
    found: datetime = insisting(lambda: execute("SELECT clock_timestamp()"))[0][0]
    return found


class ProcessLoad:
    """Runs that compute, write a row and publish for each of their items."""

    def __init__(
        self, tenant: Tenant, notes: Notes, history: History, *, items: int, wide: int = 4, hold_s: float = 0.0
    ) -> None:
        """Prepare.

        Args:
            items: of each run; four steps each, and the loop, its end and the output for each run.
            wide: items of one run that are worked on at once.
            hold_s: a fifth step for each item keeps its worker waiting for so long.
        """
        self.tenant, self.notes, self.history, self.items = tenant, notes, history, items
        self.ids = ("twice", *(["hold"] if hold_s else []), "put", "tell", "more")
        self.target, self.event = unique_name("chaos"), unique_name("told").lower()
        self.runs: list[UUID] = []
        put = {"connection": "warehouse", "entity": self.target, "fields": FIELDS, "disposition": "append"}
        rows = "[{'id': item, 'run': input.n}]"
        first = {**put, "rows": "[{'id': -1, 'run': -1}]"}
        run(process(step("put", "write", config=first)))  # the table is there before many write into it side by side
        tell = {"event": self.event, "correlation": "input.n", "data": {"n": "input.n", "item": "item"}}
        hold = {"connection": "warehouse", "text": f"SELECT 1 AS one FROM pg_sleep({hold_s})"}
        steps = [
            value("twice", n="item * 2"),
            *([step("hold", "query", config=hold)] if hold_s else []),
            step("put", "write", config={**put, "rows": rows}),
            step("tell", "publish", config=tell),
            value("more", n="steps.twice.output.n + 1"),
        ]
        each = {"items": "input.items", "concurrency": wide, "steps": steps}
        self.flow = make_flow(
            process(
                step("each", "foreach", config=each),
                output={"sum": "list_sum([r.n for r in steps.each.output.results])"},
            )
        )

    def start(self, count: int) -> None:
        """So many more runs; each is promised when the call has returned."""
        for _ in range(count):
            number = len(self.runs)
            given = {"n": number, "items": list(range(self.items))}
            key = f"{self.event}:{number}"
            request = StartRequest(self.flow.pk, "dev", version="draft", parameters=given, idempotency_key=key)
            started = insisting(lambda request=request: start_run(request, actor=SYSTEM))
            self.runs.append(started.pk)
            self.history.acked(("run", number))

    def kept(self) -> set[UUID]:
        """The promised runs that the database has."""
        return set(Run.objects.filter(pk__in=self.runs).values_list("pk", flat=True))

    def left(self) -> int:
        """Runs that have not ended."""
        ended = Run.objects.filter(pk__in=self.runs, status__in=ENDED_RUN_STATUSES)
        return len(self.runs) - int(insisting(ended.count))

    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.left() == 0

    def in_flight(self) -> list[tuple[UUID, str, int, int]]:
        """Run, path, attempt and fence of the steps that workers have."""
        rows = StepResult.objects.filter(run__in=self.runs, status="running")
        found: list[tuple[UUID, str, int, int]] = insisting(
            lambda: list(rows.values_list("run_id", "path", "attempt", "lease_epoch"))
        )
        return found

    def wait(self, *, timeout_s: float = END_TIMEOUT_S) -> None:
        """Until all runs have ended; what has not in this time is stuck, which the history says as lost."""
        deadline = time.monotonic() + timeout_s
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.1)

    def observe(self) -> None:
        """Tell the history what is there in the end."""
        history = self.history
        expected = set(self.expected_paths())
        good = []
        for number, run_id in enumerate(self.runs):
            ended = Run.objects.get(pk=run_id)
            wanted = {"sum": sum(2 * item + 1 for item in range(self.items))}
            if ended.status == RunStatus.SUCCEEDED and ended.result == wanted:
                good.append(("run", number))
            else:
                history.say(f"run {number} is {ended.status} with {ended.result}: {ended.error}")
            done = StepResult.objects.filter(run=run_id, latest=True, status="succeeded")
            if set(done.values_list("path", flat=True)) != expected:
                history.say(f"run {number} has other steps than its definition")
        effects = [(number, item) for number in range(len(self.runs)) for item in range(self.items)]
        history.acked(*(("row", *one) for one in effects), *(("event", *one) for one in effects))
        rows = target_rows(self.tenant, self.target, "run, id")
        everything = [("row", *row) for row in rows if row != (-1, -1)]
        told = Event.objects.filter(type__endswith="process.message.v1", data__name=self.event)
        everything += [
            ("event", data["n"], data["item"]) for data in told.values_list("data__data", flat=True).iterator()
        ]
        history.seen([*good, *everything])
        outcomes = self.notes.of("outcome", "run", "path", "attempt", runs=self.runs)
        history.outcomes((str(run_id), path, attempt) for run_id, path, attempt in outcomes)

    def expected_paths(self) -> list[str]:
        """Of one run."""
        inner = [f"each[{item}]/{id_}" for item in range(self.items) for id_ in self.ids]
        return ["each", *inner, "each.end", ".output"]

    def describe(self) -> str:
        """Where everything stands, for a failing test."""
        open_runs = Run.objects.filter(pk__in=self.runs).exclude(status=RunStatus.SUCCEEDED)[:5]
        lines = [f"{one.pk} {one.status} wake={one.wake_at} {one.error or ''}" for one in open_runs]
        for one in StepResult.objects.filter(run__in=list(open_runs)).exclude(status="succeeded")[:40]:
            lines.append(
                f"{one} {one.status} deliveries={one.deliveries} fence={one.lease_epoch} due={one.due_at}"
                f" rung={one.rung_at} lease={one.lease_expires_at} {one.error or ''}"
            )
        lines += RunLog.objects.filter(run__in=list(open_runs)).order_by("run", "seq").values_list("message", flat=True)
        return "\n".join(lines[:120])

    def close(self) -> None:
        """A failed test must not leave the sweeper work in other tests."""
        Run.objects.filter(pk__in=self.runs).exclude(status__in=ENDED_RUN_STATUSES).update(status=RunStatus.CANCELLED)

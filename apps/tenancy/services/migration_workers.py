"""Processes that migrate tenants side by side.

Each is a fresh interpreter (no forked database sockets or threads) and takes one tenant at a time from the parent. A
parent that dies takes them along: their pipe ends, so they stop after the tenant in hand, which the ledger then shows
as done.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from apps.core.exceptions import PortalError

__all__ = ["migrate_in_processes"]


def _worker(pipe: Connection, database: str) -> None:
    """Body of one process: tenant ids in, (id, error or None) out, until the pipe ends."""
    import django

    django.setup()
    from django.db import connection

    from apps.tenancy.selectors import get_tenant_by_id
    from apps.tenancy.services.migrations import migrate_tenant

    connection.settings_dict["NAME"] = database
    while True:
        try:
            tenant_id = pipe.recv()
        except EOFError:
            return
        try:
            migrate_tenant(get_tenant_by_id(tenant_id), force=True)
            answer: tuple[str, str | None] = (tenant_id, None)
        except Exception as error:  # noqa: BLE001 - the parent reports it and decides
            text = error.message if isinstance(error, PortalError) else f"{type(error).__name__}: {error}"
            answer = (tenant_id, text)
        try:
            pipe.send(answer)
        except OSError:
            return


def migrate_in_processes(
    tenant_ids: Sequence[str], *, jobs: int, database: str, on_done: Callable[[str, str | None], None]
) -> None:
    """Migrate tenants in up to `jobs` processes.

    Args:
        tenant_ids: in the order in which they are begun.
        jobs: processes at a time.
        database: name of the database, which tests replace.
        on_done: called with (tenant id, error or None) as each ends. A process that dies counts as an error of the
            tenant that it had in hand.
    """
    waiting = list(tenant_ids)
    context = multiprocessing.get_context("spawn")
    busy: dict[Connection, str] = {}
    processes: list[Any] = []
    try:
        for _ in range(min(jobs, len(waiting))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(theirs, database), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            busy[ours] = waiting.pop(0)
            ours.send(busy[ours])
        while busy:
            for ready in wait(list(busy)):
                pipe = cast(Connection, ready)
                tenant_id = busy.pop(pipe)
                try:
                    _, error = pipe.recv()
                except EOFError:
                    on_done(tenant_id, "The migrating process died.")
                    continue
                on_done(tenant_id, error)
                if waiting:
                    busy[pipe] = waiting.pop(0)
                    pipe.send(busy[pipe])
                else:
                    pipe.close()
        # Every process died: what is left was not begun.
        for tenant_id in waiting:
            on_done(tenant_id, "No migrating process was left.")
    finally:
        for pipe in busy:
            pipe.close()
        for process in processes:
            process.join()

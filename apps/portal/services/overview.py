"""The tenant at a glance. Each part is left out for those who may not see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Q

from apps.access.contracts import Actor
from apps.connectors.selectors import count_connections, list_failing_connections
from apps.core.clock import now
from apps.engine.choices import RunStatus
from apps.engine.selectors import list_runs
from apps.integrations.selectors import filter_flows
from apps.quality.selectors import count_open

RECENT_RUNS = 10
FAILING_CONNECTIONS = 5
WINDOW = timedelta(hours=24)


def build_overview(actor: Actor) -> dict[str, Any]:
    """Counts, recent runs and failing connections.

    Args:
        actor: a part is None or empty when its permission is missing.

    Returns:
        `{counts: {flows, connections, runs_24h, failed_24h, running, quarantine_open},
        recent_runs: [Run], failing_connections: [Connection]}`; seven statements at most, whatever the size.
    """
    counts: dict[str, int | None] = dict.fromkeys(
        ("flows", "connections", "runs_24h", "failed_24h", "running", "quarantine_open")
    )
    recent: list[Any] = []
    failing: list[Any] = []
    if actor.has("flow:view"):
        counts["flows"] = filter_flows().count()
    if actor.has("connection:view"):
        counts["connections"] = count_connections()
        failing = list_failing_connections(FAILING_CONNECTIONS)
    if actor.has("run:view"):
        since = now() - WINDOW
        found = list_runs().aggregate(
            runs_24h=Count("id", filter=Q(created_at__gte=since)),
            failed_24h=Count("id", filter=Q(created_at__gte=since, status=RunStatus.FAILED)),
            running=Count("id", filter=Q(status__in=[RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLING])),
        )
        counts.update(found)
        recent = list(list_runs().order_by("-id")[:RECENT_RUNS])
    if actor.has("quarantine:view"):
        counts["quarantine_open"] = count_open()
    return {"counts": counts, "recent_runs": recent, "failing_connections": failing}

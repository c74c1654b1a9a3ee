"""Gauges of the whole installation, for its operators: runs under way, the relay's lag, the queues, the tenants.

They are read when somebody scrapes, at most every ten seconds per process, within a time limit, and carry no tenant's
name. What cannot be read is left out, and `portal_operations_readable` is 0: a missing value is better than an old one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from apps.connectors.services.capture_census import count_captures
from apps.engine.services.census import count_active_runs
from apps.events.services.backlog import measure_backlog
from apps.tenancy.choices import TenantStatus
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import public_context

KEPT_S = 10.0
STATEMENT_TIMEOUT_MS = 3000
BROKER_TIMEOUT_S = 2

log = structlog.get_logger(__name__)


class OperationsCollector(Collector):
    """Answers a scrape with fresh figures; scrapes at the same time share one reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: tuple[float, list[GaugeMetricFamily]] = (float("-inf"), [])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges, at most ten seconds old."""
        with self._lock:
            read_at, gauges = self._known
            if time.monotonic() - read_at > KEPT_S:
                gauges = read_gauges()
                self._known = (time.monotonic(), gauges)
        yield from gauges


def read_gauges() -> list[GaugeMetricFamily]:
    """Read all figures now."""
    started = time.perf_counter()
    gauges: list[GaugeMetricFamily] = []
    readable = True
    for read in (_read_database, _read_queues):
        try:
            gauges += read()
        except (DatabaseError, redis.RedisError) as error:
            readable = False
            log.warning("operations_unreadable", part=read.__name__, error=type(error).__name__)
    gauges.append(_gauge("readable", "1 when every figure could be read", float(readable)))
    gauges.append(_gauge("read_seconds", "Time to read these figures", time.perf_counter() - started))
    return gauges


def _read_database() -> list[GaugeMetricFamily]:
    with public_context(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}")
        tenants = GaugeMetricFamily("portal_tenants", "Tenants by status", labels=["status"])
        found = dict(Tenant.objects.order_by().values_list("status").annotate(Count("id")))
        for status in TenantStatus.values:
            tenants.add_metric([status], found.get(status, 0))
        runs = GaugeMetricFamily("portal_runs_active", "Runs that have not ended, by status", labels=["status"])
        for status, count in count_active_runs().items():
            runs.add_metric([status], count)
        backlog = measure_backlog()
        census = count_captures()
        captures = GaugeMetricFamily("portal_captures", "Change captures by status", labels=["status"])
        for status, count in census.by_status.items():
            captures.add_metric([status], count)
    return [
        tenants,
        runs,
        captures,
        GaugeMetricFamily("portal_captures_alarmed", "Change captures with a warning or worse", value=census.alarmed),
        GaugeMetricFamily("portal_capture_lag_seconds", "The most that a capture is behind", value=census.lag_s),
        GaugeMetricFamily("portal_capture_lag_bytes", "The most log that a capture must read", value=census.lag_bytes),
        GaugeMetricFamily(
            "portal_capture_retained_bytes", "The most log that a source keeps for one", value=census.retained_bytes
        ),
        GaugeMetricFamily(
            "portal_events_oldest_seconds", "Age of the oldest event not numbered yet", value=backlog.oldest_s
        ),
        GaugeMetricFamily(
            "portal_events_undelivered", "Events still to be shown to subscribers", value=backlog.undelivered
        ),
        GaugeMetricFamily("portal_events_dead", "Parked events that wait for a person", value=backlog.dead),
    ]


def _read_queues() -> list[GaugeMetricFamily]:
    url = settings.CELERY_BROKER_URL
    if not url.startswith(("redis", "unix")):
        return []  # RabbitMQ has metrics of its own
    names = {settings.CELERY_TASK_DEFAULT_QUEUE, *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values())}
    waiting = GaugeMetricFamily("portal_queue_messages", "Messages that wait for a worker", labels=["queue"])
    with redis.Redis.from_url(url, socket_connect_timeout=BROKER_TIMEOUT_S, socket_timeout=BROKER_TIMEOUT_S) as broker:
        for name in sorted(names):
            waiting.add_metric([name], float(broker.llen(name)))
    return [waiting]


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"portal_operations_{name}", text, value=value)

"""Prometheus metrics: of this process, and gauges of the whole installation, behind an optional bearer token."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest

from apps.portal.services.operations import OperationsCollector

REQUESTS = Counter("portal_http_requests_total", "HTTP requests", ["method", "route", "status"])
DURATION = Histogram("portal_http_request_seconds", "Time to answer an HTTP request", ["route"])
INSTALLATION = CollectorRegistry()
INSTALLATION.register(OperationsCollector())


@dataclass
class Observation:
    """What the middleware learns about a request while it runs."""

    status: int = 500


@contextmanager
def timed_request(request: HttpRequest) -> Iterator[Observation]:
    """Count and time one request under its route's name, so that ids never become labels."""
    observation = Observation()
    started = time.perf_counter()
    try:
        yield observation
    finally:
        match = getattr(request, "resolver_match", None)
        route = match.route if match else "unmatched"
        REQUESTS.labels(request.method, route, observation.status).inc()
        DURATION.labels(route).observe(time.perf_counter() - started)


def export(request: HttpRequest) -> HttpResponse:
    """The metrics page; 403 without the token when METRICS_TOKEN is set."""
    token = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "")
    if token and not hmac.compare_digest(given, f"Bearer {token}"):
        return HttpResponse(
            "metrics need `Authorization: Bearer <METRICS_TOKEN>`\n", status=403, content_type="text/plain"
        )
    return HttpResponse(generate_latest() + generate_latest(INSTALLATION), content_type=CONTENT_TYPE_LATEST)

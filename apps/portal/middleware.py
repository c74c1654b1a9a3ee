"""Health answers before any tenant is looked up, and a request id on every log line and response."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from apps.portal.services import health, metrics

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,64}$")
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class HealthMiddleware:
    """Answers `/health/live`, `/health/ready` and `/metrics` for any host name.

    Probes come by IP address, so they must not meet the host check or the tenant lookup.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.routes: dict[str, Callable[[HttpRequest], HttpResponse]] = {
            "/health/live": health.live,
            "/health/ready": health.ready,
            "/metrics": metrics.export,
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        route = self.routes.get(request.path)
        return route(request) if route else self.get_response(request)


class RequestContextMiddleware:
    """Gives the request an id (the caller's when it is well-formed), binds it to the log, counts and times it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if REQUEST_ID.match(given) else secrets.token_hex(8)
        request.request_id = request_id  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        with metrics.timed_request(request) as observation:
            response = self.get_response(request)
            observation.status = response.status_code
        response["X-Request-Id"] = request_id
        return response

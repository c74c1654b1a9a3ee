"""Liveness: the process answers. Readiness: it can reach its database, cache and channel layer."""

from __future__ import annotations

import time
from collections.abc import Callable

import kombu
import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse

from apps.tenancy.services.context import public_context

PROBE_TIMEOUT_S = 2


def live(_request: HttpRequest) -> JsonResponse:
    """200 as long as the process serves requests at all."""
    return JsonResponse({"status": "ok"})


def ready(_request: HttpRequest) -> JsonResponse:
    """200 when every dependency answers, else 503; each with its name and time, never with an address or a secret."""
    checks = {
        "database": _check_database,
        "broker": lambda: _check_redis(settings.CELERY_BROKER_URL),
        "cache": lambda: _check_redis(settings.CACHES["default"]["LOCATION"]),
        "channels": lambda: _check_redis(settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]),
    }
    results = {name: _timed(check) for name, check in checks.items()}
    healthy = all(result["ok"] for result in results.values())
    return JsonResponse(
        {"status": "ok" if healthy else "unavailable", "checks": results}, status=200 if healthy else 503
    )


def _timed(check: Callable[[], None]) -> dict[str, object]:
    started = time.perf_counter()
    try:
        check()
    except Exception as error:  # noqa: BLE001 - whatever fails, the probe reports it as not ready
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "duration_ms": round((time.perf_counter() - started) * 1000, 1)}


def _check_database() -> None:
    with public_context(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_redis(url: str) -> None:
    if not url.startswith(("redis", "unix")):
        # RabbitMQ: Celery's own client knows how to ask it.
        with kombu.Connection(url, connect_timeout=PROBE_TIMEOUT_S) as broker:
            broker.ensure_connection(max_retries=1)
        return
    client = redis.Redis.from_url(url, socket_connect_timeout=PROBE_TIMEOUT_S, socket_timeout=PROBE_TIMEOUT_S)
    try:
        client.ping()
    finally:
        client.close()

"""Structured logs with tenant, run and request ids."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import structlog

from config.settings import env

SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
# A plain traceback: the pretty one prints every frame's variables, secrets among them, and takes seconds for it.
RENDERER = (
    structlog.processors.JSONRenderer()
    if env.LOG_FORMAT == "json"
    else structlog.dev.ConsoleRenderer(pad_event_to=0, exception_formatter=structlog.dev.plain_traceback)
)


def scrub(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
    """Take secrets out of a log line, tracebacks included. Imported late: logging is set up before the apps are."""
    from apps.vault.services.scrubbing import scrub_event

    return scrub_event(logger, method, event)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                scrub,
                RENDERER,
            ],
            "foreign_pre_chain": SHARED_PROCESSORS,
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["console"], "level": env.LOG_LEVEL},
    "loggers": {
        "django.server": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}
structlog.configure(
    processors=[*SHARED_PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
METRICS_TOKEN = env.METRICS_TOKEN

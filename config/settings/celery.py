"""Celery: the broker only rings a doorbell; what is to be done stands in PostgreSQL (see apps/engine/README.md)."""

from __future__ import annotations

from config.settings import env

CELERY_BROKER_URL = env.BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 900_000
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_ROUTES = {"engine.execute_step": {"queue": "loads"}, "engine.poll": {"queue": "loads"}}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep-runs": {"task": "engine.sweep", "schedule": 5.0},
    "resume-provisioning": {"task": "tenancy.resume_stalled_provisioning", "schedule": 60.0},
    "anchor-audit": {"task": "audit.anchor", "schedule": 300.0},
    "collect-staging": {"task": "connectors.collect_staging_all", "schedule": 86_400.0},
    "purge-events": {"task": "events.purge", "schedule": 86_400.0},
    "purge-messages": {"task": "messaging.purge", "schedule": 86_400.0},
    "purge-quarantine": {"task": "quality.purge_all", "schedule": 86_400.0},
    "collect-garbage": {"task": "engine.collect_garbage", "schedule": 3600.0},
}
# The schedule is a few fixed rows, so the last firing times are no truth worth a file: kept in memory.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"

"""The Celery application. Tasks are `@shared_task`s of the apps and know nothing of this module."""

import os
import sys

from celery import Celery, Task
from celery.signals import setup_logging, task_postrun, task_prerun
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.dev")

app = Celery("portal")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery's way with Django is a new database session for each task, which costs more than a short task does. Here a
# session lives as in the web processes: until it is CONN_MAX_AGE old or no longer usable, looked at around each task.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize


@setup_logging.connect
def keep_django_logging(**_kwargs: object) -> None:
    """Connecting this signal stops Celery from replacing the logging that the settings describe."""


@task_prerun.connect
@task_postrun.connect
def close_old_sessions(task: Task | None = None, **_kwargs: object) -> None:
    """Let go of sessions that are broken or too old; a task that is called within another one leaves them alone."""
    if task is None or not task.request.is_eager:
        close_old_connections()

"""A plain Celery application for the comparison: default settings, results kept where the messages are."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bench_peer", broker=os.environ["BENCH_CELERY_URL"], backend=os.environ["BENCH_CELERY_URL"])
app.conf.update(task_default_queue="bench-peer", worker_prefetch_multiplier=4, result_expires=600)


@app.task
def noop(value: int) -> int:
    """A step that does nothing."""
    return value


@app.task
def follow(value: int) -> int:
    """The next step of a chain."""
    return value + 1

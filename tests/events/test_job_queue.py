"""The relay's to-do list."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

from apps.events.services.job_queue import Job, JobQueue

ACME, GLOBEX = uuid4(), uuid4()


def test_a_place_marked_twice_is_visited_once() -> None:
    queue = JobQueue(per_subscriber=2)
    queue.mark(Job(ACME))
    queue.mark(Job(ACME))

    assert queue.take(0) == Job(ACME)
    assert queue.take(0) is None


def test_a_mark_during_the_visit_brings_another_visit() -> None:
    queue = JobQueue(per_subscriber=2)
    queue.mark(Job(ACME))
    job = queue.take(0)
    queue.mark(Job(ACME))

    assert queue.take(0) is None  # never two visits at a time
    assert job is not None
    queue.finish(job)
    assert queue.take(0) == Job(ACME)


def test_numbering_comes_before_delivering_and_places_by_turns() -> None:
    queue = JobQueue(per_subscriber=2)
    for job in (Job(ACME, "a"), Job(GLOBEX, "a"), Job(GLOBEX)):
        queue.mark(job)

    assert [queue.take(0) for _ in range(3)] == [Job(GLOBEX), Job(ACME, "a"), Job(GLOBEX, "a")]


def test_a_hanging_subscriber_leaves_workers_for_others() -> None:
    queue = JobQueue(per_subscriber=1)
    for job in (Job(ACME, "hangs"), Job(GLOBEX, "hangs"), Job(GLOBEX, "quick")):
        queue.mark(job)

    hanging = queue.take(0)
    assert hanging == Job(ACME, "hangs")
    assert queue.take(0) == Job(GLOBEX, "quick")
    assert queue.take(0) is None
    queue.finish(hanging)
    assert queue.take(0) == Job(GLOBEX, "hangs")


def test_a_later_mark_comes_due() -> None:
    queue = JobQueue(per_subscriber=1)
    queue.mark_later(Job(ACME), 0.05)

    assert queue.take(0) is None
    began = time.monotonic()
    assert queue.take(1) == Job(ACME)
    assert 0.03 < time.monotonic() - began < 0.5


def test_a_waiting_worker_is_woken() -> None:
    queue = JobQueue(per_subscriber=1)
    taken: list[Job | None] = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(5)))
    thread.start()
    queue.mark(Job(ACME))
    thread.join(1)

    assert taken == [Job(ACME)]


def test_the_oldest_wait_counts_only_what_could_be_visited() -> None:
    queue = JobQueue(per_subscriber=1)
    queue.mark(Job(ACME, "hangs"))
    queue.take(0)
    queue.mark(Job(GLOBEX, "hangs"))
    time.sleep(0.02)

    assert queue.oldest_wait_s() == 0
    queue.mark(Job(GLOBEX))
    time.sleep(0.02)
    assert queue.oldest_wait_s() > 0.01
    assert not queue.is_idle()

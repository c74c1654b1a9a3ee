"""Times flows from submission to their checked end; the same for the portal and every peer. Standard library only."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

STEPS = 10
LOOK_S = 0.001
FLOW_TIMEOUT_S = 120


def drive(
    run_one: Callable[[], None], flows: int, concurrency: int, done: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Run `flows` flows, `concurrency` at a time, each by its own thread.

    Args:
        run_one: submits a flow, waits for its end, and raises unless its answer is right.
        flows: how many.
        concurrency: flows that are not finished at once.
        done: called by each thread at its end.

    Returns:
        flows, seconds, flows_per_s, steps_per_s, and p50_ms, p99_ms from submission to end.
    """
    numbers = iter(range(flows))
    lock = threading.Lock()
    latencies: list[float] = []
    faults: list[BaseException] = []

    def work() -> None:
        try:
            while not faults:
                with lock:
                    if next(numbers, None) is None:
                        return
                begun = time.perf_counter()
                run_one()
                latencies.append(time.perf_counter() - begun)
        except BaseException as error:
            faults.append(error)
        finally:
            done()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(concurrency)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if faults:
        raise faults[0]
    return figures(latencies, seconds)


def figures(latencies: list[float], seconds: float) -> dict[str, float]:
    """What `drive` returns, from single times and the time of all."""
    ordered = sorted(latencies)
    return {
        "flows": len(ordered),
        "seconds": round(seconds, 3),
        "flows_per_s": round(len(ordered) / seconds, 1),
        "steps_per_s": round(len(ordered) * STEPS / seconds),
        "p50_ms": round(statistics.median(ordered) * 1000, 1),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, 1),
    }


class Watcher:
    """One reader for all waiting threads: thirty-two of them asking for themselves would be what is measured.

    Args:
        look: those of the waited-for tokens whose flow has ended well; raises when one ended badly.
        pause: returns when it is worth looking again; a short sleep unless there is something to listen to.
        close: called by the watching thread at its end.
    """

    def __init__(
        self,
        look: Callable[[list[Any]], Iterable[Any]],
        pause: Callable[[], None] = lambda: time.sleep(LOOK_S),
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._look, self._pause, self._close = look, pause, close
        self._lock = threading.Lock()
        self._waiting: dict[Any, threading.Event] = {}
        self._fault: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, token: Any) -> None:
        """Return when the flow of that token has ended well."""
        ended = threading.Event()
        with self._lock:
            self._waiting[token] = ended
        if not ended.wait(FLOW_TIMEOUT_S):
            raise TimeoutError(f"{token} has not ended in {FLOW_TIMEOUT_S} s")
        if self._fault is not None:
            raise self._fault

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                self._pause()
                with self._lock:
                    tokens = list(self._waiting)
                if not tokens:
                    continue
                for token in self._look(tokens):
                    with self._lock:
                        ended = self._waiting.pop(token)
                    ended.set()
        except BaseException as error:
            self._fault = error
            with self._lock:
                for ended in self._waiting.values():
                    ended.set()
        finally:
            self._close()

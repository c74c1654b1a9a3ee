"""Figures of the webhook intake for Prometheus: plain numbers on the hot path, made into metrics when somebody scrapes.

Labels are results and the codes of refusals, of which there are a handful; no tenant and no endpoint.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class InboundMetrics(Collector):
    """What this process has taken and refused since it started."""

    def __init__(self) -> None:
        """All zero."""
        self.taken: Counter[str] = Counter({"accepted": 0, "duplicate": 0, "challenge": 0})
        self.refused: Counter[str] = Counter()
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """One webhook was answered after so long."""
        self._buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """The metrics."""
        taken = CounterMetricFamily("portal_webhooks_taken", "Webhooks that were answered 2xx", labels=["result"])
        for result, count in list(self.taken.items()):
            taken.add_metric([result], count)
        refused = CounterMetricFamily("portal_webhooks_refused", "Webhooks that were refused", labels=["reason"])
        for reason, count in list(self.refused.items()):
            refused.add_metric([reason], count)
        seconds = HistogramMetricFamily("portal_webhook_seconds", "Time from a webhook's headers to its answer")
        total = 0
        buckets = []
        for bound, count in zip((*BUCKETS_S, float("inf")), list(self._buckets), strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        seconds.add_metric([], buckets, self._seconds)
        yield from (taken, refused, seconds)


inbound_metrics = InboundMetrics()
REGISTRY.register(inbound_metrics)

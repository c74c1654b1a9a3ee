"""How many webhooks an endpoint and a tenant take: token buckets of this web process, asked before a body is read."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.signals import setting_changed

from apps.core.exceptions import LimitExceeded

if TYPE_CHECKING:
    from apps.events.services.inbound_intake import KnownEndpoint

MAX_BUCKETS = 20_000
MAX_BURST = 1_000_000


class RateExceeded(LimitExceeded):
    """More webhooks arrive than this address takes."""

    code = "events.webhook_rate"
    default_remedy = "Send them again after the time that Retry-After names."


@dataclass(frozen=True)
class InboundLimits:
    """Webhooks a second in the long run, and at once after a rest; each web process counts its own.

    Attributes:
        endpoint_per_s, endpoint_burst: of one endpoint that sets no limit of its own.
        tenant_per_s, tenant_burst: of all endpoints of a tenant together.
    """

    endpoint_per_s: int = 1_000
    endpoint_burst: int = 20_000
    tenant_per_s: int = 2_000
    tenant_burst: int = 40_000


@lru_cache(maxsize=1)
def inbound_limits() -> InboundLimits:
    """The limits in force; `settings.WEBHOOK_LIMITS = {"tenant_per_s": 500, …}` overrides them."""
    given = getattr(settings, "WEBHOOK_LIMITS", {})
    unknown = set(given) - {item.name for item in fields(InboundLimits)}
    if unknown:
        raise ValueError(f"settings.WEBHOOK_LIMITS has unknown names: {sorted(unknown)}")
    return InboundLimits(**given)


class RateGate:
    """The buckets of one event loop."""

    def __init__(self) -> None:
        """Every bucket starts full."""
        self._known: dict[object, list[float]] = {}

    def check(self, endpoint: KnownEndpoint) -> None:
        """Use a token of the endpoint and one of its tenant.

        Raises:
            RateExceeded: one of the buckets is empty; the fact `retry_after_s` says for how long.
        """
        moment = time.monotonic()
        if wait_s := self.take(endpoint.id, endpoint.rate_per_s, endpoint.burst, moment):
            raise RateExceeded(
                f"This address takes no more than {endpoint.rate_per_s:,} a second.", retry_after_s=math.ceil(wait_s)
            )
        limits = inbound_limits()
        if wait_s := self.take(endpoint.tenant.id, limits.tenant_per_s, limits.tenant_burst, moment):
            raise RateExceeded(
                f"This organisation takes no more than {limits.tenant_per_s:,} a second.",
                retry_after_s=math.ceil(wait_s),
            )

    def take(self, key: object, per_s: float, burst: float, moment: float) -> float:
        """Use one token of a bucket: 0.0, or the seconds until there is one again."""
        bucket = self._known.get(key)
        if bucket is None:
            if len(self._known) >= MAX_BUCKETS:
                del self._known[next(iter(self._known))]
            bucket = self._known[key] = [burst, moment]
        tokens = min(burst, bucket[0] + (moment - bucket[1]) * per_s)
        bucket[1] = moment
        if tokens < 1.0:
            bucket[0] = tokens
            return (1.0 - tokens) / per_s
        bucket[0] = tokens - 1.0
        return 0.0

    def clear(self) -> None:
        """Fill every bucket; for tests."""
        self._known.clear()


def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting == "WEBHOOK_LIMITS":
        inbound_limits.cache_clear()


setting_changed.connect(_forget, dispatch_uid="events.inbound_limits")
rate_gate = RateGate()

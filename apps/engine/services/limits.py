"""Typed defaults of the engine; `settings.ENGINE = {"lease_s": 30, …}` overrides them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

from django.conf import settings
from django.core.signals import setting_changed


@dataclass(frozen=True)
class EngineLimits:
    """What bounds runs and steps.

    Attributes:
        lease_s: a worker that has not renewed its lease for so long has lost the step.
        lock_idle_s: a worker that falls silent inside a transaction (stopped, swapped out, cut off) loses it after so
            long, so that the run's lock holds nobody else up.
        doorbell_grace_s: a ready step that nobody claimed for so long is rung again by the sweeper.
        max_deliveries: claims of one attempt before the step is set aside as poisoned.
        progress_s: shortest time between two progress writes of a step.
        step_timeout_s: longest time of one step attempt.
        tenant_runs, flow_runs: runs that may be active (admitted) at once.
        tenant_processes, flow_processes: the same for processes, which need little; a flow may set its own number.
        inline_steps, inline_s: quick steps that one transaction takes, and how long it may work on them.
        tenant_queue: runs that may wait.
        connection_steps: steps that may use one connection at once.
        busy_retry_s: wait of a step or run that met a limit, unless a finishing one rings earlier.
        batch_rows: rows of one Arrow batch.
        memory_mb: DuckDB's memory limit in one step.
        threads: DuckDB's threads in one step.
        auto_partition_rows: rows for which a splittable full load is read in `auto_partitions` parallel parts.
        auto_partitions: see above.
        mails_per_hour: mails that a tenant's processes send in an hour of the clock.
        mail_recipients: recipients of one mail.
        mail_bytes: of a mail's body, and of its attachment.
    """

    lease_s: float = 30.0
    lock_idle_s: float = 30.0
    doorbell_grace_s: float = 10.0
    max_deliveries: int = 3
    progress_s: float = 0.3
    step_timeout_s: float = 6 * 3600.0
    tenant_runs: int = 8
    flow_runs: int = 1
    tenant_processes: int = 64
    flow_processes: int = 64
    inline_steps: int = 200
    inline_s: float = 1.0
    tenant_queue: int = 500
    connection_steps: int = 8
    busy_retry_s: float = 2.0
    batch_rows: int = 65_536
    memory_mb: int = 160
    threads: int = 1
    auto_partition_rows: int = 200_000
    auto_partitions: int = 2
    mails_per_hour: int = 500
    mail_recipients: int = 50
    mail_bytes: int = 2 * 1024**2


@lru_cache(maxsize=1)
def engine_limits() -> EngineLimits:
    """The limits in force."""
    given = getattr(settings, "ENGINE", {})
    unknown = set(given) - {item.name for item in fields(EngineLimits)}
    if unknown:
        raise ValueError(f"settings.ENGINE has unknown names: {sorted(unknown)}")
    return EngineLimits(**given)


def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting == "ENGINE":
        engine_limits.cache_clear()


setting_changed.connect(_forget, dispatch_uid="engine.limits")

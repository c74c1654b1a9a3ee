"""Claim due deliveries under a lease, and settle what came of the attempts. Times are the database's.

```
 pending ──claim──▶ delivering ──ok──▶ delivered
    ▲                  │  └─ lease over (sender killed): claimed again, the late result is refused by its number
    └── failed ◀───────┤ failure, schedule goes on
                       └─▶ dead: schedule at its end, or gone
```
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.core.ids import uuid7
from apps.core.services.hints import send_hint
from apps.events.choices import DeliveryStatus, SubscriptionStatus
from apps.events.contracts import SendResult
from apps.events.models import DeliveryAttempt, EventSubscription
from apps.events.selectors import get_head_position
from apps.events.services.lanes import lock_subscription, promote_lanes
from apps.events.services.outbox import publish_event
from apps.tenancy.services.context import require_tenant

log = structlog.get_logger(__name__)

SCHEDULE_S = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Standard Webhooks' example: 0, 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h; about three days in all."""
JITTER = 0.1
LEASE_S = 60.0
DISABLE_AFTER = timedelta(days=5)
LOCK_TIMEOUT = "5s"

_CLAIM = """
    WITH room AS (
        SELECT id, CASE WHEN failing_since IS NULL THEN %(healthy)s ELSE LEAST(%(failing)s, 1) END
                   - COALESCE((%(in_flight)s::jsonb ->> id::text)::int, 0) AS free
        FROM events_eventsubscription
        WHERE status = 'active' AND (hold_until IS NULL OR hold_until <= clock_timestamp())
    ), due AS (
        SELECT found.id
        FROM room CROSS JOIN LATERAL (
            SELECT id FROM events_delivery
            WHERE subscription_id = room.id AND status IN ('pending', 'delivering', 'failed')
              AND next_attempt_at <= clock_timestamp()
            ORDER BY next_attempt_at, number
            LIMIT GREATEST(room.free, 0)
            FOR UPDATE SKIP LOCKED
        ) AS found
        LIMIT %(limit)s
    )
    UPDATE events_delivery AS delivery
    SET status = 'delivering', attempts = attempts + 1,
        next_attempt_at = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM due, events_eventsubscription AS subscription, events_event AS event
    WHERE delivery.id = due.id AND subscription.id = delivery.subscription_id AND event.id = delivery.event_id
    RETURNING delivery.id, delivery.number, delivery.attempts, delivery.lane, subscription.id, subscription.target,
              subscription.config, subscription.signing_keys, subscription.secret_revision,
              subscription.failing_since IS NOT NULL, clock_timestamp(),
              event.id, event.position, event.type, event.source, event.subject, event.time, event.key, event.data
"""
_SETTLE = """
    UPDATE events_delivery AS delivery
    SET status = CASE WHEN result.ok THEN 'delivered'
                      WHEN result.gone OR delivery.failures + 1 >= %(rounds)s THEN 'dead' ELSE 'failed' END,
        failures = delivery.failures + CASE WHEN result.ok THEN 0 ELSE 1 END,
        next_attempt_at = CASE WHEN NOT result.ok AND NOT result.gone AND delivery.failures + 1 < %(rounds)s
            THEN clock_timestamp() + make_interval(secs => GREATEST(
                (%(schedule)s::float8[])[delivery.failures + 2] * result.jitter, COALESCE(result.retry_after_s, 0)))
            END,
        delivered_at = CASE WHEN result.ok THEN clock_timestamp() END,
        response_status = result.response_status, error = result.error
    FROM jsonb_to_recordset(%(results)s::jsonb) AS result(id uuid, attempt int, ok bool, gone bool, jitter float8,
         retry_after_s float8, response_status int, error text)
    WHERE delivery.id = result.id AND delivery.attempts = result.attempt AND delivery.status = 'delivering'
    RETURNING delivery.id, delivery.lane, delivery.status
"""
_HEALTHY = """
    UPDATE events_eventsubscription
    SET delivered = delivered + %s, failures = 0, failing_since = NULL, hold_until = NULL,
        last_success_at = clock_timestamp(), last_error = ''
    WHERE id = %s
"""
_FAILING = """
    UPDATE events_eventsubscription
    SET failures = failures + %s, failing_since = COALESCE(failing_since, clock_timestamp()),
        last_failure_at = clock_timestamp(), last_error = %s,
        hold_until = CASE WHEN %s::float8 IS NULL THEN hold_until
                          ELSE clock_timestamp() + make_interval(secs => %s::float8) END
    WHERE id = %s
    RETURNING clock_timestamp() - failing_since
"""


@dataclass(frozen=True)
class Claim:
    """A delivery that this process may attempt until its lease ends."""

    delivery_id: UUID
    number: int
    attempt: int
    lane: str
    subscription_id: UUID
    target: str
    config: dict[str, Any]
    signing_keys: list[dict[str, Any]]
    secret_revision: int
    is_failing: bool
    claimed_at: datetime
    event: tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a claim."""

    claim: Claim
    result: SendResult


def claim_deliveries(
    *, limit: int, in_flight: Mapping[UUID, int], healthy: int = 32, failing: int = 1, lease_s: float = LEASE_S
) -> list[Claim]:
    """Take due deliveries of the current tenant: of each subscription at most as many as it has room for.

    Args:
        limit: most deliveries in all.
        in_flight: how many of each subscription this process is sending now.
        healthy: attempts at a time for an endpoint that works.
        failing: 1, or 0 when failing endpoints get no more room now.
        lease_s: after this the delivery may be claimed again.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "limit": limit,
                "in_flight": json.dumps({str(key): count for key, count in in_flight.items()}),
                "healthy": healthy,
                "failing": failing,
                "lease": lease_s,
            },
        )
        rows = cursor.fetchall()
    return sorted((_to_claim(row) for row in rows), key=lambda claim: claim.number)


def settle_attempts(outcomes: Sequence[Outcome]) -> int:
    """Record attempts of the current tenant: states, health, next times, and who follows in each lane.

    An outcome whose lease was taken over meanwhile changes nothing.

    Returns:
        How many outcomes counted.
    """
    by_subscription: dict[UUID, list[Outcome]] = {}
    for outcome in outcomes:
        by_subscription.setdefault(outcome.claim.subscription_id, []).append(outcome)
    return sum(_settle(found, by_subscription[found]) for found in sorted(by_subscription))


@transaction.atomic
def _settle(subscription_id: UUID, outcomes: list[Outcome]) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        subscription = lock_subscription(subscription_id)
        if subscription is None:
            return 0
        cursor.execute(
            _SETTLE,
            {
                "rounds": len(SCHEDULE_S),
                "schedule": list(SCHEDULE_S),
                "results": json.dumps([_facts(o) for o in outcomes]),
            },
        )
        settled = {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
    counted = [outcome for outcome in outcomes if outcome.claim.delivery_id in settled]
    if not counted:
        return 0
    DeliveryAttempt.objects.bulk_create([_to_row(outcome) for outcome in counted], ignore_conflicts=True)
    promote_lanes(subscription, {lane for lane, status in settled.values() if status != DeliveryStatus.FAILED})
    _note_health(subscription, counted)
    send_hint(require_tenant().id, "subscription", subscription.id)
    return len(counted)


def _note_health(subscription: EventSubscription, outcomes: list[Outcome]) -> None:
    good = sum(outcome.result.ok for outcome in outcomes)
    bad = [outcome.result for outcome in outcomes if not outcome.result.ok]
    pauses = [result.retry_after_s for result in bad if result.retry_after_s is not None]
    with connection.cursor() as cursor:
        if good:
            cursor.execute(_HEALTHY, [good, subscription.id])
        if bad and (not good or pauses):
            pause_s = max(pauses) if pauses else None
            cursor.execute(_FAILING, [len(bad), bad[-1].error[:500], pause_s, pause_s, subscription.id])
            failing_for = cursor.fetchone()[0]
            if not any(result.gone for result in bad) and failing_for > DISABLE_AFTER:
                disable_subscription(subscription, f"Every attempt failed for {DISABLE_AFTER.days} days.")
    if any(result.gone for result in bad):
        disable_subscription(subscription, "The endpoint answered 410 Gone.")


def disable_subscription(subscription: EventSubscription, reason: str) -> None:
    """Stop collecting and sending; said in the audit trail and as an event. Needs the subscription's lock."""
    if subscription.status == SubscriptionStatus.DISABLED:
        return
    subscription.status = SubscriptionStatus.DISABLED
    EventSubscription.objects.filter(id=subscription.id).update(
        status=SubscriptionStatus.DISABLED, status_reason=reason, disabled_position=get_head_position()
    )
    audit_sink.record(
        actor=Actor.system("dispatcher"),
        action="events.subscription.disabled",
        target_type="event_subscription",
        target_id=subscription.id,
        summary=f"Disabled subscription {subscription.name}: {reason}",
    )
    publish_event(
        "subscription.disabled.v1",
        subject=f"subscription/{subscription.id}",
        data={"subscription": subscription.id, "name": subscription.name, "reason": reason},
    )
    log.warning("subscription_disabled", subscription_id=str(subscription.id), reason=reason)


def _facts(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result
    return {
        "id": str(outcome.claim.delivery_id),
        "attempt": outcome.claim.attempt,
        "ok": result.ok,
        "gone": result.gone,
        "jitter": 1 - JITTER + 2 * JITTER * random.random(),
        "retry_after_s": result.retry_after_s,
        "response_status": result.response_status,
        "error": result.error[:500],
    }


def _to_row(outcome: Outcome) -> DeliveryAttempt:
    result = outcome.result
    return DeliveryAttempt(
        id=uuid7(),
        delivery_id=outcome.claim.delivery_id,
        number=outcome.claim.attempt,
        started_at=outcome.claim.claimed_at,
        duration_ms=result.duration_ms,
        ok=result.ok,
        response_status=result.response_status,
        error=result.error[:500],
        excerpt=result.excerpt[:1000],
    )


def _to_claim(row: Sequence[Any]) -> Claim:
    delivery_id, number, attempt, lane, subscription_id, target, config, keys, revision, is_failing, at, *event = row
    event[-1] = _from_json(event[-1])
    return Claim(
        delivery_id,
        number,
        attempt,
        lane,
        subscription_id,
        target,
        _from_json(config),
        _from_json(keys),
        revision,
        is_failing,
        at,
        tuple(event),
    )


def _from_json(value: Any) -> Any:
    # Django's cursors hand JSON columns over as text.
    return json.loads(value) if isinstance(value, str) else value

"""Give dead events another chance, or let them go."""

from __future__ import annotations

from django.db import transaction

from apps.access.contracts import Actor
from apps.access.registries import audit_sink
from apps.access.services.permissions import check_permission
from apps.core.clock import now
from apps.events.choices import ParkedStatus
from apps.events.exceptions import SubscriberUnknown
from apps.events.models import ParkedEvent, Subscription


@transaction.atomic
def redrive_events(name: str, *, key: str | None = None, actor: Actor) -> int:
    """Make dead events of a subscriber due at once, with all their attempts anew; order within each key stays.

    Args:
        name: the subscriber.
        key: only this key.
        actor: needs `tenant:manage`.

    Returns:
        How many events were revived; those waiting behind them follow by themselves.
    """
    return _decide(name, key, actor, drop=False)


@transaction.atomic
def skip_events(name: str, *, key: str | None = None, actor: Actor) -> int:
    """Give dead events of a subscriber up, so that those behind them go on.

    Returns:
        How many events were given up; they stay in the log.
    """
    return _decide(name, key, actor, drop=True)


def _decide(name: str, key: str | None, actor: Actor, *, drop: bool) -> int:
    check_permission(actor, "tenant:manage")
    subscription = Subscription.objects.select_for_update().filter(name=name).first()
    if subscription is None:
        raise SubscriberUnknown(f"No subscriber {name!r} has been seen here.", value=name)
    dead = ParkedEvent.objects.filter(subscription=subscription, status=ParkedStatus.DEAD)
    if key is not None:
        dead = dead.filter(key=key)
    chosen = list(dead.values_list("id", "key", "event_id"))
    rows = ParkedEvent.objects.filter(id__in=[row[0] for row in chosen])
    if drop:
        rows.delete()
        _wake_followers(subscription, {row[1] for row in chosen})
    else:
        rows.update(status=ParkedStatus.WAITING, attempts=0, retry_at=now(), error="")
    audit_sink.record(
        actor=actor,
        action="events.skipped" if drop else "events.redriven",
        target_type="subscriber",
        target_id=name,
        summary=f"{'Gave up' if drop else 'Redrove'} {len(chosen)} dead events of {name}.",
        facts={"events": [str(row[2]) for row in chosen[:100]], "count": len(chosen)},
    )
    return len(chosen)


def _wake_followers(subscription: Subscription, keys: set[str]) -> None:
    for key in keys:
        first = ParkedEvent.objects.filter(subscription=subscription, key=key).order_by("position").first()
        if first is not None and first.status == ParkedStatus.WAITING and first.retry_at is None:
            ParkedEvent.objects.filter(id=first.id).update(retry_at=now())

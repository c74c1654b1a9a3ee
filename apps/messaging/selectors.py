"""Reads of the messaging app."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, Q, QuerySet

from apps.messaging.choices import ConsumerStatus, LetterStatus
from apps.messaging.exceptions import ConsumerNotFound, LetterNotFound
from apps.messaging.models import Consumer, DeadLetter


def list_consumers(*, status: str = "", search: str = "") -> QuerySet[Consumer]:
    """Consumers that are not deleted, with the number of letters that wait for a person as `dead`."""
    found = Consumer.objects.exclude(status=ConsumerStatus.DELETED).select_related("environment")
    if status:
        found = found.filter(status=status)
    if search:
        found = found.filter(Q(name__icontains=search) | Q(source__icontains=search))
    return found.annotate(dead=Count("letters", filter=Q(letters__status=LetterStatus.DEAD)))


def get_consumer(consumer_id: UUID) -> Consumer:
    """The consumer.

    Raises:
        ConsumerNotFound: this tenant has none with that id, or it is deleted.
    """
    found = list_consumers().filter(id=consumer_id).first()
    if found is None:
        raise ConsumerNotFound(value=consumer_id)
    return found


def list_letters(consumer_id: UUID, *, status: str = "") -> QuerySet[DeadLetter]:
    """Dead letters of a consumer, newest first.

    Raises:
        ConsumerNotFound: this tenant has no such consumer.
    """
    found = DeadLetter.objects.filter(consumer=get_consumer(consumer_id))
    return found.filter(status=status) if status else found


def get_letter(letter_id: UUID) -> DeadLetter:
    """The dead letter.

    Raises:
        LetterNotFound: this tenant has none with that id.
    """
    found: DeadLetter | None = (
        DeadLetter.objects.exclude(consumer__status=ConsumerStatus.DELETED)
        .select_related("consumer")
        .filter(id=letter_id)
        .first()
    )
    if found is None:
        raise LetterNotFound(value=letter_id)
    return found

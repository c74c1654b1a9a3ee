"""REST v2 of consumers: what takes messages from brokers, how it is doing, and what it could not use."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.core.api.inputs import read_input
from apps.messaging.api import serializers as shapes
from apps.messaging.models import Consumer, DeadLetter
from apps.messaging.selectors import get_consumer, get_letter, list_consumers, list_letters
from apps.messaging.services import editing, letters

TAGS = ["messaging"]


def consumer_response(consumer_id: UUID, code: int = status.HTTP_200_OK) -> Response:
    """One consumer as it stands."""
    return Response(shapes.ConsumerSerializer(get_consumer(consumer_id)).data, status=code)


class ConsumerListView(GenericAPIView[Consumer]):
    """Consumers of the tenant."""

    permission_classes = [HasPermission.of(read="consumer:view", write="consumer:edit")]
    serializer_class = shapes.ConsumerSerializer
    queryset = Consumer.objects.none()

    def get_queryset(self) -> QuerySet[Consumer]:
        """Consumers within the given limits."""
        return list_consumers(**read_input(shapes.ConsumerFilter, self.request.query_params))

    @extend_schema(
        operation_id="consumer_list", tags=TAGS, parameters=[shapes.ConsumerFilter],
        responses=shapes.ConsumerSerializer(many=True),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Consumers with their health, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(shapes.ConsumerSerializer(page, many=True).data)

    @extend_schema(
        operation_id="consumer_create", tags=TAGS, request=shapes.ConsumerInput,
        responses={201: shapes.ConsumerSerializer},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Take messages of a queue, stream or topic from now on; each becomes an event."""
        given = read_input(shapes.ConsumerInput, request.data)
        row = editing.create_consumer(given.pop("name"), **given, actor=actor_of(request))
        return consumer_response(row.id, status.HTTP_201_CREATED)


class ConsumerView(APIView):
    """One consumer."""

    permission_classes = [HasPermission.of(read="consumer:view", write="consumer:edit")]

    @extend_schema(operation_id="consumer_retrieve", tags=TAGS, responses=shapes.ConsumerSerializer)
    def get(self, request: Request, consumer_id: UUID) -> Response:
        """The consumer with its health."""
        return consumer_response(consumer_id)

    @extend_schema(
        operation_id="consumer_update", tags=TAGS, request=shapes.ConsumerChange, responses=shapes.ConsumerSerializer
    )
    def patch(self, request: Request, consumer_id: UUID) -> Response:
        """Change what is named; it counts from the next batch on."""
        editing.update_consumer(consumer_id, actor=actor_of(request), **read_input(shapes.ConsumerChange, request.data))
        return consumer_response(consumer_id)

    @extend_schema(operation_id="consumer_delete", tags=TAGS, request=None, responses={204: None})
    def delete(self, request: Request, consumer_id: UUID) -> Response:
        """Take nothing any more; what was published stays."""
        editing.delete_consumer(consumer_id, actor=actor_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class ConsumerPauseView(APIView):
    """Pause."""

    permission_classes = [HasPermission.of(write="consumer:edit")]

    @extend_schema(
        operation_id="consumer_pause", tags=TAGS, request=shapes.ConsumerPauseInput, responses=shapes.ConsumerSerializer
    )
    def post(self, request: Request, consumer_id: UUID) -> Response:
        """Leave the messages with the broker until it is resumed."""
        given = read_input(shapes.ConsumerPauseInput, request.data)
        editing.pause_consumer(consumer_id, reason=given["reason"], actor=actor_of(request))
        return consumer_response(consumer_id)


class ConsumerResumeView(APIView):
    """Resume."""

    permission_classes = [HasPermission.of(write="consumer:edit")]

    @extend_schema(operation_id="consumer_resume", tags=TAGS, request=None, responses=shapes.ConsumerSerializer)
    def post(self, request: Request, consumer_id: UUID) -> Response:
        """Go on where it was paused, or try a failing one at once."""
        editing.resume_consumer(consumer_id, actor=actor_of(request))
        return consumer_response(consumer_id)


class DeadLetterListView(GenericAPIView[DeadLetter]):
    """Dead letters of a consumer."""

    permission_classes = [HasPermission.of(read="consumer:view")]
    serializer_class = shapes.DeadLetterSerializer
    queryset = DeadLetter.objects.none()

    @extend_schema(
        operation_id="dead_letter_list", tags=TAGS, parameters=[shapes.DeadLetterFilter],
        responses=shapes.DeadLetterSerializer(many=True),
    )  # fmt: skip
    def get(self, request: Request, consumer_id: UUID) -> Response:
        """Messages that could not become events, with the reason, newest first; without their bodies."""
        found = list_letters(consumer_id, **read_input(shapes.DeadLetterFilter, request.query_params))
        page = self.paginate_queryset(found.defer("body"))
        return self.get_paginated_response(shapes.DeadLetterSerializer(page, many=True).data)


class RedeliverAllView(APIView):
    """Try a consumer's dead letters again."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(
        operation_id="dead_letter_redeliver_all", tags=TAGS, request=None, responses=shapes.RedeliverAllSerializer
    )
    def post(self, request: Request, consumer_id: UUID) -> Response:
        """The oldest again, at most 200 with one call, with the consumer's settings of now."""
        return Response(letters.redeliver_all(consumer_id, actor=actor_of(request)))


class DeadLetterView(APIView):
    """One dead letter."""

    permission_classes = [HasPermission.of(read="consumer:inspect")]

    @extend_schema(operation_id="dead_letter_retrieve", tags=TAGS, responses=shapes.DeadLetterDetailSerializer)
    def get(self, request: Request, letter_id: UUID) -> Response:
        """The letter with headers and body."""
        return Response(shapes.DeadLetterDetailSerializer(get_letter(letter_id)).data)


class DeadLetterRedeliverView(APIView):
    """Try one again."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(operation_id="dead_letter_redeliver", tags=TAGS, request=None, responses=shapes.DeadLetterSerializer)
    def post(self, request: Request, letter_id: UUID) -> Response:
        """Make an event of it with the consumer's settings of now."""
        return letter_response(letters.redeliver_letter(letter_id, actor=actor_of(request)))


class DeadLetterDiscardView(APIView):
    """Give one up."""

    permission_classes = [HasPermission.of(write="event:replay")]

    @extend_schema(operation_id="dead_letter_discard", tags=TAGS, request=None, responses=shapes.DeadLetterSerializer)
    def post(self, request: Request, letter_id: UUID) -> Response:
        """It stays in the list of discarded ones."""
        return letter_response(letters.discard_letter(letter_id, actor=actor_of(request)))


def letter_response(row: DeadLetter) -> Response:
    """One dead letter, without its body."""
    document: Any = shapes.DeadLetterSerializer(row).data
    return Response(document)

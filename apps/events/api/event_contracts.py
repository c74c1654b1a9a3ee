"""`/api/v2/event-contracts`: types of events that the tenant defines, their versions, and what a change breaks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.services.http import HasPermission, actor_of
from apps.events.api.inputs import read_input
from apps.events.choices import Compatibility
from apps.events.models import ContractVersion, EventContract
from apps.events.selectors import get_event_contract, list_contract_versions, list_event_contracts
from apps.events.services import event_contracts


class ContractOutput(serializers.ModelSerializer):
    """A defined type with its latest schema."""

    compatibility = serializers.ChoiceField(choices=Compatibility.choices, read_only=True)
    version = serializers.IntegerField(source="latest_number", read_only=True)
    schema = serializers.JSONField(source="latest_schema", read_only=True)

    class Meta:
        model = EventContract
        fields = ["id", "type", "description", "compatibility", "version", "schema", "created_at", "updated_at"]
        read_only_fields = fields


class ContractVersionOutput(serializers.ModelSerializer):
    """One version."""

    schema = serializers.JSONField(read_only=True)

    class Meta:
        model = ContractVersion
        fields = ["number", "schema", "note", "published_by", "created_at"]
        read_only_fields = fields


class SchemaInput(serializers.Serializer):
    """A JSON Schema (2020-12) of an object."""

    schema = serializers.DictField(child=serializers.JSONField(allow_null=True))


class ContractVersionInput(SchemaInput):
    """The next version."""

    note = serializers.CharField(max_length=500, allow_blank=True, default="")
    accept_breaking = serializers.BooleanField(default=False)


class ContractInput(SchemaInput):
    """A new type."""

    type = serializers.CharField(max_length=150)
    description = serializers.CharField(max_length=500, allow_blank=True, default="")
    compatibility = serializers.ChoiceField(choices=Compatibility.choices, default=Compatibility.FULL)
    note = serializers.CharField(max_length=500, allow_blank=True, default="")


class ContractChangeInput(serializers.Serializer):
    """What changes; the rest stays."""

    description = serializers.CharField(max_length=500, allow_blank=True, required=False)
    compatibility = serializers.ChoiceField(choices=Compatibility.choices, required=False)


class SchemaChangeOutput(serializers.Serializer):
    """One difference."""

    path = serializers.CharField()
    message = serializers.CharField()
    breaks = serializers.ListField(child=serializers.ChoiceField(choices=["backward", "forward"]))


class ConsumerOutput(serializers.Serializer):
    """Who gets events of the type."""

    kind = serializers.ChoiceField(choices=["subscription", "flow", "subscriber"])
    id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()
    reads = serializers.ListField(child=serializers.CharField(), help_text="Changed fields that its expressions name.")


class ContractCheckOutput(serializers.Serializer):
    """What a new schema would mean."""

    compatible = serializers.BooleanField()
    mode = serializers.ChoiceField(choices=Compatibility.choices)
    changes = SchemaChangeOutput(many=True)
    consumers = ConsumerOutput(many=True)


class ContractsView(GenericAPIView):
    """Defined types."""

    permission_classes = [HasPermission.of(read="event:view", write="event:define")]
    serializer_class = ContractOutput
    queryset = EventContract.objects.none()

    def get_queryset(self) -> QuerySet[EventContract]:
        """The tenant's own types."""
        return list_event_contracts()

    @extend_schema(operation_id="event_contract_list", tags=["events"], responses=ContractOutput(many=True))
    def get(self, request: Request) -> Response:
        """The organisation's own types of events, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(ContractOutput(page, many=True).data)

    @extend_schema(
        operation_id="event_contract_create", tags=["events"], request=ContractInput, responses={201: ContractOutput}
    )
    def post(self, request: Request) -> Response:
        """Define a type with its first version."""
        given = read_input(ContractInput, request.data)
        row = event_contracts.create_contract(given.pop("type"), **given, actor=actor_of(request))
        return Response(ContractOutput(get_event_contract(row.id)).data, status=status.HTTP_201_CREATED)


class ContractView(APIView):
    """One type."""

    permission_classes = [HasPermission.of(read="event:view", write="event:define")]

    @extend_schema(operation_id="event_contract_retrieve", tags=["events"], responses=ContractOutput)
    def get(self, request: Request, contract_id: UUID) -> Response:
        """The type with its latest schema."""
        return Response(ContractOutput(get_event_contract(contract_id)).data)

    @extend_schema(
        operation_id="event_contract_update", tags=["events"], request=ContractChangeInput, responses=ContractOutput
    )
    def patch(self, request: Request, contract_id: UUID) -> Response:
        """Change the description or what later versions must keep."""
        changes = read_input(ContractChangeInput, request.data)
        event_contracts.update_contract(contract_id, **changes, actor=actor_of(request))
        return Response(ContractOutput(get_event_contract(contract_id)).data)


class ContractCheckView(APIView):
    """Look before a change."""

    permission_classes = [HasPermission.of(write="event:view")]

    @extend_schema(
        operation_id="event_contract_check", tags=["events"], request=SchemaInput, responses=ContractCheckOutput
    )
    def post(self, request: Request, contract_id: UUID) -> Response:
        """What this schema would break, and who consumes the type; changes nothing."""
        schema = read_input(SchemaInput, request.data)["schema"]
        return Response(ContractCheckOutput(event_contracts.check_contract(contract_id, schema=schema)).data)


class ContractVersionsView(GenericAPIView):
    """Versions of one type."""

    permission_classes = [HasPermission.of(read="event:view", write="event:define")]
    serializer_class = ContractVersionOutput
    queryset = ContractVersion.objects.none()

    @extend_schema(
        operation_id="event_contract_version_list", tags=["events"], responses=ContractVersionOutput(many=True)
    )
    def get(self, request: Request, contract_id: UUID) -> Response:
        """Versions, newest first."""
        page = self.paginate_queryset(list_contract_versions(contract_id))
        return self.get_paginated_response(ContractVersionOutput(page, many=True).data)

    @extend_schema(
        operation_id="event_contract_version_publish", tags=["events"], request=ContractVersionInput,
        responses={201: ContractVersionOutput},
    )  # fmt: skip
    def post(self, request: Request, contract_id: UUID) -> Response:
        """Publish the next version; a breaking one is refused with its consumers' names, unless it is accepted."""
        given: dict[str, Any] = read_input(ContractVersionInput, request.data)
        version = event_contracts.publish_contract_version(contract_id, **given, actor=actor_of(request))
        return Response(ContractVersionOutput(version).data, status=status.HTTP_201_CREATED)

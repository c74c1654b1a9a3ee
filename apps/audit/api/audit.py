"""`GET /api/v2/audit`: the tenant's audit log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.services.http import HasPermission
from apps.audit.models import AuditEntry
from apps.audit.selectors import list_entries
from apps.core.api.filters import InstantFilter


class ActorOutput(serializers.Serializer):
    """Who did it."""

    kind = serializers.CharField(source="actor_kind")
    id = serializers.UUIDField(source="actor_id", allow_null=True)
    name = serializers.CharField(source="actor_name")


class TargetOutput(serializers.Serializer):
    """What it was done to."""

    type = serializers.CharField(source="target_type")
    id = serializers.CharField(source="target_id")


class AuditEntryOutput(serializers.ModelSerializer):
    """One entry; `hash` lets the reader compare it with an anchor."""

    actor = ActorOutput(source="*", read_only=True)
    target = TargetOutput(source="*", read_only=True)
    facts = serializers.JSONField(read_only=True)
    hash = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ["id", "number", "at", "actor", "action", "target", "summary", "facts", "request_id", "hash"]
        read_only_fields = fields

    def get_hash(self, entry: AuditEntry) -> str | None:
        """SHA-256 of the chain up to this entry, hexadecimal."""
        return None if entry.hash is None else bytes(entry.hash).hex()


class AuditFilter(django_filters.FilterSet):
    """Filters of the list; all given ones must match."""

    actor = django_filters.CharFilter(method="filter_actor", help_text="Id of the actor, or part of the name.")
    action = django_filters.CharFilter(
        method="filter_action", help_text="Exact action, or a beginning that ends with `*` (`flow.*`)."
    )
    target = django_filters.CharFilter(method="filter_target", help_text="Type (`flow`) or type and id (`flow:<id>`).")
    to = InstantFilter(field_name="at", lookup_expr="lt", help_text="Before this time.")
    search = django_filters.CharFilter(method="filter_search", help_text="Part of the summary, action or actor's name.")

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    def filter_actor(self, entries: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        """By id where the value is one, else by name."""
        try:
            return entries.filter(actor_id=UUID(value))
        except ValueError:
            return entries.filter(actor_name__icontains=value)

    def filter_action(self, entries: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        """Exact, or by prefix."""
        return entries.filter(action__startswith=value[:-1]) if value.endswith("*") else entries.filter(action=value)

    def filter_target(self, entries: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        """By type, and by id if there is one."""
        type_, _, id_ = value.partition(":")
        entries = entries.filter(target_type=type_)
        return entries.filter(target_id=id_) if id_ else entries

    def filter_search(self, entries: QuerySet[AuditEntry], _name: str, value: str) -> QuerySet[AuditEntry]:
        """Anywhere in what a person reads."""
        return entries.filter(Q(summary__icontains=value) | Q(action__icontains=value) | Q(actor_name__icontains=value))


# `from` is a word of the language, so this filter cannot be written as a class attribute.
AuditFilter.base_filters["from"] = InstantFilter(field_name="at", lookup_expr="gte", help_text="At or after this time.")


class AuditView(ListAPIView[AuditEntry]):
    """The tenant's audit log."""

    permission_classes = [HasPermission.of(read="audit:view")]
    serializer_class = AuditEntryOutput
    filterset_class = AuditFilter
    queryset = AuditEntry.objects.none()

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Entries of the tenant whose host was asked."""
        return list_entries()

    @extend_schema(operation_id="audit_list", summary="Audit log, newest first", tags=["audit"])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of entries."""
        return super().get(request, *args, **kwargs)

"""Read-only view of the event log and of deliveries."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from apps.events.models import Event, ParkedEvent, Subscription


class ReadOnlyAdmin(admin.ModelAdmin):
    """Lists rows; nothing can be added, changed or deleted here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("position", "time", "type", "subject", "key")
    list_filter = ("type",)
    search_fields = ("subject", "key")
    ordering = ("-id",)


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    list_display = ("name", "position", "delivered", "failures", "retry_at", "last_error")


@admin.register(ParkedEvent)
class ParkedEventAdmin(ReadOnlyAdmin):
    list_display = ("position", "subscription", "key", "status", "attempts", "retry_at", "error")
    list_filter = ("status",)
    search_fields = ("key",)

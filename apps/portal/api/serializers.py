"""Shapes of the portal's own resources."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.engine.selectors import share_of


class CountsSerializer(serializers.Serializer[Any]):
    """Null where the caller may not see that part."""

    flows = serializers.IntegerField(allow_null=True)
    connections = serializers.IntegerField(allow_null=True)
    runs_24h = serializers.IntegerField(allow_null=True)
    failed_24h = serializers.IntegerField(allow_null=True)
    running = serializers.IntegerField(allow_null=True)
    quarantine_open = serializers.IntegerField(allow_null=True)


class RecentFlowSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(source="flow_id")
    name = serializers.CharField(source="flow_name")


class RecentProgressSerializer(serializers.Serializer[Any]):
    rows_read = serializers.IntegerField()
    rows_accepted = serializers.IntegerField()
    rows_quarantined = serializers.IntegerField()
    rows_written = serializers.IntegerField()
    share = serializers.SerializerMethodField(help_text="0 to 1; null when the size is unknown.")

    def get_share(self, run: Any) -> float | None:
        """How far the run is."""
        return share_of(run)


class RecentRunSerializer(serializers.Serializer[Any]):
    """A run, as short as a row of the overview."""

    id = serializers.UUIDField()
    flow = RecentFlowSerializer(source="*")
    environment = serializers.CharField(source="environment.slug")
    mode = serializers.CharField()
    status = serializers.CharField()
    progress = RecentProgressSerializer(source="*")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.SerializerMethodField()

    def get_duration_ms(self, run: Any) -> int | None:
        """From start to end; null while it has not ended."""
        if run.started_at is None or run.ended_at is None:
            return None
        return round((run.ended_at - run.started_at).total_seconds() * 1000)


class FailingConnectionSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    connector = serializers.CharField()
    last_check = serializers.DictField(allow_null=True)
    last_checked_at = serializers.DateTimeField(allow_null=True)


class OverviewSerializer(serializers.Serializer[Any]):
    """The tenant at a glance."""

    counts = CountsSerializer()
    recent_runs = RecentRunSerializer(many=True)
    failing_connections = FailingConnectionSerializer(many=True)

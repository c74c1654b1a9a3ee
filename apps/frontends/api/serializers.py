"""Bodies of the front ends' API."""

from __future__ import annotations

from rest_framework import serializers


class FailureReportSerializer(serializers.Serializer):
    """A micro-frontend that failed in somebody's browser."""

    report_id = serializers.RegexField(r"^[0-9a-f-]{8,36}$", help_text="Id shown to the person.")
    remote = serializers.SlugField(max_length=60)
    phase = serializers.ChoiceField(choices=["load", "mount", "render"])
    message = serializers.CharField(max_length=2000, allow_blank=True)
    stack = serializers.CharField(max_length=8000, allow_null=True, allow_blank=True, required=False)
    release = serializers.CharField(max_length=64)
    path = serializers.CharField(max_length=500)

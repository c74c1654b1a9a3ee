"""Shapes of environments, bindings and variables in REST v2."""

from __future__ import annotations

from rest_framework import serializers

from apps.integrations.models import Environment
from apps.integrations.services.environments import VARIABLES_MOST


class EnvironmentSerializer(serializers.ModelSerializer):
    """An environment."""

    class Meta:
        model = Environment
        fields = ["id", "slug", "name", "description", "position", "protected", "created_at", "updated_at"]
        read_only_fields = fields


class EnvironmentPage(serializers.Serializer):
    """All environments in order of promotion; there are few, so there is always one page."""

    results = EnvironmentSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class EnvironmentChange(serializers.Serializer):
    """Changes of an environment; what is left out stays."""

    name = serializers.CharField(max_length=100, required=False)
    description = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    protected = serializers.BooleanField(required=False)


class VariableSerializer(serializers.Serializer):
    """A variable; a secret one never shows its value."""

    name = serializers.CharField()
    value = serializers.CharField(allow_null=True, allow_blank=True)
    secret = serializers.BooleanField()


class VariablesSerializer(serializers.Serializer):
    """The variables of an environment."""

    variables = VariableSerializer(many=True)


class VariableInputSerializer(serializers.Serializer):
    """A variable to set; leave the value out to keep the stored one."""

    name = serializers.CharField(max_length=63)
    value = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, trim_whitespace=False, default=None
    )
    secret = serializers.BooleanField(required=False, default=False)


class VariablesInput(serializers.Serializer):
    """All variables of an environment; those left out are removed."""

    variables = serializers.ListField(child=VariableInputSerializer(), max_length=VARIABLES_MOST)

"""Shapes of access in REST v2. Input and output are separate, so no field can be written that is not meant to be."""

from __future__ import annotations

from rest_framework import serializers

from apps.access.choices import Theme
from apps.access.models import ApiKey, Invitation, Role, User


class TenantSummarySerializer(serializers.Serializer):
    """The tenant that the host names."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()


class ProfileSerializer(serializers.ModelSerializer):
    """A person's own data."""

    class Meta:
        model = User
        fields = ["id", "email", "name", "timezone", "locale", "theme"]
        read_only_fields = fields


class MeSerializer(serializers.Serializer):
    """Who is asking, where, and what they may do."""

    user = ProfileSerializer()
    tenant = TenantSummarySerializer(allow_null=True)
    permissions = serializers.ListField(child=serializers.CharField())
    roles = serializers.ListField(child=serializers.CharField())


class ProfileInput(serializers.Serializer):
    """Fields of one's own profile; those left out stay."""

    name = serializers.CharField(max_length=120, required=False, allow_blank=True)
    timezone = serializers.CharField(max_length=64, required=False)
    locale = serializers.CharField(max_length=16, required=False)
    theme = serializers.ChoiceField(choices=Theme.choices, required=False)


class MemberSerializer(serializers.ModelSerializer):
    """A person of the tenant."""

    roles = serializers.SerializerMethodField()
    mfa_enabled = serializers.BooleanField(read_only=True)

    class Meta:
        model = User
        fields = ["id", "email", "name", "roles", "is_active", "mfa_enabled", "last_login", "created_at"]
        read_only_fields = fields

    def get_roles(self, user: User) -> list[str]:
        """Slugs, sorted."""
        return sorted(role.slug for role in user.roles.all())


class MemberFilter(serializers.Serializer):
    """Which members a list shows."""

    search = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="Part of name or address."
    )


class MemberInput(serializers.Serializer):
    """What an administrator may change of a member."""

    roles = serializers.ListField(child=serializers.SlugField(), required=False, max_length=50)
    is_active = serializers.BooleanField(required=False)


class RoleSerializer(serializers.ModelSerializer):
    """A named set of permissions."""

    class Meta:
        model = Role
        fields = ["id", "slug", "name", "description", "builtin", "permissions", "created_at", "updated_at"]
        read_only_fields = fields


class RoleInput(serializers.Serializer):
    """A new role."""

    name = serializers.CharField(max_length=80)
    slug = serializers.SlugField(max_length=50, required=False)
    description = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")
    permissions = serializers.ListField(child=serializers.CharField(max_length=60), max_length=200)


class RoleChange(serializers.Serializer):
    """Changes of a role; fields left out stay."""

    name = serializers.CharField(max_length=80, required=False)
    description = serializers.CharField(max_length=300, required=False, allow_blank=True)
    permissions = serializers.ListField(child=serializers.CharField(max_length=60), required=False, max_length=200)


class PermissionSerializer(serializers.Serializer):
    """One permission."""

    code = serializers.CharField()
    description = serializers.CharField()


class PermissionPage(serializers.Serializer):
    """All permissions; there are few, so there is always one page."""

    results = PermissionSerializer(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)


class InvitationSerializer(serializers.ModelSerializer):
    """An invitation; its link is only in the message."""

    roles = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=["open", "accepted", "revoked", "expired"], read_only=True)
    invited_by = serializers.CharField(source="invited_by_name", read_only=True)

    class Meta:
        model = Invitation
        fields = ["id", "email", "roles", "status", "invited_by", "expires_at", "sent_at", "accepted_at", "created_at"]
        read_only_fields = fields

    def get_roles(self, invitation: Invitation) -> list[str]:
        """Slugs, sorted."""
        return sorted(role.slug for role in invitation.roles.all())


class InvitationInput(serializers.Serializer):
    """Whom to invite, and as what."""

    email = serializers.EmailField(max_length=254)
    roles = serializers.ListField(child=serializers.SlugField(), allow_empty=False, min_length=1, max_length=50)


class ApiKeySerializer(serializers.ModelSerializer):
    """An API key without its secret."""

    status = serializers.ChoiceField(choices=["active", "revoked", "expired"], read_only=True)
    created_by = serializers.CharField(source="created_by.email", read_only=True)

    class Meta:
        model = ApiKey
        fields = [
            "id",
            "name",
            "prefix",
            "scopes",
            "status",
            "created_by",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "created_at",
        ]
        read_only_fields = fields


class NewApiKeySerializer(ApiKeySerializer):
    """A key that was just made; `key` is shown this once."""

    key = serializers.CharField(read_only=True)

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "key"]
        read_only_fields = fields


class ApiKeyInput(serializers.Serializer):
    """A new API key."""

    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=60), allow_empty=False, min_length=1, max_length=200
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class SessionSerializer(serializers.Serializer):
    """A place where the person is signed in."""

    id = serializers.IntegerField()
    ip = serializers.IPAddressField()
    user_agent = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    is_current = serializers.SerializerMethodField()

    def get_is_current(self, session: object) -> bool:
        """Whether it is the session that asks."""
        return getattr(session, "session_key", None) == self.context.get("session_key")


class EndedSessions(serializers.Serializer):
    """How many sessions were ended."""

    ended = serializers.IntegerField()

"""People, roles, invitations and keys in the admin site.

On a tenant's host, for those with `tenant:manage`, these are the tenant's; on the platform's host, for its staff, the
platform's. Changes go through the services, so the same rules and the same audit trail hold as in the API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account import admin as account_admin
from allauth.account.decorators import secure_admin_login
from allauth.mfa import admin as mfa_admin
from allauth.usersessions import admin as usersessions_admin
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import admin as auth_admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.access.models import ApiKey, Invitation, Role, User
from apps.access.registries import permissions
from apps.access.services.api_keys import revoke_api_key
from apps.access.services.http import actor_of
from apps.access.services.invitations import create_invitation, revoke_invitation
from apps.access.services.members import update_member
from apps.access.services.roles import create_role, update_role
from apps.core.exceptions import PortalError
from apps.tenancy.contracts import current_scope
from apps.tenancy.services.admin_scope import TenantsHostOnly

# Rights come from our roles; Django's groups would look as if they did something. The other tables hold what allauth's
# own pages manage, secrets among it. Their admin modules are imported first, so that they cannot register later.
for _module in (auth_admin, account_admin, mfa_admin, usersessions_admin):
    for _model in [model for model in admin.site._registry if model.__module__.startswith(_module.__name__[:-6])]:
        admin.site.unregister(_model)


# Django's own log-in form knows neither the second factor nor the rate limits.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


class ServiceAdmin(admin.ModelAdmin):
    """Model admin whose writes are service calls; nothing is deleted here."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows stay for what refers to them."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show a service's refusal on the form's page instead of a server error; its transaction is undone."""
        try:
            response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except PortalError as error:
            self.message_user(request, f"{error.message} {error.remedy or ''}".strip(), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def _each(self, request: HttpRequest, rows: QuerySet[Any], call: Callable[[Any], None]) -> None:
        """Run an action for each row; refusals become messages."""
        for row in rows:
            try:
                call(row)
            except PortalError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)


class TenantServiceAdmin(TenantsHostOnly, ServiceAdmin):
    """For tables that mean something inside a tenant only."""


class UserForm(forms.ModelForm):
    """Roles and whether the account is open."""

    class Meta:
        model = User
        fields = ["roles", "is_active"]


@admin.register(User)
class UserAdmin(ServiceAdmin):
    """Members; new ones come by invitation."""

    form = UserForm
    list_display = ["email", "name", "role_names", "is_active", "last_login"]
    list_filter = ["is_active", "roles"]
    search_fields = ["email", "name"]
    filter_horizontal = ["roles"]
    readonly_fields = ["email", "name", "timezone", "locale", "last_login", "created_at"]
    fields = [*readonly_fields, "roles", "is_active"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Invite instead."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Present members with their roles."""
        return super().get_queryset(request).filter(removed_at=None).prefetch_related("roles")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> list[Any]:
        """The platform's staff has no roles."""
        return [field for field in self.fields if field != "roles" or not current_scope.get().is_public]

    @admin.display(description="Roles")
    def role_names(self, user: User) -> str:
        """Names, comma-separated."""
        return "Platform staff" if user.is_platform_staff else ", ".join(role.name for role in user.roles.all())

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Change roles and state through the service."""
        slugs = [role.slug for role in form.cleaned_data["roles"]] if "roles" in form.cleaned_data else None
        wanted = form.cleaned_data["is_active"]
        update_member(obj.pk, roles=slugs, is_active=wanted, actor=actor_of(request))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Done in `save_model`."""


class RoleForm(forms.ModelForm):
    """A role with its permissions as check boxes."""

    permissions = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple, required=False)

    class Meta:
        model = Role
        fields = ["name", "slug", "description", "permissions"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "permissions" in self.fields:
            field: Any = self.fields["permissions"]
            field.choices = [(code, f"{code}: {text}") for code, text in sorted(permissions.all().items())]


@admin.register(Role)
class RoleAdmin(TenantServiceAdmin):
    """Roles; the built-in ones can only be looked at."""

    form = RoleForm
    list_display = ["name", "slug", "builtin", "description"]
    list_filter = ["builtin"]
    fields = ["name", "slug", "description", "permissions"]

    def has_change_permission(self, request: HttpRequest, obj: Role | None = None) -> bool:
        """Not the built-in ones."""
        return super().has_change_permission(request, obj) and not (obj is not None and obj.builtin)

    def get_readonly_fields(self, request: HttpRequest, obj: Role | None = None) -> list[str]:
        """The slug is a stable name."""
        return [] if obj is None else ["slug"]

    def save_model(self, request: HttpRequest, obj: Role, form: Any, change: bool) -> None:
        """Create or change through the service."""
        data, actor = form.cleaned_data, actor_of(request)
        values = {"name": data["name"], "description": data["description"], "permission_codes": data["permissions"]}
        if change:
            update_role(obj.slug, actor=actor, **values)
        else:
            obj.pk = create_role(slug=data["slug"], actor=actor, **values).pk


class InvitationForm(forms.ModelForm):
    """Whom to invite, and as what."""

    class Meta:
        model = Invitation
        fields = ["email", "roles"]


@admin.register(Invitation)
class InvitationAdmin(TenantServiceAdmin):
    """Invitations: sending and revoking."""

    form = InvitationForm
    list_display = ["email", "status", "invited_by_name", "expires_at", "accepted_at"]
    search_fields = ["email"]
    fields = ["email", "roles"]
    filter_horizontal = ["roles"]
    actions = ["revoke"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The list's actions need it; a single invitation cannot be edited."""
        return obj is None and super().has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        """Invite through the service."""
        slugs = [role.slug for role in form.cleaned_data["roles"]]
        obj.pk = create_invitation(form.cleaned_data["email"], roles=slugs, actor=actor_of(request)).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Done in `save_model`."""

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        """Take the chosen invitations back."""
        actor = actor_of(request)
        self._each(request, queryset, lambda invitation: revoke_invitation(invitation.pk, actor=actor))


@admin.register(ApiKey)
class ApiKeyAdmin(TenantServiceAdmin):
    """API keys: looking and revoking. They are made on the settings page, which can show the key once."""

    list_display = ["name", "prefix", "status", "created_by", "expires_at", "last_used_at"]
    list_select_related = ["created_by"]
    search_fields = ["name", "prefix"]
    readonly_fields = ["name", "prefix", "scopes", "created_by", "expires_at", "last_used_at", "revoked_at"]
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """See the class."""
        return False

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Make the chosen keys useless at once."""
        actor = actor_of(request)
        self._each(request, queryset, lambda key: revoke_api_key(key.pk, actor=actor))

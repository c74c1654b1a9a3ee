"""Tenants and domains in the admin site of the platform's own host."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from apps.core.exceptions import PortalError
from apps.tenancy.contracts import StaffMember, current_scope
from apps.tenancy.models import Domain, PlatformAct, Provisioning, Tenant
from apps.tenancy.services.addresses import add_domain, normalise_host, remove_domain
from apps.tenancy.services.tenants import (
    check_slug,
    register_tenant,
    rename_tenant,
    resume_tenant,
    start_provisioning,
    suspend_tenant,
)


def _who(request: HttpRequest) -> StaffMember:
    return StaffMember(request.user.get_username())


class PublicHostOnly(admin.ModelAdmin):
    """Model admin that exists for platform staff on the public host only; a tenant's admin site does not show it."""

    def _allowed(self, request: HttpRequest) -> bool:
        return current_scope.get().is_public and bool(getattr(request.user, "is_staff", False))

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Shown in the index."""
        return self._allowed(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May look."""
        return self._allowed(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """May add."""
        return self._allowed(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """May change."""
        return self._allowed(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never here: `manage.py drop_tenant` removes a tenant, after asking twice."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show a service's refusal on the form's page instead of a server error; its transaction is undone."""
        try:
            response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except PortalError as error:
            self.message_user(request, f"{error.message} {error.remedy or ''}".strip(), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response


class TenantForm(forms.ModelForm):
    """A new tenant, or a changed name."""

    slug = forms.CharField(max_length=38, help_text="Part of the address; cannot be changed later.")
    domain = forms.CharField(
        max_length=253,
        required=False,
        help_text="Left empty: the slug below the platform's domain.",
    )
    owner_email = forms.EmailField(required=False, help_text="Gets the administrator's invitation.")

    class Meta:
        model = Tenant
        fields = ["slug", "name"]

    def clean_slug(self) -> str:
        """Refuse slugs that cannot be used, before anything is made."""
        slug: str = self.cleaned_data["slug"]
        try:
            check_slug(slug)
        except PortalError as error:
            raise forms.ValidationError(error.message) from error
        return slug

    def clean_domain(self) -> str:
        """Refuse host names that cannot be used or are taken."""
        domain: str = self.cleaned_data["domain"]
        if not domain:
            return ""
        try:
            host = normalise_host(domain)
        except PortalError as error:
            raise forms.ValidationError(error.message) from error
        if Domain.objects.filter(domain=host).exists():
            raise forms.ValidationError("That domain belongs to another tenant.")
        return host


@admin.register(Tenant)
class TenantAdmin(PublicHostOnly):
    """Making tenants with progress, suspending and resuming them."""

    form = TenantForm
    list_display = ["name", "slug", "status", "progress", "primary_domain", "created_at"]
    list_filter = ["status"]
    search_fields = ["name", "slug", "domains__domain"]
    actions = ["suspend", "resume", "provision"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        """With what the list shows."""
        return super().get_queryset(request).select_related("provisioning").prefetch_related("domains")

    def get_fields(self, request: HttpRequest, obj: Tenant | None = None) -> list[Any]:
        """All when adding; name and facts afterwards."""
        if obj is None:
            return ["slug", "name", "domain", "owner_email"]
        return ["slug", "name", "status", "progress", "schema_name", "db_role", "warehouse_schema", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Tenant | None = None) -> list[str]:
        """Only the name of an existing tenant can be changed."""
        return [] if obj is None else [field for field in self.get_fields(request, obj) if field != "name"]

    @admin.display(description="Provisioning")
    def progress(self, tenant: Tenant) -> str:
        """`7 of 12: Create the tables`, `ready`, or what failed."""
        row: Provisioning | None = getattr(tenant, "provisioning", None)
        if row is None or row.finished_at is not None:
            return "ready"
        what = f"failed: {row.step}: {row.error}" if row.error else row.step or "queued"
        return f"{row.steps_done} of {row.steps_total or '?'}: {what}"

    @admin.display(description="Domain")
    def primary_domain(self, tenant: Tenant) -> str:
        """The domain that links use."""
        return next((domain.domain for domain in tenant.domains.all() if domain.is_primary), "")

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        """Register and start provisioning, or rename; never a bare save of the row."""
        who = _who(request)
        if change:
            rename_tenant(obj, form.cleaned_data["name"], actor=who)
            return
        domain = form.cleaned_data["domain"]
        made = register_tenant(
            obj.slug,
            obj.name,
            domains=[domain] if domain else [],
            owner_email=form.cleaned_data["owner_email"] or None,
            actor=who,
        )
        obj.__dict__.update(made.__dict__)
        start_provisioning(made)
        messages.info(request, f"{made.name} is being provisioned. Reload this page to see the progress.")

    @admin.action(description="Suspend: stop serving")
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        """Stop serving the chosen tenants."""
        for tenant in queryset:
            suspend_tenant(tenant, reason="Suspended by the platform", actor=_who(request))

    @admin.action(description="Resume: serve again")
    def resume(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        """Serve the chosen tenants again."""
        for tenant in queryset:
            resume_tenant(tenant, actor=_who(request))

    @admin.action(description="Continue provisioning")
    def provision(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        """Start what is unfinished again; finished tenants are left alone."""
        for tenant in queryset:
            start_provisioning(tenant)
        messages.info(request, "Provisioning was started. Reload this page to see the progress.")


@admin.register(Domain)
class DomainAdmin(PublicHostOnly):
    """Host names; matched exactly."""

    list_display = ["domain", "tenant", "is_primary"]
    list_select_related = ["tenant"]
    search_fields = ["domain", "tenant__slug"]
    fields = ["tenant", "domain", "is_primary"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A host name can be given up."""
        return self._allowed(request)

    def get_readonly_fields(self, request: HttpRequest, obj: Domain | None = None) -> list[str]:
        """A host name does not move: remove it and add it to the other tenant."""
        return [] if obj is None else ["tenant", "domain"]

    def save_model(self, request: HttpRequest, obj: Domain, form: Any, change: bool) -> None:
        """Add through the service, which keeps one primary domain and forgets cached answers."""
        row = add_domain(obj.tenant, obj.domain, primary=obj.is_primary, actor=_who(request))
        obj.pk, obj.domain = row.pk, row.domain

    def delete_model(self, request: HttpRequest, obj: Domain) -> None:
        """Remove through the service."""
        remove_domain(obj.tenant, obj.domain, actor=_who(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Domain]) -> None:
        """Remove each through the service."""
        for domain in queryset.select_related("tenant"):
            remove_domain(domain.tenant, domain.domain, actor=_who(request))


@admin.register(PlatformAct)
class PlatformActAdmin(PublicHostOnly):
    """Who did what to which tenant; to read, never to change."""

    list_display = ["at", "actor_name", "action", "target", "summary"]
    list_filter = ["action"]
    search_fields = ["actor_name", "target", "summary"]
    date_hierarchy = "at"
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Written by the services only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

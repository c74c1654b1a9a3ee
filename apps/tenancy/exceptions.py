"""Errors of tenancy, by consequence."""

from apps.core.exceptions import Conflict, NotFound, PortalError, TerminalError, TransientError, ValidationFailed


class TenantContextMissing(PortalError):
    """Tenant data was asked for outside a tenant."""

    code = "tenancy.context_missing"
    default_remedy = (
        "Enter a tenant first: `with tenant_context(tenant):`, `task.delay_for(tenant, …)` or "
        "`manage.py for_tenant <slug> -- <command>`."
    )


class TenantNotFound(NotFound):
    """There is no such tenant."""

    code = "tenancy.not_found"


class UnknownHost(NotFound):
    """This address belongs to no organisation."""

    code = "tenancy.unknown_host"
    default_remedy = "Check the address, or ask your administrator for the right one."


class TenantSuspended(TerminalError):
    """This organisation is suspended."""

    code = "tenancy.suspended"
    status = 403
    default_remedy = "Ask the platform's operator to lift the suspension."


class TenantNotReady(TransientError):
    """This organisation is still being set up."""

    code = "tenancy.not_ready"


class TenantSchemaLags(TransientError):
    """This organisation's data has not been migrated to the running version yet."""

    code = "tenancy.schema_lags"
    default_remedy = "Wait until `manage.py migrate_tenants` has finished."


class InvalidSlug(ValidationFailed):
    """That is not a usable tenant name."""

    code = "tenancy.invalid_slug"
    default_remedy = "Use 2 to 38 lower-case letters, digits and single hyphens, starting with a letter."


class InvalidDomain(ValidationFailed):
    """That is not a usable domain."""

    code = "tenancy.invalid_domain"
    default_remedy = "Give a host name without scheme, port and path, such as portal.example.com."


class DomainTaken(Conflict):
    """That domain belongs to another tenant."""

    code = "tenancy.domain_taken"
    default_remedy = "Use another domain, or remove it from the other tenant first."


class ProvisioningBusy(TransientError):
    """This tenant is being provisioned or migrated by another process."""

    code = "tenancy.provisioning_busy"


class DatabaseRightsMissing(TerminalError):
    """The database user lacks a right that tenants need."""

    code = "tenancy.database_rights_missing"
    status = 500


class TenantInUse(Conflict):
    """This organisation is still served."""

    code = "tenancy.in_use"
    default_remedy = "Suspend it first."

"""Domains of tenants: which tenant a host name means, and which address a tenant has."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction

from apps.tenancy.exceptions import DomainTaken, InvalidDomain
from apps.tenancy.models import Domain, Tenant
from apps.tenancy.services.acts import Initiator, record_act
from apps.tenancy.services.context import public_context

__all__ = [
    "absolute_url",
    "add_domain",
    "find_tenant_by_host",
    "forget_hosts",
    "is_public_host",
    "normalise_host",
    "remove_domain",
]

HOST_LABEL = re.compile(r"^(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
PORT = re.compile(r":[0-9]{1,5}\Z")
CACHE_SECONDS = 300
UNKNOWN = "unknown"
FIELDS = ("id", "slug", "name", "schema_name", "db_role", "warehouse_schema", "status", "schema_version")


def normalise_host(host: str) -> str:
    """A host name without port and trailing dot, in lower case and IDNA form.

    Raises:
        InvalidDomain: it is no host name.
    """
    name = PORT.sub("", host.strip().lower()).rstrip(".")
    try:
        name = name.encode("idna").decode("ascii") if not name.isascii() else name
    except UnicodeError as error:
        raise InvalidDomain(value=host) from error
    if not name or len(name) > 253 or not all(HOST_LABEL.match(label) for label in name.split(".")):
        raise InvalidDomain(value=host)
    return name


def is_public_host(host: str) -> bool:
    """Whether the host is the platform's own: `BASE_DOMAIN`, or the loopback address of health probes."""
    return host in {settings.BASE_DOMAIN, *getattr(settings, "PUBLIC_HOSTS", ("127.0.0.1",))}


def _cache_key(host: str) -> str:
    return f"tenancy:host:{host}"


def find_tenant_by_host(host: str) -> Tenant | None:
    """The tenant that a host name means, matched exactly; None when it means none.

    Answers (also "none") are cached for five minutes and forgotten at once when a domain or tenant changes.

    Args:
        host: as from `normalise_host`.
    """
    with public_context():
        key = _cache_key(host)
        known = cache.get(key)
        if known is None:
            tenant = Tenant.objects.filter(domains__domain=host).first()
            known = UNKNOWN if tenant is None else {name: getattr(tenant, name) for name in FIELDS}
            cache.set(key, known, CACHE_SECONDS)
        if known == UNKNOWN:
            return None
        return Tenant.from_db("default", list(known), list(known.values()))


def forget_hosts(tenant: Tenant) -> None:
    """Drop the cached answers for a tenant's domains, now and after commit."""
    with public_context():
        keys = [_cache_key(domain) for domain in tenant.domains.values_list("domain", flat=True)]
    _forget_keys(keys)


def _forget_keys(keys: list[str]) -> None:
    def forget() -> None:
        with public_context():
            cache.delete_many(keys)

    forget()
    # A reader may put the old answer back between the delete above and the commit.
    transaction.on_commit(forget)


def add_domain(tenant: Tenant, domain: str, *, actor: Initiator, primary: bool = False) -> Domain:
    """Let a host name lead to a tenant; repeating it changes nothing.

    Args:
        tenant: the tenant.
        domain: host name.
        actor: who does it.
        primary: use it in links that are sent by mail. A tenant's first domain is primary anyway.

    Raises:
        InvalidDomain, DomainTaken.
    """
    host = normalise_host(domain)
    if is_public_host(host):
        raise DomainTaken(f"{host} is the platform's own address.", field="domain", value=host)
    with public_context(), transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        found = Domain.objects.filter(domain=host).first()
        if found is not None and found.tenant_id != tenant.pk:
            raise DomainTaken(f"{host} belongs to another tenant.", field="domain", value=host)
        primary = primary or not tenant.domains.filter(is_primary=True).exists()
        if primary:
            tenant.domains.exclude(domain=host).update(is_primary=False)
        row, _ = Domain.objects.update_or_create(
            domain=host, defaults={"tenant": tenant, **({"is_primary": True} if primary else {})}
        )
        if found is None or found.is_primary != row.is_primary:
            record_act(
                "tenant.domain_added" if found is None else "tenant.domain_changed",
                actor=actor,
                target=f"tenant:{tenant.slug}",
                summary=f"{host} leads to {tenant.name}{', as its primary address' if row.is_primary else ''}",
                facts={"domain": host, "primary": row.is_primary},
            )
        _forget_keys([_cache_key(host)])
    return row


def remove_domain(tenant: Tenant, domain: str, *, actor: Initiator) -> None:
    """Stop a host name from leading to a tenant; nothing happens when it does not."""
    host = normalise_host(domain)
    with public_context(), transaction.atomic():
        removed, _ = tenant.domains.filter(domain=host).delete()
        if removed:
            record_act(
                "tenant.domain_removed",
                actor=actor,
                target=f"tenant:{tenant.slug}",
                summary=f"{host} no longer leads to {tenant.name}",
                facts={"domain": host},
            )
        _forget_keys([_cache_key(host)])


def absolute_url(tenant: Tenant | None, path: str) -> str:
    """Full address of a path on a tenant's primary domain, or on the platform's host.

    Args:
        tenant: None for the platform.
        path: begins with a slash.
    """
    host = settings.BASE_DOMAIN
    if tenant is not None:
        with public_context():
            domain = Domain.objects.filter(tenant_id=tenant.pk).order_by("-is_primary", "domain").first()
        host = domain.domain if domain is not None else f"{tenant.slug}.{settings.BASE_DOMAIN}"
    scheme = "https" if getattr(settings, "SESSION_COOKIE_SECURE", False) else "http"
    port: Any = getattr(settings, "PUBLIC_PORT", 0)
    return f"{scheme}://{host}{f':{port}' if port else ''}{path}"

"""Makes the demo: two tenants with people, an ERP each, connections, flows and a first run.

Everything but the ERP goes through the services that people use. Safe to repeat: what is there is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from apps.access.contracts import Actor
from apps.access.selectors import list_members
from apps.access.services.members import create_member
from apps.connectors.selectors import find_connection_by_slug
from apps.connectors.services.connections import check_connection, create_connection
from apps.core.exceptions import TerminalError
from apps.engine.services.runs import StartRequest, start_run
from apps.integrations.selectors import filter_flows
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.drafts import create_flow
from apps.integrations.services.flows import publish_flow
from apps.portal.services.demo_erp import ErpSize, ensure_erp
from apps.portal.services.demo_flows import build_flow_specs
from apps.tenancy.selectors import get_tenant
from apps.tenancy.services.context import public_context, tenant_context
from apps.tenancy.services.tenants import provision_tenant

PASSWORD = "try-the-portal-1"  # noqa: S105 - printed for everybody to see; the demo is refused outside development
ENVIRONMENT = "dev"
Progress = Callable[[str, float], None]


class DemoRefused(TerminalError):
    """Demo data may not be made here."""

    code = "portal.demo_refused"
    default_remedy = "Demo accounts have a published password; use them in development only."


class DemoErpFailed(TerminalError):
    """The demo's ERP database could not be made."""

    code = "portal.demo_erp_failed"
    default_remedy = "The log-in of DATABASE_URL needs the rights CREATEDB and CREATEROLE for the demo."


@dataclass(frozen=True)
class DemoPerson:
    """Somebody who can sign in."""

    email: str
    name: str
    role: str


@dataclass(frozen=True)
class DemoTenant:
    """A tenant of the demo."""

    slug: str
    name: str
    people: tuple[DemoPerson, ...]
    erp: ErpSize
    first_runs: tuple[str, ...] = ()


DEMO_TENANTS = (
    DemoTenant(
        slug="acme",
        name="Acme Corporation",
        people=(
            DemoPerson("admin@acme.example", "Anna Admin", "admin"),
            DemoPerson("builder@acme.example", "Ben Builder", "builder"),
            DemoPerson("operator@acme.example", "Olga Operator", "operator"),
            DemoPerson("approver@acme.example", "Amir Approver", "approver"),
            DemoPerson("viewer@acme.example", "Vera Viewer", "viewer"),
        ),
        erp=ErpSize(customers=2_000, invoices=40_000),
        first_runs=("Customers",),
    ),
    DemoTenant(
        slug="globex",
        name="Globex Industries",
        people=(DemoPerson("admin@globex.example", "Gina Admin", "admin"),),
        erp=ErpSize(customers=300, invoices=3_000),
    ),
)
STAFF_EMAIL = "staff@platform.example"


def seed_demo(progress: Progress = lambda step, share: None) -> dict[str, Any]:
    """Make whatever of the demo is missing.

    Args:
        progress: called with a sentence and the share done, 0 to 1.

    Returns:
        `{sites: [{title, host, path?, logins: [{email, password, role}]}]}`, for whoever prints the addresses.

    Raises:
        DemoRefused: this is not a development installation.
        DemoErpFailed: the database log-in may not create databases or roles.
    """
    if not settings.DEMO_ALLOWED:
        raise DemoRefused()
    steps = len(DEMO_TENANTS) * 3 + 1
    with public_context():
        _ensure_staff()
    done = 1
    for tenant in DEMO_TENANTS:
        progress(f"{tenant.name}: tenant and people", done / steps)
        _ensure_tenant(tenant)
        progress(f"{tenant.name}: ERP with {tenant.erp.invoices:,} invoices", (done + 1) / steps)
        erp = _ensure_erp(tenant)
        progress(f"{tenant.name}: connections and flows", (done + 2) / steps)
        _ensure_flows(tenant, erp)
        done += 3
    progress("Demo is ready", 1.0)
    return {"sites": [*map(_site, DEMO_TENANTS), _staff_site()]}


def _site(tenant: DemoTenant) -> dict[str, Any]:
    logins = [{"email": person.email, "password": PASSWORD, "role": person.role} for person in tenant.people]
    return {"title": tenant.name, "host": f"{tenant.slug}.{settings.BASE_DOMAIN}", "logins": logins}


def _staff_site() -> dict[str, Any]:
    login = {"email": STAFF_EMAIL, "password": PASSWORD, "role": "platform staff"}
    return {"title": "Platform administration", "host": settings.BASE_DOMAIN, "path": "/admin/", "logins": [login]}


def _ensure_staff() -> None:
    people = get_user_model().objects
    if not people.filter(email=STAFF_EMAIL).exists():
        people.create_superuser(STAFF_EMAIL, PASSWORD, name="Platform staff")


def _ensure_tenant(demo: DemoTenant) -> None:
    actor = Actor.system("demo")
    with public_context():
        provisioned = provision_tenant(
            demo.slug, demo.name, domains=[f"{demo.slug}.{settings.BASE_DOMAIN}"], actor=actor
        )
    with tenant_context(provisioned):
        for person in demo.people:
            if not list_members().filter(email=person.email).exists():
                create_member(person.email, name=person.name, roles=[person.role], password=PASSWORD, actor=actor)


def _ensure_erp(demo: DemoTenant) -> dict[str, Any]:
    """Settings and credentials of the connection to the tenant's ERP, which exists afterwards."""
    parts = urlsplit(settings.DATABASE_URL)
    database = f"{connection.settings_dict['NAME']}_erp_{demo.slug}"
    reader = f"erp_reader_{connection.settings_dict['NAME']}_{demo.slug}"
    password = f"erp-{demo.slug}-demo"
    try:
        ensure_erp(settings.DATABASE_URL, database=database, reader=reader, reader_password=password, size=demo.erp)
    except psycopg.Error as error:
        raise DemoErpFailed(f"The ERP of {demo.name} could not be made: {str(error).strip()}") from error
    host = unquote(parts.hostname or "")
    if not host or host.startswith("/"):
        host = "127.0.0.1"
    config = {"host": host, "port": parts.port or 5432, "database": database, "user": reader, "tls_mode": "prefer"}
    return {"config": config, "secrets": {"password": password}}


def _ensure_flows(demo: DemoTenant, erp: dict[str, Any]) -> None:
    actor = Actor.system("demo")
    with tenant_context(get_tenant(demo.slug)):
        if find_connection_by_slug("erp") is None:
            made = create_connection("ERP", "postgresql", slug="erp", **erp, actor=actor)
            check_connection(made.id, actor=actor)
        known = set(filter_flows().values_list("name", flat=True))
        for spec in build_flow_specs():
            if spec["name"] in known:
                continue
            with transaction.atomic():
                flow = create_flow(
                    spec["name"], description=spec["description"], definition=spec["definition"], actor=actor
                )
                published = publish_flow(flow.id, note="First version", actor=actor)
                deploy_version(flow.id, environment=ENVIRONMENT, version=published.version.number, actor=actor)
            if spec["name"] in demo.first_runs:
                start_run(StartRequest(flow_id=flow.id, environment=ENVIRONMENT), actor=actor)

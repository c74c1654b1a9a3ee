"""Fixtures shared by every test: two provisioned tenants on a real PostgreSQL, and clients that act in them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import setup_databases, teardown_databases

import config.celery  # noqa: F401 - makes it the application that `shared_task`s send through

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from apps.tenancy.models import Tenant

TEST_TENANTS = ("acme", "globex")
PASSWORD = "correct-horse-battery-staple"
_numbers = itertools.count(1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seeds and figures of the chaos suites, from whichever process ran them."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, ())]
    for report in reports:
        for name, line in report.user_properties:
            if name == "chaos" and report.when == "call":
                terminalreporter.write_line(str(line))


@pytest.fixture(scope="session", autouse=True)
def _live_servers_may_block() -> None:
    """Playwright keeps an event loop in the main thread; Django's guard against that is meant for production."""
    os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_keepdb: bool,
    django_db_createdb: bool,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """The test database with its two tenants, provisioned and committed once.

    pytest-django's own fixture makes a database only for tests marked `django_db`; those with real commits need it too.
    """
    from apps.access.contracts import Actor
    from apps.tenancy.services.tenants import provision_tenant
    from tests.processes import database_url

    keep = {"keepdb": True} if django_db_keepdb and not django_db_createdb else {}
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=request.config.option.verbose, interactive=False, **keep)
        # The tenants' analytics schemas live in the throw-away database, not in the one that it was named after.
        settings.WAREHOUSE_URL = settings.DATABASE_URL = database_url()
        cache.clear()
        connection.set_schema_to_public()
        for slug in TEST_TENANTS:
            provision_tenant(slug, slug.title(), domains=[f"{slug}.localhost"], actor=Actor.system("tests"))
        connection.set_schema_to_public()
    yield
    if not django_db_keepdb:
        with django_db_blocker.unblock():
            connection.set_schema_to_public()
            teardown_databases(made, verbosity=request.config.option.verbose)


@pytest.fixture(autouse=True)
def _public_schema_between_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test inherits the tenant that an earlier one left on the connection."""
    uses_db = "db" in request.fixturenames or "committed_db" in request.fixturenames
    if uses_db or request.node.get_closest_marker("django_db"):
        connection.set_schema_to_public()
    yield
    if uses_db or request.node.get_closest_marker("django_db"):
        connection.set_schema_to_public()


def _tenant(slug: str) -> Tenant:
    from apps.tenancy.selectors import get_tenant

    return get_tenant(slug)


@pytest.fixture
def acme(db: None) -> Tenant:
    """The first tenant."""
    return _tenant("acme")


@pytest.fixture
def globex(db: None) -> Tenant:
    """The second tenant, which must never see anything of the first."""
    return _tenant("globex")


@pytest.fixture
def as_acme(acme: Tenant) -> Iterator[Tenant]:
    """Runs the test inside acme's context."""
    from apps.tenancy.services.context import tenant_context

    with tenant_context(acme):
        yield acme


@pytest.fixture
def committed_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Real commits, for tests whose work is seen by other processes. Nothing is rolled back: name objects uniquely."""
    with django_db_blocker.unblock():
        connection.set_schema_to_public()
        yield
        connection.set_schema_to_public()
        connection.close()


@pytest.fixture
def committed_acme(committed_db: None) -> Tenant:
    """The first tenant, for tests with real commits."""
    return _tenant("acme")


@pytest.fixture
def committed_globex(committed_db: None) -> Tenant:
    """The second tenant, for tests with real commits."""
    return _tenant("globex")


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes a name that no other test of this database uses."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return lambda stem: f"{stem}_{worker}_{os.getpid()}_{next(_numbers)}"


def create_user(
    tenant: Tenant, *, roles: tuple[str, ...] = ("admin",), permissions: tuple[str, ...] | None = None
) -> Any:
    """A person of the tenant with these roles, or with a role made of exactly these permissions."""
    from apps.access.models import Role, User
    from apps.tenancy.services.context import tenant_context

    with tenant_context(tenant):
        number = next(_numbers)
        email = f"person{number}_{os.getpid()}@{tenant.slug}.example"
        user = User.objects.create_user(email=email, password=PASSWORD, name=f"Person {number}")
        if permissions is not None:
            slug = f"custom-{number}-{os.getpid()}"
            user.roles.add(Role.objects.create(slug=slug, name=slug, permissions=list(permissions)))
        else:
            user.roles.add(*Role.objects.filter(slug__in=roles))
        return user


@pytest.fixture
def user_for() -> Callable[..., Any]:
    """`user_for(tenant, roles=(…)|permissions=(…))` makes a person."""
    return create_user


@pytest.fixture
def client_for() -> Callable[..., Client]:
    """`client_for(tenant, roles=…)` is a signed-in browser on the tenant's host."""

    def build(tenant: Tenant, *, user: Any = None, **grants: Any) -> Client:
        from apps.tenancy.services.context import tenant_context

        user = user or create_user(tenant, **grants)
        client = Client(HTTP_HOST=f"{tenant.slug}.localhost")
        with tenant_context(tenant):
            client.force_login(user)
        client.user = user  # type: ignore[attr-defined]
        return client

    return build


@pytest.fixture
def api_for() -> Callable[..., APIClient]:
    """`api_for(tenant, roles=…|permissions=…)` is a signed-in REST client on the tenant's host."""

    def build(tenant: Tenant, *, user: Any = None, **grants: Any) -> APIClient:
        from rest_framework.test import APIClient

        from apps.tenancy.services.context import tenant_context

        user = user or create_user(tenant, **grants)
        client = APIClient(HTTP_HOST=f"{tenant.slug}.localhost")
        with tenant_context(tenant):
            client.force_login(user)
        client.user = user
        return client

    return build

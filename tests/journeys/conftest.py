"""The portal's processes, running for real against the test database, and browsers in front of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect
from psycopg import sql

from tests.browser import SIZES, ConsoleWatch, chromium
from tests.journeys.ledger import SCRIPT, build_definition
from tests.journeys.loads import Loads
from tests.processes import ROOT, database_url, free_port, running, start_beat, start_relay, start_web, start_worker

RUN_TIMEOUT_S = 90
FINISHED = {"succeeded", "failed", "cancelled"}
# Generous, for a machine that builds and tests at the same time; nothing waits this long on a quiet one.
BROWSER_TIMEOUT_MS = 20_000
PICTURES = ROOT / "test-results"


@dataclass(frozen=True)
class Stack:
    """Where the running portal answers."""

    port: int

    def url(self, tenant_slug: str, path: str) -> str:
        """Address of a page on a tenant's host."""
        return f"http://{tenant_slug}.localhost:{self.port}{path}"


@pytest.fixture(scope="session")
def workers(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Celery worker, the clock and the event relay on the test database."""
    directory = tmp_path_factory.mktemp("processes")
    with django_db_blocker.unblock():
        children = (start_worker(directory), start_beat(directory), start_relay(directory))
    with running(*children):
        yield


@pytest.fixture(scope="session")
def stack(workers: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole portal: workers and the web server."""
    port = free_port()
    with django_db_blocker.unblock():
        web = start_web(tmp_path_factory.mktemp("web"), port)
    with running(web):
        yield Stack(port)


def _create_source(name: str, script: str) -> dict[str, Any]:
    """A database of that name on the test server with the script run in it; says how to connect to it."""
    url = database_url()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    parts = urlsplit(url)
    with psycopg.connect(url, dbname=name, autocommit=True, cursor_factory=psycopg.ClientCursor) as target:
        target.execute(script)  # type: ignore[arg-type]
    return {
        "config": {"host": parts.hostname, "port": parts.port or 5432, "database": name, "user": parts.username},
        "secrets": {"password": parts.password or "unused"},
    }


def _drop_source(name: str) -> None:
    with psycopg.connect(database_url(), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def source_database(committed_db: None, unique: Callable[[str], str]) -> Iterator[Callable[[str], dict[str, Any]]]:
    """`source_database(script)` makes a database on the test server, runs the script and says how to connect to it."""
    made: list[str] = []

    def build(script: str) -> dict[str, Any]:
        made.append(unique("source"))
        return _create_source(made[-1], script)

    yield build
    for name in made:
        _drop_source(name)


def wait_for_run(api: Any, run_id: str, *, timeout_s: float = RUN_TIMEOUT_S) -> dict[str, Any]:
    """Poll a run until it has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        run = api.get(f"/api/v2/runs/{run_id}").json()
        if run["status"] in FINISHED:
            return run
        assert time.monotonic() < deadline, f"run is still {run['status']}: {run}"
        time.sleep(0.1)


@pytest.fixture
def finished_run() -> Callable[..., dict[str, Any]]:
    """`finished_run(api, run_id)` polls a run until it has ended."""
    return wait_for_run


@pytest.fixture
def loads(
    workers: None,
    committed_acme: Any,
    api_for: Callable[..., Any],
    unique: Callable[[str], str],
    finished_run: Callable[..., dict[str, Any]],
) -> Loads:
    """Loads over REST in acme."""
    return Loads(api_for(committed_acme), committed_acme, unique, finished_run)


@dataclass(frozen=True)
class Ledger:
    """What the journeys share in acme: a source, a flow that is published and deployed to dev, and its first run."""

    connection: dict[str, Any]
    flow: dict[str, Any]
    run: dict[str, Any]

    @property
    def paths(self) -> dict[str, str]:
        """Addresses of its pages."""
        return {
            "connection": f"/connections/{self.connection['id']}",
            "flow": f"/flows/{self.flow['id']}",
            "run": f"/runs/{self.run['id']}",
        }


def _ok(response: Any) -> dict[str, Any]:
    assert response.status_code < 300, response.json()
    return response.json()


@pytest.fixture
def new_flow(api_for: Callable[..., Any], committed_acme: Any, ledger: Ledger, unique: Callable[[str], str]) -> Any:
    """`new_flow()` makes another flow over the ledger's source, as a draft; answers its REST object."""

    def build(name: str = "flow") -> dict[str, Any]:
        draft = build_definition(source=ledger.connection["slug"], target=unique("invoices"))
        return _ok(api_for(committed_acme).post("/api/v2/flows", {"name": unique(name), "draft": draft}))

    return build


@pytest.fixture(scope="session")
def ledger(workers: None, django_db_blocker: Any) -> Iterator[Ledger]:
    """The shared ledger, loaded once."""
    from rest_framework.test import APIClient

    from apps.tenancy.selectors import get_tenant
    from apps.tenancy.services.context import tenant_context
    from tests.conftest import create_user

    number = free_port()
    database = f"source_ledger_{number}"
    with django_db_blocker.unblock():
        acme = get_tenant("acme")
        api = APIClient(HTTP_HOST="acme.localhost")
        user = create_user(acme)
        with tenant_context(acme):
            api.force_login(user)
        source = _create_source(database, SCRIPT)
        body = {"name": f"Ledger {number}", "slug": f"ledger-{number}", "connector": "postgresql", **source}
        made = _ok(api.post("/api/v2/connections", body))
        _ok(api.post(f"/api/v2/connections/{made['id']}/check"))
        draft = build_definition(source=made["slug"], target=f"ledger_invoices_{number}")
        flow = _ok(api.post("/api/v2/flows", {"name": f"Ledger invoices {number}", "draft": draft}))
        url = f"/api/v2/flows/{flow['id']}"
        version = _ok(api.post(f"{url}/publish", {"note": "First version"}))
        _ok(api.post(f"{url}/deploy", {"environment": "dev", "version": version["number"]}))
        run = wait_for_run(api, _ok(api.post(f"{url}/runs", {"environment": "dev"}))["id"])
        assert run["status"] == "succeeded", run
        ready = Ledger(_ok(api.get(f"/api/v2/connections/{made['id']}")), _ok(api.get(url)), run)
    yield ready
    with django_db_blocker.unblock():
        _drop_source(database)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all journeys; each person gets a context of their own."""
    expect.set_options(timeout=BROWSER_TIMEOUT_MS)
    with chromium() as started:
        yield started


@pytest.fixture
def console() -> Iterator[ConsoleWatch]:
    """Hears every page of the journey, which fails when one complained about something that was not announced."""
    watch = ConsoleWatch()
    yield watch
    assert not watch.unexpected()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers a failure, so that `open_page` can leave a picture of it."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture
def open_page(
    stack: Stack, browser: Browser, console: ConsoleWatch, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """`open_page()` is a new page in a browser context of its own; pictures of failures go to test-results/."""
    pages: list[Page] = []

    def build(*, size: str = "wide", **options: Any) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
        context.set_default_timeout(BROWSER_TIMEOUT_MS)
        page = context.new_page()
        console.follow(page)
        pages.append(page)
        return page

    yield build
    for number, page in enumerate(pages):
        if request.node.stash.get(_FAILED, False):
            PICTURES.mkdir(exist_ok=True)
            name = re.sub(r"[^a-z0-9_]+", "-", request.node.name.lower())
            page.screenshot(path=PICTURES / f"{name}-{number}.png")
        page.context.close()


@pytest.fixture
def visit(
    stack: Stack, open_page: Callable[..., Page], client_for: Callable[..., Any], committed_db: None
) -> Callable[..., Page]:
    """`visit(tenant, path, roles=…|user=…)` is the page as a person sees it who signed in before."""

    def build(
        tenant: Any, path: str = "/overview", *, user: Any = None, roles: tuple[str, ...] = ("admin",), **options: Any
    ) -> Page:
        client = client_for(tenant, user=user) if user else client_for(tenant, roles=roles)
        page = open_page(**options)
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": stack.url(tenant.slug, "")}
        page.context.add_cookies([cookie])  # type: ignore[list-item]
        page.goto(stack.url(tenant.slug, path))
        return page

    return build

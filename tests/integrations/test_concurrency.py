"""Two people at once: real commits, real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from apps.connectors.registries import connector_registry
from apps.integrations.exceptions import DraftConflict
from apps.integrations.models import Deployment, FlowVersion
from apps.integrations.services.deployments import deploy_version
from apps.integrations.services.flows import publish_flow, update_draft
from apps.tenancy.services.context import tenant_context
from tests.integrations.factories import BEN, EVA, make_definition, make_flow, make_source, make_version
from tests.integrations.memory import register_memory

pytestmark = pytest.mark.committed


@pytest.fixture
def flow(committed_acme, unique):
    """A flow whose source has a name of its own, because nothing is rolled back."""
    cache.clear()
    register_memory()
    slug = unique("erp").replace("_", "-")
    with tenant_context(committed_acme):
        make_source(slug)
        found = make_flow(unique("Flow"), make_definition(source__connection=slug))
    found.source_slug = slug
    yield found
    for name in ("memory", "memory_sink"):
        connector_registry._items.pop(name, None)
    cache.clear()


def at_once(tenant: Any, *calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads that start together; results or exceptions in order."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def work(index: int, call: Callable[[], Any]) -> None:
        try:
            with tenant_context(tenant):
                barrier.wait(10)
                results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_of_two_saves_one_is_told_about_the_other(flow, committed_acme):
    drafts = [
        make_definition(source__connection=flow.source_slug, map__filter=text) for text in ("total > 1", "total > 2")
    ]
    results = at_once(
        committed_acme,
        lambda: update_draft(flow.pk, drafts[0], expected_revision=1, actor=BEN),
        lambda: update_draft(flow.pk, drafts[1], expected_revision=1, actor=EVA),
    )
    conflicts = [result for result in results if isinstance(result, DraftConflict)]
    assert len(conflicts) == 1, results
    assert conflicts[0].facts["saved_by"] in {BEN.name, EVA.name}


def test_publishing_twice_at_once_makes_one_version(flow, committed_acme):
    results = at_once(committed_acme, *[lambda: publish_flow(flow.pk, actor=BEN)] * 4)
    assert sorted(result.created for result in results) == [False, False, False, True], results
    with tenant_context(committed_acme):
        assert FlowVersion.objects.filter(flow=flow).count() == 1


def test_deploying_two_versions_at_once_leaves_one_active(flow, committed_acme):
    with tenant_context(committed_acme):
        make_version(flow)
        make_version(flow, make_definition(source__connection=flow.source_slug, map__filter="total > 0"))
    results = at_once(
        committed_acme,
        *[lambda n=n: deploy_version(flow.pk, environment="dev", version=n, actor=BEN) for n in (1, 2, 1, 2)],
    )
    assert not [result for result in results if isinstance(result, Exception)], results
    with tenant_context(committed_acme):
        assert Deployment.objects.filter(flow=flow, status="active").count() == 1

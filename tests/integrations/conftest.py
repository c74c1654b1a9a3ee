"""Fixtures of the integrations tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.core.cache import cache

from apps.connectors.registries import connector_registry
from tests.integrations.factories import make_source
from tests.integrations.memory import MemoryConnector, register_memory


@pytest.fixture
def erp(as_acme: object) -> Iterator[UUID]:
    """Inside acme: a connection `erp` to a system in memory."""
    cache.clear()
    register_memory()
    yield make_source()
    MemoryConnector.down = False
    for name in ("memory", "memory_sink"):
        connector_registry._items.pop(name, None)
    cache.clear()

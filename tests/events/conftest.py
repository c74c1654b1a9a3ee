"""Fixtures of the live socket's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.events.api import consumers
from apps.events.contracts import LiveKind
from apps.events.registries import live_kinds
from apps.events.services.live_limits import LiveLimits
from tests.events.live_helpers import COOKIE

RUN, FLOW = LiveKind("proberun", "run:view"), LiveKind("probeflow", "flow:view")


@pytest.fixture
def kinds() -> Iterator[None]:
    """Two kinds of objects that can be watched."""
    for kind in (RUN, FLOW):
        live_kinds.register(kind)
    yield
    for kind in (RUN, FLOW):
        live_kinds._items.pop(kind.type)


@pytest.fixture
def limits(monkeypatch: Any) -> Callable[..., None]:
    """Other limits for one test."""

    def change(**values: Any) -> None:
        monkeypatch.setattr(consumers.LiveConsumer, "limits", LiveLimits(**values))

    return change


@pytest.fixture
def sign_in(committed_db: None, client_for: Any) -> Callable[..., str]:
    """Session key of a person of the tenant."""

    def build(tenant: Any, *permissions: str, user: Any = None) -> str:
        options = {"user": user} if user is not None else {"permissions": permissions or ("run:view", "flow:view")}
        return str(client_for(tenant, **options).cookies[COOKIE].value)

    return build

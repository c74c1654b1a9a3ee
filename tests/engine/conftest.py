"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.erp import Erp
from tests.engine.factories import ToyProgram, ToyStep, install_toys
from tests.engine.systems import drop_table


@pytest.fixture
def toys() -> tuple[ToyProgram, ToyStep]:
    """The toy program and step, as new."""
    return install_toys()


@pytest.fixture
def toy_program(toys: tuple[ToyProgram, ToyStep], as_acme: Tenant) -> ToyProgram:
    """The toy program, inside acme."""
    return toys[0]


@pytest.fixture
def toy_step(toys: tuple[ToyProgram, ToyStep], as_acme: Tenant) -> ToyStep:
    """The toy step, inside acme."""
    return toys[1]


@pytest.fixture
def erp(committed_acme: Tenant) -> Iterator[Callable[..., Erp]]:
    """Makes source systems inside acme."""
    made: list[Erp] = []
    with tenant_context(committed_acme):

        def make(rows: int = 0, **definition: Any) -> Erp:
            made.append(Erp(committed_acme, rows, **definition))
            return made[-1]

        yield make
    for one in made:
        drop_table(one.table)

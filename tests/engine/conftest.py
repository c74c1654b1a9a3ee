"""Fixtures of the engine's tests."""

from __future__ import annotations

import pytest

from apps.tenancy.models import Tenant
from tests.engine.factories import ToyProgram, ToyStep, install_toys


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

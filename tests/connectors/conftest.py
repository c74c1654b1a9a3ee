"""Fixtures of the connectors' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from apps.connectors.base import ConnectorBase
from tests.connectors.folders import connect
from tests.small_disk import small_disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tenant's root."""
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Path:
    """An empty folder below it."""
    path = root / "folder" / f"t{uuid4().hex[:8]}"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def files(root: Path, folder: Path) -> ConnectorBase:
    """The connector over that folder."""
    return connect(root, folder=folder.name)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    with small_disk(tmp_path / "disk") as place:
        yield place

"""The `files` connector over a folder, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apps.connectors.base import ConnectorBase
from apps.connectors.contracts import ConnectionContext
from apps.connectors.registries import connector_registry

FOLDER = {"location": "folder", "folder": ""}


def connect(root: Path, *, spill: Path | None = None, **extra: Any) -> ConnectorBase:
    """The connector over `<root>/folder`."""
    context = ConnectionContext(purpose="test", files_root=str(root), spill_root=str(spill or root / "spill"))
    connector = connector_registry.get("files").create(context)
    connector.connect({**FOLDER, **extra}, {})
    return connector

"""Content types cached per schema: the same model has another id in each schema, and the cache is process-wide."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from apps.tenancy.contracts import current_scope


class SchemaKeyedCache:
    """Drop-in for `ContentTypeManager._cache` ({alias: {key: content type}}) that switches with the scope."""

    def __init__(self) -> None:
        self._schemas: defaultdict[str, dict[str, dict[Any, Any]]] = defaultdict(dict)

    def __getitem__(self, alias: str) -> dict[Any, Any]:
        return self._schemas[current_scope.get().schema_name][alias]

    def setdefault(self, alias: str, default: dict[Any, Any]) -> dict[Any, Any]:
        """The current schema's cache of one database alias."""
        return self._schemas[current_scope.get().schema_name].setdefault(alias, default)

    def clear(self) -> None:
        """Forget the current schema's content types."""
        self._schemas.pop(current_scope.get().schema_name, None)

"""A system in memory behind the real connector interface: entities are Arrow tables, faults are switches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pyarrow as pa

from apps.connectors.base import CheckRun, ConnectorBase, ConnectorType
from apps.connectors.choices import Disposition
from apps.connectors.contracts import (
    SOURCE_POSITION,
    Capabilities,
    CheckResult,
    EntityPage,
    EntityRef,
    EntitySchema,
    Manifest,
    ReadRequest,
)
from apps.connectors.exceptions import EntityGone, SystemUnavailable
from apps.connectors.registries import connector_registry


class MemoryConnector(ConnectorBase):
    """Reads `tables`; `down` makes it unreachable, `described` counts how often it was asked."""

    tables: ClassVar[dict[str, tuple[EntitySchema, pa.Table]]] = {}
    down: ClassVar[bool] = False
    described: ClassVar[int] = 0

    def connect(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Refuse while the switch is off."""
        if type(self).down:
            raise SystemUnavailable("memory does not answer.")

    def disconnect(self) -> None:
        """Nothing to release."""

    def check(self) -> CheckResult:
        """Always well."""
        return CheckRun().result("Reachable.")

    def discover(self, search: str = "", cursor: str | None = None, limit: int = 50) -> EntityPage:
        """Every entity."""
        return EntityPage(tuple(EntityRef(name, name) for name in sorted(self.tables) if search in name))

    def describe(self, entity: str) -> EntitySchema:
        """The declared schema."""
        type(self).described += 1
        if entity not in self.tables:
            raise EntityGone(f"There is no entity {entity!r}.", value=entity)
        return self.tables[entity][0]

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """The table in one batch."""
        if request.entity not in self.tables:
            raise EntityGone(f"There is no entity {request.entity!r}.", value=request.entity)
        table = self.tables[request.entity][1]
        table = table.slice(0, request.limit) if request.limit else table
        numbered = table.append_column(SOURCE_POSITION, pa.array(range(table.num_rows), pa.int64()))
        yield from numbered.combine_chunks().to_batches()


def _manifest(id_: str, capabilities: Capabilities) -> Manifest:
    return Manifest(
        id=id_, name="Memory", version="1.0.0", description="Tables in memory.", author="tests", license="MIT",
        type="source", main="memory.py", icon="memory", supported_operations=("read",), authentication={},
        configuration={"type": "object", "properties": {}}, secrets=(), capabilities=capabilities,
    )  # fmt: skip


def register_memory() -> None:
    """Install the connectors `memory` (reads), and `memory_sink` (appends only)."""
    connector_registry.register(ConnectorType(_manifest("memory", Capabilities(read=True)), MemoryConnector))
    sink = Capabilities(write=True, dispositions=(Disposition.APPEND,))
    connector_registry.register(ConnectorType(_manifest("memory_sink", sink), MemoryConnector))

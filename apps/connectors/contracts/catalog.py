"""Connectors and connections: what they are, what they can do, how a check went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.connectors.choices import Disposition

DEFAULT_BATCH_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class SecretField:
    """A credential a connector asks for; its value lives in the vault only."""

    name: str
    title: str
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do. Callers ask this, never the class.

    Attributes:
        read, write, query: offered operations.
        discover: entities can be listed (else the user types the name).
        dispositions: accepted by `open_writer`.
        cursors: `ReadRequest.cursor` is pushed to the system.
        partitions: `plan_partitions` can cut an entity into more than one part.
        snapshots: `open_snapshot` gives one consistent view over several readers.
        watermark: `watermark` guards against rows that commit late.
        stats: control totals are computed inside the system.
        pushdown: source and target on one server can be joined by one statement.
        concurrent_stage: `Writer.stage` may run in several processes at once.
        record_results: the writer answers per record (row errors do not fail the part).
        uploads: the connection accepts uploaded files.
        change_capture: `change_source` streams what changes in the system.
        consume: `open_consumer` takes messages as they come.
        max_batch_rows: largest sensible batch.
    """

    read: bool = False
    write: bool = False
    query: bool = False
    discover: bool = True
    dispositions: tuple[Disposition, ...] = ()
    cursors: bool = False
    partitions: bool = False
    snapshots: bool = False
    watermark: bool = False
    stats: bool = False
    pushdown: bool = False
    concurrent_stage: bool = False
    record_results: bool = False
    uploads: bool = False
    change_capture: bool = False
    consume: bool = False
    max_batch_rows: int = DEFAULT_BATCH_ROWS

    def to_json(self) -> dict[str, Any]:
        """The capabilities as a JSON object."""
        return {**asdict(self), "dispositions": [str(one) for one in self.dispositions]}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Identity and settings of a connector, read from its `manifest.json`."""

    id: str
    name: str
    version: str
    description: str
    author: str
    license: str
    type: str
    main: str
    icon: str
    supported_operations: tuple[str, ...]
    authentication: dict[str, Any]
    configuration: dict[str, Any]
    secrets: tuple[SecretField, ...]
    capabilities: Capabilities
    rate_budget: dict[str, Any] = field(default_factory=dict)

    @property
    def secret_names(self) -> frozenset[str]:
        """Names of the credentials this connector knows."""
        return frozenset(secret.name for secret in self.secrets)


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """Who is asking: everything a connector may know about the tenant and its limits.

    Attributes:
        tenant_id: owner of the connection; None for a tool outside any tenant.
        connection_id: the saved connection, None while it is a draft.
        purpose: why it is opened (`check`, `read`, `write`, …); goes to logs and the system's session name.
        warehouse_url, warehouse_role, warehouse_schema: the tenant's analytics schema and the role that owns it.
        files_root: the tenant's own folder on the server.
        spill_root: the tenant's own folder for temporary files; empty for the system's.
        connect_timeout_s, statement_timeout_s: limits of this connection; 0 = none.
        time_limit_s: how long the asker can wait for everything it asks of this connection; 0 = as long as it takes.
    """

    tenant_id: UUID | None = None
    connection_id: UUID | None = None
    purpose: str = ""
    warehouse_url: str = ""
    warehouse_role: str = ""
    warehouse_schema: str = ""
    files_root: str = ""
    spill_root: str = ""
    connect_timeout_s: float = 10.0
    statement_timeout_s: float = 0.0
    time_limit_s: float = 0.0

    def bound_statement_s(self, configured: float) -> float:
        """Longest time of one statement: the connection's own limit or the asker's patience, whichever is shorter."""
        limits = [limit for limit in (configured or self.statement_timeout_s, self.time_limit_s) if limit]
        return min(limits, default=0.0)


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a check, in the order in which it was tried."""

    name: str
    ok: bool
    message: str
    duration_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """The step as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of `check`. A failing system is a result, not an exception."""

    ok: bool
    steps: tuple[CheckStep, ...]
    code: str = ""
    message: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The result as the REST API shows it."""
        return {
            "ok": self.ok,
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "steps": [step.to_json() for step in self.steps],
        }


@dataclass(frozen=True, slots=True)
class Connection:
    """A configured connection, as other apps see it. Never carries a secret."""

    id: UUID
    name: str
    slug: str
    connector: str
    config: dict[str, Any]
    status: str
    builtin: bool
    last_check: dict[str, Any] | None
    last_checked_at: datetime | None
    archived_at: datetime | None

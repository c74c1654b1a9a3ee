"""The flow definition (`flow/1`) as frozen dataclasses, and the facts about flows that may cross apps.

The JSON form is fixed by `schemas/flow-1.json`. `FlowDefinition.from_json` refuses unknown keys and wrong shapes with
the path of the place; `to_json` writes every default, so that two spellings of one behaviour have one canonical form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from apps.core.exceptions import Problem
from apps.integrations.exceptions import NotALoad
from apps.integrations.process_contracts import ProcessDefinition
from apps.integrations.shape import SCHEMA_ID, ensure_shape, is_process
from apps.quality.contracts import Control, DataContract, decimal_text


@dataclass(frozen=True)
class SourceConfig:
    """Where rows come from. `connection` is a slot, resolved per environment; `entity` a table, file or resource."""

    connection: str
    entity: str

    def to_json(self) -> dict[str, Any]:
        """`{connection, entity}`."""
        return {"connection": self.connection, "entity": self.entity}


@dataclass(frozen=True)
class MappedField:
    """One target column.

    Attributes:
        target: column of the target entity.
        type: DuckDB type the value is converted to (`DECIMAL(18,2)`).
        expression: SQL scalar expression over the source columns and `var.<name>`.
        nullable: False makes a NULL a broken rule of the row.
        description: for people; not part of the behaviour.
    """

    target: str
    type: str
    expression: str
    nullable: bool = True
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """The field as in the definition."""
        return {
            "target": self.target,
            "type": self.type,
            "expression": self.expression,
            "nullable": self.nullable,
            "description": self.description,
        }


@dataclass(frozen=True)
class Validation:
    """One rule per row: FALSE breaks it, NULL does not (as in an SQL CHECK).

    Attributes:
        id: unique in the flow; the `rule` of a quarantined row.
        expression: boolean, over source columns, `mapped.<target>` and `var.<name>`.
        message: shown to whoever repairs the row.
        field: target column at fault, if one is.
        severity: `quarantine`, or `warning` (the row is loaded and the finding counted).
    """

    id: str
    expression: str
    message: str
    field: str | None = None
    severity: str = "quarantine"

    def to_json(self) -> dict[str, Any]:
        """The validation as in the definition."""
        return {
            "id": self.id,
            "expression": self.expression,
            "message": self.message,
            "field": self.field,
            "severity": self.severity,
        }


@dataclass(frozen=True)
class MapConfig:
    """The mapping: target columns, rows to leave out on purpose, rules. `filter` keeps rows for which it is true."""

    fields: tuple[MappedField, ...]
    filter: str | None = None
    validations: tuple[Validation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`{fields, filter, validations}`."""
        return {
            "fields": [item.to_json() for item in self.fields],
            "filter": self.filter,
            "validations": [item.to_json() for item in self.validations],
        }


@dataclass(frozen=True)
class TargetConfig:
    """Where rows go. `keys` are target columns; needed for `upsert` and `scd2`."""

    connection: str
    entity: str
    disposition: str = "upsert"
    keys: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`{connection, entity, disposition, keys}`."""
        return {
            "connection": self.connection,
            "entity": self.entity,
            "disposition": self.disposition,
            "keys": list(self.keys),
        }


NodeConfig = SourceConfig | MapConfig | TargetConfig


@dataclass(frozen=True)
class Node:
    """One box of the designer. `name`, `notes` and `position` are for people and not part of the behaviour."""

    id: str
    kind: str
    config: NodeConfig
    name: str = ""
    notes: str = ""
    position: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The node as in the definition."""
        return {
            "id": self.id,
            "kind": self.kind,
            "config": self.config.to_json(),
            "name": self.name,
            "notes": self.notes,
            "position": None if self.position is None else {"x": self.position[0], "y": self.position[1]},
        }


@dataclass(frozen=True)
class Edge:
    """One arrow, by node ids."""

    source: str
    target: str

    def to_json(self) -> dict[str, Any]:
        """`{from, to}`."""
        return {"from": self.source, "to": self.target}


@dataclass(frozen=True)
class LoadPolicy:
    """How a run reads the source.

    Attributes:
        mode: `full`, `incremental` or `partitioned`.
        cursor: source column that grows with every change; needed for `incremental`.
        lookback_s: seconds an incremental run reads again before the stored cursor.
        late_commit_guard: read only up to what no open transaction of the source can still precede.
        partitions: parallel parts of a `partitioned` run, 1 to 64.
        partition_column: source column to split by; None lets the connector choose.
        allow_empty: let a `replace` load of no rows empty the target.
    """

    mode: str = "full"
    cursor: str | None = None
    lookback_s: int = 0
    late_commit_guard: bool = True
    partitions: int = 4
    partition_column: str | None = None
    allow_empty: bool = False

    def to_json(self) -> dict[str, Any]:
        """The policy as in the definition."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class ReconciliationPolicy:
    """What must agree after a load. `count_tolerance` is in rows."""

    controls: tuple[Control, ...] = ()
    count_tolerance: int = 0

    def to_json(self) -> dict[str, Any]:
        """`{controls, count_tolerance}`."""
        return {"controls": [item.to_json() for item in self.controls], "count_tolerance": self.count_tolerance}


@dataclass(frozen=True)
class Limits:
    """When a run gives up. `max_reject_share`: largest accepted share of rejected rows, 0 to 1; None = no limit."""

    max_reject_share: Decimal | None = None

    def to_json(self) -> dict[str, Any]:
        """`{max_reject_share}`."""
        share = self.max_reject_share
        return {"max_reject_share": None if share is None else decimal_text(share)}


@dataclass(frozen=True)
class FlowDefinition:
    """Everything a run of a flow needs to know, and nothing about where it runs.

    Attributes:
        nodes, edges: one source, one mapping, one target, in a line.
        variables: {name: default}; None = each environment must set a value.
    """

    kind: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    load: LoadPolicy = field(default_factory=LoadPolicy)
    contract: DataContract = field(default_factory=DataContract)
    reconciliation: ReconciliationPolicy = field(default_factory=ReconciliationPolicy)
    limits: Limits = field(default_factory=Limits)
    variables: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def source(self) -> SourceConfig:
        """Config of the one source node."""
        return next(node.config for node in self.nodes if isinstance(node.config, SourceConfig))

    @property
    def map(self) -> MapConfig:
        """Config of the one mapping node."""
        return next(node.config for node in self.nodes if isinstance(node.config, MapConfig))

    @property
    def target(self) -> TargetConfig:
        """Config of the one target node."""
        return next(node.config for node in self.nodes if isinstance(node.config, TargetConfig))

    @property
    def slots(self) -> tuple[str, ...]:
        """Connection slots the flow uses, without repetition, source first."""
        return tuple(dict.fromkeys((self.source.connection, self.target.connection)))

    def index_of(self, kind: str) -> int:
        """Position of the first node of a kind in `nodes`; for problem paths."""
        return next(index for index, node in enumerate(self.nodes) if node.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """The definition as JSON values, every default written out."""
        return {
            "schema": SCHEMA_ID,
            "kind": self.kind,
            "nodes": [node.to_json() for node in self.nodes],
            "edges": [edge.to_json() for edge in self.edges],
            "load": self.load.to_json(),
            "contract": self.contract.to_json(),
            "reconciliation": self.reconciliation.to_json(),
            "limits": self.limits.to_json(),
            "variables": dict(self.variables),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build the definition from JSON values.

        Raises:
            DefinitionInvalid: the shape is wrong; `problems` name every place by path.
        """
        ensure_shape(data)
        mapped: dict[str, Any] = {}
        if "load" in data:
            mapped["load"] = LoadPolicy(**data["load"])
        if "contract" in data:
            mapped["contract"] = DataContract.from_json(data["contract"])
        if "reconciliation" in data:
            given = data["reconciliation"]
            controls = tuple(Control.from_json(item) for item in given.get("controls", ()))
            mapped["reconciliation"] = ReconciliationPolicy(controls, given.get("count_tolerance", 0))
        if "limits" in data:
            share = data["limits"].get("max_reject_share")
            mapped["limits"] = Limits(max_reject_share=None if share is None else Decimal(str(share)))
        if "variables" in data:
            mapped["variables"] = dict(data["variables"])
        return cls(
            kind=data["kind"],
            nodes=tuple(_to_node(node) for node in data["nodes"]),
            edges=tuple(Edge(source=edge["from"], target=edge["to"]) for edge in data["edges"]),
            **mapped,
        )


Definition = FlowDefinition | ProcessDefinition


def read_definition(data: Mapping[str, Any]) -> Definition:
    """The definition of that JSON, of whichever kind it calls itself.

    Raises:
        DefinitionInvalid: the shape is wrong; `problems` name every place by path.
    """
    return ProcessDefinition.from_json(data) if is_process(data) else FlowDefinition.from_json(data)


def _to_node(data: Mapping[str, Any]) -> Node:
    config = data["config"]
    position = data.get("position")
    built: NodeConfig
    if data["kind"] == "source":
        built = SourceConfig(**config)
    elif data["kind"] == "target":
        built = TargetConfig(**{**config, "keys": tuple(config.get("keys", ()))})
    else:
        built = MapConfig(
            fields=tuple(MappedField(**item) for item in config["fields"]),
            filter=config.get("filter") or None,
            validations=tuple(Validation(**item) for item in config.get("validations", ())),
        )
    return Node(
        id=data["id"],
        kind=data["kind"],
        config=built,
        name=data.get("name", ""),
        notes=data.get("notes", ""),
        position=None if position is None else (position["x"], position["y"]),
    )


@dataclass(frozen=True)
class FlowRef:
    """A flow and its draft. `draft` may be incomplete; `FlowDefinition.from_json` tells."""

    id: UUID
    name: str
    slug: str
    kind: str
    archived: bool
    draft: dict[str, Any]
    draft_revision: int
    paused: bool = False
    pause_reason: str = ""


@dataclass(frozen=True)
class EnvironmentRef:
    """An environment: `slug` is dev, test or prod; `protected` ones take only published versions."""

    id: UUID
    slug: str
    name: str
    protected: bool


@dataclass(frozen=True)
class PublishedVersion:
    """One immutable version of a flow.

    Attributes:
        id, flow_id, flow_name: identity.
        number: 1, 2, 3 …
        definition: as published, data contract filled in.
        content_hash: SHA-256 (hex) of the canonical behaviour fields.
    """

    id: UUID
    flow_id: UUID
    flow_name: str
    number: int
    definition: Definition
    content_hash: str

    @property
    def load(self) -> FlowDefinition:
        """The definition of a load flow.

        Raises:
            NotALoad: it is a process.
        """
        if not isinstance(self.definition, FlowDefinition):
            raise NotALoad(f"{self.flow_name} is a process.", value=self.flow_name)
        return self.definition


@dataclass(frozen=True)
class Startable:
    """What a run of a flow in an environment is pinned to at this moment.

    Attributes:
        flow_name: as it is now.
        environment_id: the environment.
        version_id, number: the version that is deployed there.
        definition: that version's.
    """

    flow_name: str
    environment_id: UUID
    version_id: UUID
    number: int
    definition: Definition


@dataclass(frozen=True)
class DefinitionCheck:
    """Findings about one definition.

    Attributes:
        problems: errors and warnings, by path.
        fields: {target, type, columns} of every mapped field that could be typed.
        source_known: `live` (asked the source now or shortly before), `contract` (the stored data contract), or
            `unknown` (neither; expressions were only parsed).
        source_fields: columns the expressions were checked against.
    """

    problems: tuple[Problem, ...]
    fields: tuple[dict[str, Any], ...]
    source_known: str
    source_fields: tuple[dict[str, Any], ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Findings that block publishing."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def valid(self) -> bool:
        """Nothing blocks publishing."""
        return not self.errors


@dataclass(frozen=True)
class DeploymentRequest:
    """What a deployment check is asked about."""

    flow_id: UUID
    version: PublishedVersion
    environment: EnvironmentRef
    actor_id: UUID | None
    active_version: int | None
    requested_at: datetime

"""Plain data that crosses apps: schemas, findings, mappings to compile, and what came out. No Django."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from apps.expressions.choices import Severity

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Attributes:
        name: as written in the data; matched without regard to case.
        type: DuckDB type name in upper case (`DECIMAL(18,2)`, `VARCHAR`, `STRUCT(a BIGINT)`, `DATE[]`).
        nullable: whether NULL may occur.
    """

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns an expression may use, in order."""

    fields: tuple[Field, ...]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def find(self, name: str) -> Field | None:
        """The field of that name (exact first, then without regard to case), or None."""
        exact = next((item for item in self.fields if item.name == name), None)
        return exact or next((item for item in self.fields if item.name.lower() == name.lower()), None)

    @classmethod
    def of(cls, **types: str) -> Schema:
        """Shorthand for tests and presets: `Schema.of(id="BIGINT", total="DECIMAL(18,2)")`."""
        return cls(tuple(Field(name, type_) for name, type_ in types.items()))

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> Schema:
        """From `[{name, type, nullable?}]`."""
        return cls(tuple(Field(i["name"], i["type"].upper(), bool(i.get("nullable", True))) for i in items))

    @classmethod
    def from_arrow(cls, schema: pa.Schema) -> Schema:
        """From an Arrow schema; nullability is kept."""
        from apps.expressions.types import from_arrow_type

        return cls(tuple(Field(f.name, from_arrow_type(f.type), f.nullable) for f in schema))

    def to_arrow(self) -> pa.Schema:
        """As an Arrow schema; types without an Arrow twin (JSON, UUID, ENUM) become strings."""
        import pyarrow as pa

        from apps.expressions.types import to_arrow_type

        return pa.schema([pa.field(f.name, to_arrow_type(f.type), f.nullable) for f in self.fields])


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about an expression's text.

    Attributes:
        message: a sentence for the person who wrote it.
        code: stable code (`expressions.unknown_column`).
        severity: `error` (blocks) or `warning` (shown).
        start, end: character offsets into the source, end exclusive.
        hint: what to write instead, if known.
    """

    message: str
    code: str
    severity: Severity
    start: int
    end: int
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the REST API shows it."""
        return {
            "message": self.message,
            "code": self.code,
            "severity": self.severity,
            "start": self.start,
            "end": self.end,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class CheckedExpression:
    """What is known about an expression before it runs.

    Attributes:
        source: the text.
        type: DuckDB type of its result, None when it has errors.
        nullable: whether the result may be NULL.
        columns: lineage: the columns it reads (`mapped.x` for a mapped target), in order of first use.
        problems: errors and warnings, in order of position.
    """

    source: str
    type: str | None
    nullable: bool
    columns: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether it can be used (warnings allowed)."""
        return not any(problem.severity == "error" for problem in self.problems)


@dataclass(frozen=True, slots=True)
class MappedField:
    """One target column: `target` of `type` comes from `expression`."""

    target: str
    type: str
    expression: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Validation:
    """A rule each row must hold: FALSE breaks it, NULL does not (as in an SQL CHECK).

    Attributes:
        id: stable rule name, shown with the quarantined row.
        expression: BOOLEAN over source columns and `mapped.<target>`.
        message: the sentence a person reads.
        field: target column it is about, if one.
        severity: `quarantine` rejects the row; `warning` only counts it.
    """

    id: str
    expression: str
    message: str = ""
    field: str | None = None
    severity: Literal["quarantine", "warning"] = "quarantine"


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """A whole mapping to compile.

    Attributes:
        schema: source columns.
        fields: target columns, in target order.
        filter: rows for which it is not TRUE are skipped silently; None keeps all.
        validations: rules.
        row_id: name of the input column that identifies a row and is passed through.
    """

    schema: Schema
    fields: tuple[MappedField, ...]
    filter: str | None = None
    validations: tuple[Validation, ...] = ()
    row_id: str = "_row_id"


@dataclass(frozen=True, slots=True)
class CompiledSelect:
    """One SELECT over the relation `relation`, and two views of the same.

    All of them read a relation called `_input`; `over(sql)` puts the query that provides it in front.

    `sql` yields one row for each input row: the row id, every target, `_state` (0 accepted, 1 rejected, 2 filtered),
    `_errors` (NULL when accepted; else LIST of STRUCT(rule, field, code, message)), `_source` (NULL when accepted;
    else the source row as STRUCT) and one BOOLEAN `_warning_<n>` for each rule of severity warning.

    Attributes:
        sql: the SELECT described above, for one streaming pass.
        accepted_sql: targets of accepted rows only (row id first).
        rejected_sql: row id, `_source`, `_errors` of rejected rows only.
        relation: name the SELECTs read from.
        fields: target columns with the result nullability.
        columns: lineage: target -> columns read.
        warning_rules: ids of warning rules, in the order of their columns.
        problems: warnings found when compiling, path -> findings.
        map_sql: as `sql` without `_source` and `_errors`, for callers that hold the source rows themselves.
    """

    sql: str
    accepted_sql: str
    rejected_sql: str
    relation: str
    fields: tuple[Field, ...]
    columns: dict[str, tuple[str, ...]]
    warning_rules: tuple[str, ...]
    row_id: str
    schema: Schema
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    map_sql: str = ""

    def over(self, relation_sql: str, select: str | None = None) -> str:
        """One of the SELECTs (default `sql`) over a query that yields the row id and the schema's columns.

        Args:
            relation_sql: for example `SELECT row_number() OVER () AS _row_id, * FROM read_csv(…)`.
            select: `accepted_sql`, `rejected_sql` or `map_sql` instead.
        """
        return f"WITH {self.relation} AS ({relation_sql}) {select or self.sql}"


@dataclass(frozen=True, slots=True)
class ExpressionFault:
    """Why a named expression has no value for a row."""

    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RowResult:
    """Values of the named expressions for one row; an expression with an error has None and an entry in `errors`."""

    values: dict[str, Any]
    errors: tuple[ExpressionFault, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every expression has a value."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class MappedBatch:
    """One batch after mapping.

    Attributes:
        accepted: row id and targets, target types and order as in the request.
        rejected: row id, `_source` (STRUCT of the source row), `_errors` (LIST of STRUCT(rule, field, code, message)).
        rows_read: input rows; = accepted + rejected + unexplained + filtered.
        filtered: rows the filter skipped.
        warnings: rule id -> rows that broke a warning rule (accepted ones).
        unexplained: row id and source columns of rejected rows whose broken rules nobody has asked for yet (see
            `BatchMapper.explain`); not in `rejected`.
    """

    accepted: pa.Table
    rejected: pa.Table
    rows_read: int
    filtered: int
    warnings: dict[str, int] = field(default_factory=dict)
    unexplained: pa.Table | None = None

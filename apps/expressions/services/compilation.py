"""A whole mapping as one SELECT: targets, filter and rules; every broken rule of a row is named, and no row fails."""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

from dataclasses import dataclass, field

from apps.core.exceptions import Problem as PathProblem
from apps.expressions.choices import ROW_TEXT, Code, RowCode
from apps.expressions.contracts import CompiledSelect, CompileRequest, Field, MappedField, Problem, Schema, Validation
from apps.expressions.exceptions import ExpressionInvalid
from apps.expressions.services.binding import MAPPED
from apps.expressions.services.checking import Analysis, analyse
from apps.expressions.services.emitting import Emitter, Fault, Layers, Value, any_fault, column_value
from apps.expressions.services.rendering import quote_text
from apps.expressions.tree import Call, Name, Node, Text
from apps.expressions.types import SqlType, UnknownTypeName, parse_type, quote_name

RELATION = "_input"
STATE, ERRORS, SOURCE = "_state", "_errors", "_source"
ACCEPTED, REJECTED, FILTERED = 0, 1, 2
STRICT = {"upper", "lower", "trim", "ltrim", "rtrim"}
"""Functions whose value is NULL where their first argument is, and nowhere else."""
ERROR_TYPE = "STRUCT(rule VARCHAR, field VARCHAR, code VARCHAR, message VARCHAR)"


@dataclass(frozen=True, slots=True)
class Breach:
    """A way a row can be rejected: who says so, and when."""

    rule: str
    field: str | None
    code: str
    message: str
    condition: str
    level: int


class SelectDialect:
    """How one engine spells what is around the expressions."""

    emitter: type[Emitter] = Emitter
    layers: type[Layers] = Layers
    small_integer = "TINYINT"

    def type_name(self, name: SqlType) -> str:
        """A type in a CAST."""
        return str(name)

    def is_false(self, sql: str) -> str:
        """A condition that is FALSE, not NULL."""
        return f"({sql} IS NOT DISTINCT FROM FALSE)"

    def errors(self, groups: list[list[Breach]]) -> str:
        """The list of what is wrong; of a field's possible breaches only the first that holds."""
        if not groups:
            return f"CAST([] AS {ERROR_TYPE}[])"
        return f"list_filter([{', '.join(self.cases(groups))}], lambda e: e IS NOT NULL)"

    def cases(self, groups: list[list[Breach]]) -> list[str]:
        """One CASE per field or rule: its entry, or NULL."""
        return [f"CASE {' '.join(f'WHEN {b.condition} THEN {self.entry(b)}' for b in group)} END" for group in groups]

    def entry(self, breach: Breach) -> str:
        """One element of `_errors`."""
        target = quote_text(breach.field) if breach.field is not None else "CAST(NULL AS VARCHAR)"
        return (
            f"struct_pack(rule := {quote_text(breach.rule)}, field := {target}, "
            f"code := {quote_text(breach.code)}, message := {quote_text(breach.message)})"
        )

    def source(self, schema: Schema) -> str:
        """The whole source row as one value."""
        pairs = ", ".join(f"{quote_name(f.name)} := {quote_name(f.name)}" for f in schema)
        return f"struct_pack({pairs})" if pairs else "NULL"


@dataclass(slots=True)
class _Plan:
    """What compiling gathers."""

    dialect: SelectDialect
    layers: Layers
    mapped: dict[str, Value] = field(default_factory=dict)
    breaches: list[list[Breach]] = field(default_factory=list)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    errors: list[PathProblem] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)


def compile_select(request: CompileRequest) -> CompiledSelect:
    """Compile a mapping.

    Args:
        request: schema, fields, filter and validations.

    Returns:
        The SELECTs. Conversion errors, overflow, division by zero, NULL in a target that must not be NULL and broken
        rules become entries of `_errors`; nothing about a row makes the statement fail.

    Raises:
        ExpressionInvalid: an expression or a type is wrong; `problems` name every one with its path
            (`fields[2].expression`, `filter`, `validations[0].expression`) and offsets.
    """
    return build_select(request, SelectDialect())


def build_select(request: CompileRequest, dialect: SelectDialect) -> CompiledSelect:
    """As `compile_select`, in the spelling of another engine.

    Raises:
        ExpressionInvalid: as there.
        NotPushable: the engine cannot keep the meaning of an expression.
    """
    plan = _Plan(dialect, dialect.layers(_free_prefix(request.schema)))
    _check_names(request, plan)
    for index, item in enumerate(request.fields):
        _add_field(plan, request, item, f"fields[{index}]")
    mapped = Schema(tuple(plan.fields))
    kept = _add_filter(plan, request, mapped)
    warnings = [
        found
        for index, rule in enumerate(request.validations)
        if (found := _add_rule(plan, request, rule, mapped, f"validations[{index}].expression")) is not None
    ]
    if plan.errors:
        raise ExpressionInvalid(plan.errors[0].message, field=plan.errors[0].path, problems=plan.errors)
    return _assemble(plan, request, kept, warnings)


def _free_prefix(schema: Schema) -> str:
    prefix = "_v"
    while any(item.name.lower().startswith(prefix) for item in schema):
        prefix = "_" + prefix
    return prefix


def _check_names(request: CompileRequest, plan: _Plan) -> None:
    seen: set[str] = set()
    for item in request.schema:
        if item.name.lower() in seen:
            message = f"Two source columns are called {item.name!r} (case does not count)."
            plan.errors.append(PathProblem("schema", Code.NOT_ALLOWED, message))
        seen.add(item.name.lower())
    targets: set[str] = {request.row_id.lower(), STATE, ERRORS, SOURCE}
    for index, target in enumerate(request.fields):
        if target.target.lower() in targets or not target.target:
            message = f"The target {target.target!r} is mapped twice, or its name is not possible."
            plan.errors.append(PathProblem(f"fields[{index}].target", Code.NOT_ALLOWED, message))
        targets.add(target.target.lower())


def _analyse(
    plan: _Plan, path: str, source: str, request: CompileRequest, target: str, mapped: Schema | None, nullable: bool
) -> Analysis | None:
    analysis = analyse(source, request.schema, target, mapped, nullable)
    if analysis.checked.problems:
        plan.problems[path] = analysis.checked.problems
    if analysis.checked.ok:
        return analysis
    plan.errors += [
        PathProblem(path, p.code, p.message, p.severity, p.start, p.end, p.hint)
        for p in analysis.checked.problems
        if p.severity == "error"
    ]
    return None


def _emitter(plan: _Plan, analysis: Analysis) -> Emitter:
    names = analysis.names
    assert analysis.types is not None  # the caller has looked at `ok`

    def column(name: Name) -> Value:
        found = names.resolve(name)
        if found.column.startswith(f"{MAPPED}.") and names.mapped is not None and found.field in names.mapped.fields:
            target = plan.mapped[found.field.name]
            return column_value(target.sql, found.path, target.level)
        return column_value(quote_name(found.column), found.path, 0)

    return plan.dialect.emitter(analysis.types, plan.layers, column)


def _add_field(plan: _Plan, request: CompileRequest, item: MappedField, path: str) -> None:
    try:
        target = parse_type(item.type)
    except UnknownTypeName as error:
        plan.errors.append(PathProblem(f"{path}.type", Code.UNKNOWN_TYPE, str(error)))
        return
    plan.fields.append(Field(item.target, str(target), item.nullable))
    expression = f"{path}.expression"
    analysis = _analyse(plan, expression, item.expression, request, str(target), None, item.nullable)
    if analysis is None or analysis.tree is None or analysis.types is None:
        return
    value = _emitter(plan, analysis).convert(analysis.tree, target)
    if analysis.types[analysis.tree].family == "null":
        value = Value(f"CAST(NULL AS {plan.dialect.type_name(target)})", value.level, value.faults)
    kept = value if value.simple else plan.layers.keep(value.sql, value.level)
    plan.mapped[item.target] = Value(kept.sql, kept.level, (), True)
    plan.columns[item.target] = analysis.checked.columns
    breaches = _fault_breaches(value.faults, item.target, item.target, item.target)
    if not item.nullable and analysis.checked.nullable:
        origin = None if value.faults else _null_origin(analysis.tree)
        cause = kept if origin is None else _emitter(plan, analysis).emit(origin)
        message = f"{item.target} {ROW_TEXT[RowCode.NULL]}."
        sql = f"({cause.sql} IS NULL)"
        breaches.append(Breach(f"{item.target}.null", item.target, RowCode.NULL, message, sql, cause.level))
    if breaches:
        plan.breaches.append(breaches)


def _null_origin(node: Node) -> Name | None:
    """The column that alone decides whether the value is NULL: looking at it costs nothing."""
    while isinstance(node, Call) and node.name in STRICT and all(isinstance(arg, Text) for arg in node.args[1:]):
        node = node.args[0]
    return node if isinstance(node, Name) else None


def _fault_breaches(faults: tuple[Fault, ...], rule: str, target: str | None, label: str) -> list[Breach]:
    by_code: dict[str, list[Fault]] = {}
    for fault in faults:
        by_code.setdefault(fault.code, []).append(fault)
    return [
        Breach(
            f"{rule}.{code.rsplit('.', 1)[-1]}",
            target,
            code,
            f"{label} {ROW_TEXT[code]}.",
            any_fault(items),
            max(item.level for item in items),
        )
        for code, items in by_code.items()
    ]


def _add_filter(plan: _Plan, request: CompileRequest, mapped: Schema) -> Value | None:
    if request.filter is None or not request.filter.strip():
        return None
    analysis = _analyse(plan, "filter", request.filter, request, "BOOLEAN", mapped, True)
    if analysis is None or analysis.tree is None or not _ready(plan, analysis):
        return None
    value = _condition(plan, analysis, "filter")
    if value is None:
        return None
    breaches = _fault_breaches(value.faults, "filter", None, "The filter")
    if breaches:
        plan.breaches.append(breaches)
    return value


def _ready(plan: _Plan, analysis: Analysis) -> bool:
    """Whether every target the expression reads could be compiled; if not, that error has been noted."""
    prefix = f"{MAPPED}."
    known = {f"{prefix}{name}" for name in plan.mapped}
    return all(column in known for column in analysis.checked.columns if column.startswith(prefix))


def _condition(plan: _Plan, analysis: Analysis, path: str) -> Value | None:
    tree, types = analysis.tree, analysis.types
    assert tree is not None  # the caller has looked
    assert types is not None
    if types[tree].family not in {"boolean", "null"}:
        message = f"A condition is needed; this is {types[tree]}."
        plan.errors.append(PathProblem(path, Code.TYPE_MISMATCH, message, "error", tree.start, tree.end))
        return None
    value = _emitter(plan, analysis).emit(tree)
    kept = value if value.simple else plan.layers.keep(value.sql, value.level)
    return Value(kept.sql, kept.level, value.faults, True)


def _add_rule(
    plan: _Plan, request: CompileRequest, rule: Validation, mapped: Schema, path: str
) -> tuple[str, Value] | None:
    """Note the rule's breaches; for a warning return its id and value instead."""
    analysis = _analyse(plan, path, rule.expression, request, "BOOLEAN", mapped, True)
    if analysis is None or analysis.tree is None or not _ready(plan, analysis):
        return None
    value = _condition(plan, analysis, path)
    if value is None:
        return None
    if rule.severity == "warning":
        return rule.id, value
    breaches = _fault_breaches(value.faults, rule.id, rule.field, rule.id)
    message = rule.message or f"The rule {rule.id} does not hold."
    broken = plan.dialect.is_false(value.sql)
    breaches.append(Breach(rule.id, rule.field, RowCode.RULE, message, broken, value.level))
    plan.breaches.append(breaches)
    return None


def _assemble(
    plan: _Plan, request: CompileRequest, kept: Value | None, warnings: list[tuple[str, Value]]
) -> CompiledSelect:
    breaches = [breach for group in plan.breaches for breach in group]
    level = max([0, *(b.level for b in breaches), *(value.level for _, value in warnings), kept.level if kept else 0])
    broken = " OR ".join(dict.fromkeys(breach.condition for breach in breaches)) or "FALSE"
    state = f"CASE WHEN {broken} THEN {REJECTED} ELSE {ACCEPTED} END"
    if kept is not None:
        faulty = any_fault(kept.faults)
        skipped = f"{kept.sql} IS DISTINCT FROM TRUE AND NOT {faulty}"
        state = f"CASE WHEN {skipped} THEN {FILTERED} WHEN {broken} THEN {REJECTED} ELSE {ACCEPTED} END"
    state_column = plan.layers.keep(f"CAST({state} AS {plan.dialect.small_integer})", level).sql
    rejected = f"{state_column} = {REJECTED}"
    source, listed = plan.dialect.source(request.schema), plan.dialect.errors(plan.breaches)
    row_id = quote_name(request.row_id)
    targets = [f"{plan.mapped[f.target].sql} AS {quote_name(f.target)}" for f in request.fields]
    flags = [f'({value.sql} IS NOT DISTINCT FROM FALSE) AS "_warning_{i}"' for i, (_, value) in enumerate(warnings)]
    details = [f"CASE WHEN {rejected} THEN {item} END AS {name}" for item, name in ((listed, ERRORS), (source, SOURCE))]
    relation = plan.layers.wrap(RELATION)
    state_item = f"{state_column} AS {STATE}"

    def select(items: list[str], where: str = "") -> str:
        return f"SELECT {', '.join(items)} FROM {relation}{where}"

    return CompiledSelect(
        sql=select([row_id, *targets, state_item, *details, *flags]),
        map_sql=select([row_id, *targets, state_item, *flags]),
        accepted_sql=select([row_id, *targets], f" WHERE {state_column} = {ACCEPTED}"),
        rejected_sql=select([row_id, f"{source} AS {SOURCE}", f"{listed} AS {ERRORS}"], f" WHERE {rejected}"),
        relation=RELATION,
        fields=tuple(plan.fields),
        columns=plan.columns,
        warning_rules=tuple(name for name, _ in warnings),
        row_id=request.row_id,
        schema=request.schema,
        problems=plan.problems,
    )

"""The tree as SQL that never raises: a value, and beside it the conditions under which the row has none.

Each operation that can fail (a cast, a division, an overflow, `strptime` …) becomes a form that answers NULL, and a
fault condition that tells this NULL from an honest one. Values that both need are computed once, in a layer below
(`SELECT *, try_cast(x AS …) AS _v1 FROM …`), so that a clean batch costs about what the bare SELECT costs. `CASE`,
`coalesce`, `AND` and `OR` pass on only the faults of what they really evaluate.
"""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apps.expressions.catalogue import FUNCTIONS
from apps.expressions.choices import RowCode
from apps.expressions.services.binding import Types
from apps.expressions.services.rendering import PlainRenderer, assemble, call_sql, member_of
from apps.expressions.tree import Binary, Call, Case, Cast, Constant, Lambda, Name, Node, Number, Text, Unary
from apps.expressions.types import SqlType, digits, fit, parse_type, quote_name

ARITHMETIC = {"+", "-", "*"}


@dataclass(frozen=True, slots=True)
class Fault:
    """A condition under which there is no value.

    Attributes:
        code: row code.
        sql: BOOLEAN; NULL counts as FALSE.
        level: layer from which on it can be computed.
    """

    code: str
    sql: str
    level: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value and its faults; where one holds, the value means nothing."""

    sql: str
    level: int
    faults: tuple[Fault, ...] = ()
    simple: bool = False


class Layers:
    """Columns computed below the final SELECT, each once, in layers."""

    def __init__(self, prefix: str = "_v") -> None:
        """Start with the input's columns as layer 0."""
        self.prefix = prefix
        self._by_sql: dict[str, Value] = {}
        self.columns: list[list[tuple[str, str]]] = []

    def keep(self, sql: str, level: int) -> Value:
        """The name of a column that holds `sql`, which can be computed in layer `level + 1`."""
        found = self._by_sql.get(sql)
        if found is None:
            name = quote_name(f"{self.prefix}{len(self._by_sql) + 1}")
            while len(self.columns) <= level:
                self.columns.append([])
            self.columns[level].append((name, sql))
            found = self._by_sql[sql] = Value(name, level + 1, (), True)
        return found

    def wrap(self, relation: str) -> str:
        """A FROM item with the input's and all kept columns."""
        layers = [layer for layer in self.columns if layer]
        for number, layer in enumerate(layers, start=1):
            kept = ", ".join(f"{sql} AS {name}" for name, sql in layer)
            relation = f"(SELECT *, {kept} FROM {relation}{self.fence(len(layers))}) AS _layer{number}"
        return relation

    def fence(self, layers: int) -> str:
        """What keeps a planner from merging layers (and computing kept values twice); ours does not merge."""
        return ""


ColumnRule = Callable[[Name], Value]


class Emitter:
    """Emits one expression into shared layers."""

    def __init__(self, types: Types, layers: Layers, column_rule: ColumnRule) -> None:
        """Types of the parts, where values are kept, and how columns are spelled."""
        self.types = types
        self.layers = layers
        self.column_rule = column_rule
        self.plain = PlainRenderer(lambda name: self.column_rule(name).sql)

    def emit(self, node: Node) -> Value:
        """Value and faults of a part outside of lambdas."""
        match node:
            case Name():
                return self.column_rule(node)
            case Text() | Number() | Constant():
                return Value(assemble(node, self.plain.render), 0, (), True)
            case Cast():
                return self._cast(self.emit(node.operand), self.types[node.operand], parse_type(node.type), node.safe)
            case Case():
                return self._case(node)
            case Call():
                return self._call(node)
            case Binary(op="AND" | "OR"):
                return self._logic(node)
            case Binary(op="/" | "//" | "%"):
                return self._division(node.op, node.left, node.right, self.types.get(node))
            case Binary() if node.op in ARITHMETIC:
                return self._arithmetic(node)
            case Binary(op="->" | "->>") if self.types[node.left].family != "json":
                return self._guarded(node)
            case Binary(op="^"):
                return self._call(Call(node.start, node.end, "power", (node.left, node.right)))
            case Unary(op="-", operand=Number()):
                return Value(assemble(node, self.plain.render), 0, (), True)
            case Unary(op="-") if self.types[node.operand].family in {"integer", "interval"}:
                return self._guarded(node)
        return self._assembled(node)

    def convert(self, node: Node, target: SqlType) -> Value:
        """The expression's value as `target`."""
        return self._cast(self.emit(node), self.types[node], target, False)

    # ------------------------------------------------------------------------------------------------- building

    def _children(self, node: Node) -> tuple[list[Value], Callable[[Node], str]]:
        values = {id(child): self.emit(child) for child in node.children()}
        return list(values.values()), lambda child: values[id(child)].sql

    def _assembled(self, node: Node) -> Value:
        values, render = self._children(node)
        return Value(assemble(node, render), level_of(values), faults_of(values))

    def _guarded(self, node: Node) -> Value:
        values, render = self._children(node)
        return self._tried(assemble(node, render), level_of(values), faults_of(values), RowCode.FUNCTION)

    def _tried(self, sql: str, level: int, faults: tuple[Fault, ...], code: str) -> Value:
        """Anything that may raise: wrapped so that an error is NULL and an honest NULL is a struct around it."""
        kept = self.layers.keep(f"TRY(struct_pack(v := {sql}))", level)
        fault = Fault(code, f"{kept.sql} IS NULL", kept.level)
        return Value(f"struct_extract({kept.sql}, 'v')", kept.level, (*faults, fault), True)

    def _simple(self, value: Value) -> Value:
        """The value under a name, when it is more than a name."""
        if value.simple:
            return value
        kept = self.layers.keep(value.sql, value.level)
        return Value(kept.sql, kept.level, value.faults, True)

    # ----------------------------------------------------------------------------------------------- operations

    def _cast(self, value: Value, source: SqlType, target: SqlType, safe: bool) -> Value:
        how, _ = fit(source, target)
        if source == target:
            return value
        if how == "same" or (how == "widening" and source.family not in {"date", "timestamp"}):
            return Value(f"CAST({value.sql} AS {target})", value.level, value.faults)
        if safe:
            return Value(f"TRY_CAST({value.sql} AS {target})", value.level, value.faults)
        code = RowCode.OVERFLOW if source.is_number and target.is_number else RowCode.CONVERSION
        if target.items:  # inside of lists and structs TRY_CAST puts NULL for the bad part only
            return self._tried(f"CAST({value.sql} AS {target})", value.level, value.faults, code)
        value = self._simple(value)
        kept = self.layers.keep(f"TRY_CAST({value.sql} AS {target})", value.level)
        fault = Fault(code, f"({kept.sql} IS NULL AND {value.sql} IS NOT NULL)", kept.level)
        return Value(kept.sql, kept.level, (*value.faults, fault), True)

    def _arithmetic(self, node: Binary) -> Value:
        result, a, b = self.types.get(node), self.types.get(node.left), self.types.get(node.right)
        if result is None or not may_overflow(node.op, a, b, result):
            return self._assembled(node)
        left, right = self._simple(self.emit(node.left)), self._simple(self.emit(node.right))
        level = level_of((left, right))
        kept = self.layers.keep(f"TRY({left.sql} {node.op} {right.sql})", level)
        sql = f"({kept.sql} IS NULL AND {left.sql} IS NOT NULL AND {right.sql} IS NOT NULL)"
        fault = Fault(RowCode.OVERFLOW, sql, kept.level)
        return Value(kept.sql, kept.level, (*faults_of((left, right)), fault), True)

    def _division(self, op: str, left_node: Node, right_node: Node, result: SqlType | None) -> Value:
        left, right = self._simple(self.emit(left_node)), self._simple(self.emit(right_node))
        level, faults = level_of((left, right)), faults_of((left, right))
        literal = isinstance(right_node, Number)
        divisor = right.sql if literal else f"NULLIF({right.sql}, 0)"
        if not literal:
            zero = f"({right.sql} = 0 AND {left.sql} IS NOT NULL)"
            faults = (*faults, Fault(RowCode.DIVISION_BY_ZERO, zero, level))
        sql = f"({left.sql} {op} {divisor})"
        if op == "/" or (result is not None and result.family == "double"):
            return Value(sql, level, faults)
        kept = self.layers.keep(f"TRY{sql}", level)  # the lowest whole number // -1 has no room
        lost = f"({kept.sql} IS NULL AND {left.sql} IS NOT NULL AND {right.sql} <> 0)"
        return Value(kept.sql, kept.level, (*faults, Fault(RowCode.OVERFLOW, lost, kept.level)), True)

    def _logic(self, node: Binary) -> Value:
        """AND and OR stop at the left side when it decides, and so do the faults of the right side."""
        left, right = self.emit(node.left), self.emit(node.right)
        if right.faults:
            left = self._simple(left)
        decided = "FALSE" if node.op == "AND" else "TRUE"
        faults = list(left.faults)
        for fault in right.faults:
            sql = f"({left.sql} IS DISTINCT FROM {decided} AND {fault.sql})"
            faults.append(Fault(fault.code, sql, max(fault.level, left.level)))
        return Value(f"({left.sql} {node.op} {right.sql})", level_of((left, right)), tuple(faults))

    def _case(self, node: Case) -> Value:
        conditions = [self.emit(condition) for condition, _ in node.whens]
        values = [self.emit(value) for _, value in node.whens]
        return self._choose(conditions, values, self.emit(node.default) if node.default else Value("NULL", 0))

    def _choose(self, conditions: list[Value], values: list[Value], default: Value) -> Value:
        """A CASE; only the branch taken counts."""
        everything = [*conditions, *values, default]
        if any(value.faults for value in everything):
            conditions = [self._simple(condition) for condition in conditions]
        whens = " ".join(f"WHEN {c.sql} THEN {v.sql}" for c, v in zip(conditions, values, strict=True))
        level = level_of([*conditions, *values, default])
        sql = f"(CASE {whens} ELSE {default.sql} END)"
        return Value(sql, level, _case_faults(conditions, values, default))

    def _call(self, node: Call) -> Value:
        function = FUNCTIONS[node.name]
        if node.name == "if":
            return self._case(Case(node.start, node.end, ((node.args[0], node.args[1]),), node.args[2]))
        if node.name in {"coalesce", "ifnull"}:
            return self._coalesce(node)
        if node.name == "try":
            return self._try(self.emit(node.args[0]))
        if node.name == "mod":
            return self._division("%", node.args[0], node.args[1], self.types.get(node))
        values = [self.emit(arg) for arg in node.args if not isinstance(arg, Lambda)]
        if node.name == "strptime":
            return self._strptime(values)
        if function.domain:
            return self._domain(node, [self._simple(value) for value in values])
        rest = iter(values)
        # The accumulator and elements of a lambda are beyond layers: its body is rendered plainly and may raise.
        args = [self.plain.render(arg) if isinstance(arg, Lambda) else next(rest).sql for arg in node.args]
        level = level_of([*values, *self._lambda_columns(node)])
        if function.fails:
            return self._tried(call_sql(node, args), level, faults_of(values), RowCode.FUNCTION)
        return Value(call_sql(node, args), level, faults_of(values))

    def _lambda_columns(self, node: Call) -> list[Value]:
        from apps.expressions.services.binding import used_names

        bodies = (arg for arg in node.args if isinstance(arg, Lambda))
        return [self.column_rule(name) for body in bodies for name in used_names(body)]

    def _strptime(self, values: list[Value]) -> Value:
        text = self._simple(values[0])
        kept = self.layers.keep(f"try_strptime({text.sql}, {values[1].sql})", max(text.level, values[1].level))
        fault = Fault(RowCode.CONVERSION, f"({kept.sql} IS NULL AND {text.sql} IS NOT NULL)", kept.level)
        return Value(kept.sql, kept.level, (*faults_of(values), fault), True)

    def _domain(self, node: Call, values: list[Value]) -> Value:
        """Arguments outside of the domain become NULL before the function sees them."""
        condition = (FUNCTIONS[node.name].domain or "").format(*(value.sql for value in values))
        args = [value.sql for value in values]
        args[0] = f"CASE WHEN {condition} THEN NULL ELSE {args[0]} END"
        fault = Fault(RowCode.DOMAIN, f"({condition})", level_of(values))
        return Value(call_sql(node, args), level_of(values), (*faults_of(values), fault))

    def _coalesce(self, node: Call) -> Value:
        return self._first([self.emit(arg) for arg in node.args])

    def _first(self, values: list[Value]) -> Value:
        """COALESCE; an argument counts when all before it are NULL."""
        if any(value.faults for value in values[1:]):
            values = [*(self._simple(value) for value in values[:-1]), values[-1]]
        faults = list(values[0].faults)
        for position, value in enumerate(values[1:], start=1):
            before = " AND ".join(f"{earlier.sql} IS NULL" for earlier in values[:position])
            level = level_of(values[:position])
            faults += [Fault(f.code, f"({before} AND {f.sql})", max(level, f.level)) for f in value.faults]
        return Value(f"coalesce({', '.join(value.sql for value in values)})", level_of(values), tuple(faults))

    def _try(self, value: Value) -> Value:
        if not value.faults:
            return value
        level = max(value.level, *(fault.level for fault in value.faults))
        condition = any_fault(value.faults)
        return Value(f"(CASE WHEN {condition} THEN NULL ELSE {value.sql} END)", level)


def any_fault(faults: Iterable[Fault]) -> str:
    """One BOOLEAN, never NULL: whether any fault holds."""
    parts = list(dict.fromkeys(fault.sql for fault in faults))
    return f"coalesce({' OR '.join(parts)}, FALSE)" if parts else "FALSE"


def column_value(sql: str, path: tuple[str, ...], level: int, faults: tuple[Fault, ...] = ()) -> Value:
    """A column, or a path into one."""
    return Value(member_of(sql, path), level, faults, True)


def level_of(values: Iterable[Value]) -> int:
    """The layer from which on all of them can be used."""
    return max((value.level for value in values), default=0)


def faults_of(values: Iterable[Value]) -> tuple[Fault, ...]:
    """All their faults, each once."""
    return tuple(dict.fromkeys(fault for value in values for fault in value.faults))


def _case_faults(conditions: list[Value], values: list[Value], default: Value) -> tuple[Fault, ...]:
    """For each code one CASE with the same conditions, so that only the branch taken counts."""
    codes = dict.fromkeys(fault.code for value in (*conditions, *values, default) for fault in value.faults)
    found = []
    for code in codes:
        parts: list[str] = []
        level = 0
        for condition, value in zip(conditions, values, strict=True):
            for guard, outcome in ((_of(condition, code), "TRUE"), (condition.sql, _of(value, code) or "FALSE")):
                if guard:
                    parts.append(f"WHEN {guard} THEN {outcome}")
            level = max(level, condition.level, *(f.level for f in (*condition.faults, *value.faults)), 0)
        level = max(level, *(fault.level for fault in default.faults), 0)
        found.append(Fault(code, f"(CASE {' '.join(parts)} ELSE {_of(default, code) or 'FALSE'} END)", level))
    return tuple(found)


def _of(value: Value, code: str) -> str:
    parts = dict.fromkeys(fault.sql for fault in value.faults if fault.code == code)
    return f"({' OR '.join(parts)})" if parts else ""


def may_overflow(op: str, a: SqlType | None, b: SqlType | None, result: SqlType) -> bool:
    """Whether exact arithmetic can leave the result's type."""
    if result.family == "double" or a is None or b is None:
        return False
    if result.family != "decimal":
        return True  # whole numbers, and dates with intervals
    whole = [digits(side)[0] for side in (a, b) if side.family in {"decimal", "integer"}]
    if len(whole) < 2:
        return True
    needed = sum(whole) if op == "*" else max(whole) + 1
    return needed > result.width - result.scale

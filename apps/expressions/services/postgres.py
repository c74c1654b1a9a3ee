"""The emitter for PostgreSQL: values and faults with PostgreSQL's operators, or NotPushable."""

from __future__ import annotations

from apps.expressions.catalogue import FUNCTIONS
from apps.expressions.choices import RowCode
from apps.expressions.exceptions import NotPushable
from apps.expressions.services.emitting import (
    ARITHMETIC,
    Emitter,
    Fault,
    Layers,
    Value,
    faults_of,
    level_of,
    may_overflow,
)
from apps.expressions.services.postgres_types import (
    FAMILIES,
    INTERVALS,
    ORDERED,
    cast_sql,
    double,
    filled,
    is_literal,
    postgres_type,
    reads_alike,
)
from apps.expressions.services.rendering import quote_text
from apps.expressions.services.rules import COMPARISONS
from apps.expressions.tree import (
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Constant,
    InList,
    IntervalOf,
    IsNull,
    Like,
    Name,
    Node,
    Number,
    Text,
    Unary,
)
from apps.expressions.types import INTEGERS, SqlType, fit, parse_type


class PostgresLayers(Layers):
    """Layers that PostgreSQL must not merge, or it would compute kept values once for each use."""

    def fence(self, layers: int) -> str:
        """`OFFSET 0`, where merging could multiply; two layers are cheaper merged."""
        return " OFFSET 0" if layers > 2 else ""


class PostgresEmitter(Emitter):
    """Emits one expression as PostgreSQL."""

    def emit(self, node: Node) -> Value:
        """Value and faults of a part.

        Raises:
            NotPushable: PostgreSQL could answer differently.
        """
        match node:
            case Name():
                return self.column_rule(node)
            case Text():
                return Value(f"{quote_text(node.value)}::text", 0, (), True)
            case Number():
                return self._number(node)
            case Constant():
                return Value({True: "TRUE", False: "FALSE", None: "NULL"}[node.value], 0, (), True)
            case IntervalOf() if node.unit in INTERVALS:
                return self._build(f"make_interval({INTERVALS[node.unit]} => {{}}::integer)", node.amount)
            case Cast(operand=Text(value=text)) if is_literal(node):
                sql = f"CAST({quote_text(text)} AS {postgres_type(parse_type(node.type))})"
                return Value(sql, 0, (), True)
            case Cast():
                return self._cast(self.emit(node.operand), self.types[node.operand], parse_type(node.type), node.safe)
            case Case():
                return self._case(node)
            case Call():
                return self._call(node)
            case Unary(op="-", operand=Number()):
                value = self.emit(node.operand)
                return Value(f"(-{value.sql})", 0, (), True)
            case Unary(op="NOT"):
                return self._build("(NOT {})", node.operand)
            case Unary(op="-") if self.types[node.operand].family == "decimal":
                return self._build("(- {})", node.operand)
            case IsNull():
                return self._build("({} IS NULL)", node.operand)
        return self._operator(node)

    def _operator(self, node: Node) -> Value:
        match node:
            case Binary(op="AND" | "OR"):
                return self._logic(node)
            case Binary(op="/" | "//" | "%"):
                return self._division(node.op, node.left, node.right, self.types.get(node))
            case Binary() if node.op in ARITHMETIC:
                return self._arithmetic(node)
            case Binary(op="||") if self._are("text", node.left, node.right):
                return self._build("({} || {})", node.left, node.right)
            case Binary() if node.op in COMPARISONS:
                return self._compare(node.op, node.left, node.right)
            case Between():
                low = self._compare(">=", node.operand, node.low)
                high = self._compare("<=", node.operand, node.high)
                return Value(f"({low.sql} AND {high.sql})", level_of((low, high)), faults_of((low, high)))
            case InList():
                parts = [self._compare("=", node.operand, item) for item in node.items]
                return Value(f"({' OR '.join(part.sql for part in parts)})", level_of(parts), faults_of(parts))
            case Like(op="LIKE") if self._are("text", node.operand, node.pattern):
                escape = quote_text(node.escape or "")
                return self._build(f'({{}} COLLATE "C" LIKE {{}} ESCAPE {escape})', node.operand, node.pattern)
        what = getattr(node, "op", None) or type(node).__name__.lower()
        raise NotPushable(f"{what} on {self._type_list(node)} is not the same in PostgreSQL.")

    # ------------------------------------------------------------------------------------------------- building

    def _build(self, template: str, *nodes: Node) -> Value:
        values = [self.emit(node) for node in nodes]
        return Value(template.format(*(value.sql for value in values)), level_of(values), faults_of(values))

    def _are(self, family: str, *nodes: Node) -> bool:
        return all(self.types[node].family in {family, "null"} for node in nodes)

    def _type_list(self, node: Node) -> str:
        return ", ".join(str(self.types.get(child) or "lambda") for child in node.children()) or "this"

    def _number(self, node: Number) -> Value:
        kind = self.types[node]
        suffix = "" if kind.kind in {"INTEGER", "BIGINT"} else f"::{postgres_type(kind)}"
        return Value(f"{node.value.rstrip('.')}{suffix}", 0, (), True)

    def _kept(self, sql: str, level: int, faults: tuple[Fault, ...]) -> Value:
        kept = self.layers.keep(sql, level)
        return Value(kept.sql, kept.level, faults, True)

    def _unified(self, node: Node, target: SqlType) -> Value:
        """A branch's value in the type all branches get."""
        source, value = self.types[node], self.emit(node)
        if source == target:
            return value
        if source.family == "null":
            return Value(f"CAST(NULL AS {postgres_type(target)})", value.level, value.faults)
        if source.family == target.family and target.family != "decimal":
            return Value(f"CAST({value.sql} AS {postgres_type(target)})", value.level, value.faults)
        return self._cast(value, source, target, False)

    # ----------------------------------------------------------------------------------------------- operations

    def _compare(self, op: str, left: Node, right: Node) -> Value:
        a, b = self.types[left], self.types[right]
        families = {a.family, b.family} - {"null"}
        if "double" in families and families <= {"double", "integer", "decimal"}:
            pair = [self._simple(self.emit(left)), self._simple(self.emit(right))]
            sql = f"({double(pair[0].sql, a)} {op} {double(pair[1].sql, b)})"
            return Value(sql, level_of(pair), faults_of(pair))
        if families and not ((len(families) == 1 and families <= {
            "integer", "decimal", "boolean", "date", "timestamp", "timestamptz", "uuid", "text", "double", "time"
        }) or families in ({"integer", "decimal"}, {"date", "timestamp"})):  # fmt: skip
            return self._compare_literal(op, left, right)
        values = [self.emit(left), self.emit(right)]
        collate = ' COLLATE "C"' if "text" in families and op in ORDERED else ""
        sql = f"({values[0].sql}{collate} {op} {values[1].sql})"
        return Value(sql, level_of(values), faults_of(values))

    def _compare_literal(self, op: str, left: Node, right: Node) -> Value:
        """A text literal next to a date or number is read as one."""
        for text, other, swapped in ((right, left, False), (left, right, True)):
            target = self.types[other]
            if isinstance(text, Text) and reads_alike(text.value, target):
                literal = Value(f"CAST({quote_text(text.value)} AS {postgres_type(target)})", 0)
                values = [self.emit(other), literal]
                first, second = (literal, values[0]) if swapped else (values[0], literal)
                return Value(f"({first.sql} {op} {second.sql})", level_of(values), faults_of(values))
        raise NotPushable(f"Comparing {self.types[left]} with {self.types[right]} is not the same in PostgreSQL.")

    def _arithmetic(self, node: Binary) -> Value:
        a, b, result = self.types[node.left], self.types[node.right], self.types[node]
        if {a.family, b.family} <= {"integer", "decimal"} and result.family in {"integer", "decimal"}:
            return self._exact(node, result)
        if (a.family, b.family) == ("date", "date") and node.op == "-":
            return self._build("({} - {})::bigint", node.left, node.right)
        if node.op != "*" and (a.family, b.family) in {("date", "interval"), ("timestamp", "interval")}:
            return self._build(f"({{}}::timestamp {node.op} {{}})", node.left, node.right)
        if node.op != "*" and (a.family, b.kind) == ("date", "INTEGER"):
            return self._build(f"({{}} {node.op} {{}})", node.left, node.right)
        raise NotPushable(f"{a} {node.op} {b} can differ in PostgreSQL in its last digit or its limits.")

    def _exact(self, node: Binary, result: SqlType) -> Value:
        left, right = self._simple(self.emit(node.left)), self._simple(self.emit(node.right))
        level, faults = level_of((left, right)), faults_of((left, right))
        sql = f"({left.sql}::numeric {node.op} {right.sql}::numeric)"
        if not may_overflow(node.op, self.types[node.left], self.types[node.right], result):
            return Value(sql, level, faults)
        kept = self._kept(sql, level, ())
        return self._bounded(kept, result, faults)

    def _bounded(self, value: Value, target: SqlType, faults: tuple[Fault, ...]) -> Value:
        """An exact number inside of its type, or a fault."""
        if target.family == "integer":
            _, low, high = INTEGERS[target.kind]
            outside = f"({value.sql} NOT BETWEEN {low} AND {high})"
        else:
            outside = f"(abs({value.sql}) >= 1e{target.width - target.scale}::numeric)"
        fault = Fault(RowCode.OVERFLOW, outside, value.level)
        sql = f"(CASE WHEN {outside} THEN NULL ELSE CAST({value.sql} AS {postgres_type(target)}) END)"
        kept = self._kept(sql, value.level, (*value.faults, *faults, fault))
        return Value(kept.sql, kept.level, kept.faults, True)

    def _division(self, op: str, left_node: Node, right_node: Node, result: SqlType | None) -> Value:
        a, b = self.types[left_node], self.types[right_node]
        left, right = self._simple(self.emit(left_node)), self._simple(self.emit(right_node))
        level, faults = level_of((left, right)), faults_of((left, right))
        if not isinstance(right_node, Number):
            zero = f"({right.sql} = 0 AND {left.sql} IS NOT NULL)"
            faults = (*faults, Fault(RowCode.DIVISION_BY_ZERO, zero, level))
        if op == "/":
            return Value(f"({double(left.sql, a)} / NULLIF({double(right.sql, b)}, 0))", level, faults)
        if not {a.family, b.family} <= {"integer", "decimal"} or result is None:
            raise NotPushable(f"{a} {op} {b} is not the same in PostgreSQL.")
        if op == "%" and result.family == "integer":  # the engine has no room for the quotient that belongs to it
            low = INTEGERS[result.kind][1]
            faults = (*faults, Fault(RowCode.OVERFLOW, f"({left.sql} = {low} AND {right.sql} = -1)", level))
        numbers = f"{left.sql}::numeric", f"NULLIF({right.sql}, 0)::numeric"
        sql = f"div({numbers[0]}, {numbers[1]})" if op == "//" else f"({numbers[0]} % {numbers[1]})"
        return self._bounded(self._kept(sql, level, ()), result, faults)

    def _cast(self, value: Value, source: SqlType, target: SqlType, safe: bool) -> Value:
        if source == target:
            return value
        if source.family == "null":
            return Value(f"CAST(NULL AS {postgres_type(target)})", value.level, value.faults)
        if source.family in {"integer", "decimal"} and target.family in {"integer", "decimal"}:
            return self._cast_exact(value, source, target, safe)
        if target.family == "double" and target.kind == "DOUBLE" and source.family in {"integer", "decimal"}:
            value = self._simple(value)
            return Value(double(value.sql, source), value.level, value.faults)
        sql = cast_sql(value.sql, source, target)
        if sql is None:
            raise NotPushable(f"CAST from {source} to {target} is not the same in PostgreSQL.")
        return Value(sql, value.level, value.faults)

    def _cast_exact(self, value: Value, source: SqlType, target: SqlType, safe: bool) -> Value:
        if fit(source, target)[0] in {"same", "widening"}:
            return Value(f"CAST({value.sql} AS {postgres_type(target)})", value.level, value.faults, value.simple)
        scale = target.scale if target.kind == "DECIMAL" else 0
        kept = self._kept(f"round({value.sql}::numeric, {scale})", value.level, ())
        found = self._bounded(kept, target, value.faults)
        if not safe:
            return found
        return Value(found.sql, found.level, value.faults, True)

    def _case(self, node: Case) -> Value:
        result = self.types[node] if self.types.get(node) is not None else self.types[node.whens[0][1]]
        return self._cases([(c, v) for c, v in node.whens], node.default, result)

    def _cases(self, whens: list[tuple[Node, Node]], default: Node | None, result: SqlType) -> Value:
        conditions = [self.emit(condition) for condition, _ in whens]
        values = [self._unified(value, result) for _, value in whens]
        last = self._unified(default, result) if default else Value(f"CAST(NULL AS {postgres_type(result)})", 0)
        return self._choose(conditions, values, last)

    def _call(self, node: Call) -> Value:
        if node.name == "if":
            return self._cases([(node.args[0], node.args[1])], node.args[2], self.types[node])
        if node.name in {"coalesce", "ifnull"}:
            return self._first([self._unified(arg, self.types[node]) for arg in node.args])
        if node.name == "try":
            return self._try(self.emit(node.args[0]))
        if node.name == "mod":
            return self._division("%", node.args[0], node.args[1], self.types.get(node))
        function = FUNCTIONS[node.name]
        if function.postgres is None:
            raise NotPushable(f"{node.name}() is not the same in PostgreSQL.")
        objection = function.pg_guard(node) if function.pg_guard else None
        if objection:
            raise NotPushable(f"{objection}, and PostgreSQL differs there.")
        values = self._arguments(node, function.pg_args)
        faults, level = faults_of(values), level_of(values)
        args = [value.sql for value in values]
        if function.domain:
            values = [self._simple(value) for value in values]
            args = [value.sql for value in values]
            condition, level = function.domain.format(*args), level_of(values)
            faults = (*faults, Fault(RowCode.DOMAIN, f"({condition})", level))
            args[0] = f"(CASE WHEN {condition} THEN NULL ELSE {args[0]} END)"
        return Value(filled(function.postgres, args), level, faults)

    def _arguments(self, node: Call, families: tuple[str, ...]) -> list[Value]:
        values = []
        for position, arg in enumerate(node.args):
            wanted = families[min(position, len(families) - 1)] if families else "any"
            given = self.types.get(arg)
            if given is None:
                raise NotPushable("Lambdas are not pushed down.")
            allowed = FAMILIES[wanted]
            if given.family == "null" and wanted.startswith("text"):
                values.append(Value("NULL::text", 0, (), True))
                continue
            if allowed is not None and given.family not in allowed:
                raise NotPushable(f"{node.name}() of {given} is not the same in PostgreSQL.")
            if wanted == "same":
                result = self.types[node].family
                same = {"integer", "decimal", "date", "timestamp"} | ({"text"} if node.name == "nullif" else set())
                if result not in same:
                    raise NotPushable(f"{node.name}() of {given} is not the same in PostgreSQL.")
                values.append(self._unified(arg, self.types[node]))
            elif wanted == "as_double":
                value = self._simple(self.emit(arg))
                values.append(Value(double(value.sql, given), value.level, value.faults))
            elif wanted == "integer" and given.kind in {"BIGINT", "INTEGER"} and isinstance(arg, Number):
                values.append(self.emit(arg))
            elif wanted == "integer":
                raise NotPushable(f"{node.name}() is pushed down only with numbers written out.")
            else:
                values.append(self.emit(arg))
        return values

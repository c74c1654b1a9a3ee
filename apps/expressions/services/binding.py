"""Names and types: which column a name means, and what type each part of an expression has."""

# ruff: noqa: S608 - making SQL is this module's work; what people typed reaches it as checked nodes and quoted text

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from apps.expressions.choices import Code
from apps.expressions.contracts import Field, Problem, Schema
from apps.expressions.exceptions import EvaluationFailed
from apps.expressions.services.rendering import PlainRenderer, member_of, outside_lambdas
from apps.expressions.services.sandbox import Sandbox, thread_sandbox
from apps.expressions.tree import Binary, Call, Lambda, Name, Node
from apps.expressions.types import SqlType, find_type, parse_type, quote_name

MAPPED = "mapped"
_CHUNK = 60  # parts typed by one statement


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a name means.

    Attributes:
        column: name of the column as the data has it; `mapped.<target>` for a mapped target.
        path: fields below it.
        field: its declaration.
        type: type at the end of the path, None when unknown.
    """

    column: str
    path: tuple[str, ...]
    field: Field
    type: SqlType | None


class Unresolved(Exception):
    """A name that means nothing; carries the finding."""

    def __init__(self, problem: Problem) -> None:
        """Keep the finding."""
        self.problem = problem
        super().__init__(problem.message)


class Names:
    """The columns an expression may use."""

    def __init__(self, schema: Schema, mapped: Schema | None = None) -> None:
        """Columns of the source and, for filters and validations, the mapped targets."""
        self.schema = schema
        self.mapped = mapped

    def resolve(self, name: Name) -> Resolved:
        """What the name means.

        Raises:
            Unresolved: no such column, or no such field in it.
        """
        if self.mapped is not None and name.parts[0].lower() == MAPPED and len(name.parts) > 1:
            return self._find(name, self.mapped, 1, f"{MAPPED}.")
        return self._find(name, self.schema, 0, "")

    def _find(self, name: Name, schema: Schema, first: int, prefix: str) -> Resolved:
        wanted = name.parts[first]
        field = schema.find(wanted)
        if field is None:
            known = {item.name.lower(): item.name for item in schema}
            near = difflib.get_close_matches(wanted.lower(), known, n=1, cutoff=0.6)
            hint = f"Did you mean {prefix}{known[near[0]]}?" if near else _list_of(list(known.values()))
            kind = "target" if prefix else "column"
            message = f"There is no {kind} {wanted!r}."
            raise Unresolved(Problem(message, Code.UNKNOWN_COLUMN, "error", *name.spans[first], hint))
        path: list[str] = []
        current = find_type(field.type)
        for part, span in zip(name.parts[first + 1 :], name.spans[first + 1 :], strict=True):
            if current is None or current.kind != "STRUCT":
                message = f"{'.'.join(name.parts[first:])!r}: {current or field.type} has no fields."
                hint = "For JSON write column ->> 'field'." if current and current.family in {"json", "text"} else None
                raise Unresolved(Problem(message, Code.UNKNOWN_FIELD, "error", *span, hint))
            found = next((i for i, n in enumerate(current.names) if n.lower() == part.lower()), None)
            if found is None:
                message = f"There is no field {part!r}."
                raise Unresolved(Problem(message, Code.UNKNOWN_FIELD, "error", *span, _list_of(list(current.names))))
            path.append(current.names[found])
            current = current.items[found]
        return Resolved(prefix + field.name, tuple(path), field, current)

    def sql(self, name: Name) -> str:
        """The name as a column of the stub relation (`"mapped.total"` for a target)."""
        found = self.resolve(name)
        return member_of(quote_name(found.column), found.path)


def _list_of(names: list[str]) -> str | None:
    if not names:
        return None
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"There are: {', '.join(names[:8])}{more}."


def used_names(node: Node, scope: frozenset[str] = frozenset()) -> Iterator[Name]:
    """Names that mean columns, without the variables of lambdas."""
    if isinstance(node, Name):
        if node.parts[0].lower() not in scope:
            yield node
        return
    inner = scope | {name.lower() for name in node.params} if isinstance(node, Lambda) else scope
    for child in node.children():
        yield from used_names(child, inner)


class Types:
    """Types of the parts of one expression, by asking the engine once."""

    def __init__(self, root: Node, names: Names, sandbox: Sandbox | None = None) -> None:
        """Keep what is asked about; nothing is asked yet."""
        self.root = root
        self.names = names
        self._sandbox = sandbox or thread_sandbox()
        self._renderer = PlainRenderer(names.sql)
        self._found: dict[int, SqlType] = {}

    def __getitem__(self, node: Node) -> SqlType:
        return self._found[id(node)]

    def get(self, node: Node) -> SqlType | None:
        """The type, or None inside of a lambda."""
        return self._found.get(id(node))

    def ask(self) -> Problem | None:
        """Type every part outside of lambdas.

        Returns:
            The finding about the smallest part the engine refuses, or None when all is well.
        """
        parts = [node for node in outside_lambdas(self.root) if not isinstance(node, Name)]
        for name in (node for node in outside_lambdas(self.root) if isinstance(node, Name)):
            known = self.names.resolve(name).type
            if known is not None:
                self._found[id(name)] = known
            else:
                parts.append(name)
        try:
            for start in range(0, len(parts), _CHUNK):
                self._describe(parts[start : start + _CHUNK])
        except EvaluationFailed:
            return self._locate(list(outside_lambdas(self.root)))
        return None

    def _describe(self, parts: list[Node]) -> None:
        if not parts:
            return
        selected = ", ".join(f"{self._renderer.render(node)} AS c{i}" for i, node in enumerate(parts))
        rows = self._sandbox.rows(f"DESCRIBE SELECT {selected} FROM {self._stub()}")
        for node, row in zip(parts, rows, strict=True):
            self._found[id(node)] = parse_type(row[1])

    def _stub(self) -> str:
        fields: dict[str, str] = {}
        for name in used_names(self.root):
            found = self.names.resolve(name)
            fields[found.column] = str(find_type(found.field.type) or found.field.type)
        columns = ", ".join(f"CAST(NULL AS {type_}) AS {quote_name(name)}" for name, type_ in fields.items())
        return f"(SELECT {columns or '1 AS _'}) AS stub"

    def _locate(self, parts: list[Node]) -> Problem:
        """The deepest part that does not type: the last in parents-first order."""
        for node in reversed(parts):
            try:
                self._describe([node])
            except EvaluationFailed as error:
                return self._explain(node, str(error.facts.get("engine", error.message)))
        return Problem("The expression has no type.", Code.TYPE_MISMATCH, "error", self.root.start, self.root.end)

    def _explain(self, node: Node, engine: str) -> Problem:
        text = engine.split(": ", 1)[-1]
        hint = None
        children = [child for child in node.children() if not isinstance(child, Lambda)]
        types = [self.get(child) for child in children]
        if text.startswith(("No function matches", "Could not choose", "Cannot compare", "Cannot mix")) and all(types):
            given = ", ".join(map(str, types))
            if isinstance(node, Binary):
                text = f"{types[0]} {node.op} {types[1]} is not possible."
            elif isinstance(node, Call):
                text = f"{node.name}() does not take {given}."
            else:
                text = f"{given} do not go together."
            hint = "Convert one side: CAST(value AS type), or TRY_CAST for NULL where it fails."
        return Problem(text.strip(), Code.TYPE_MISMATCH, "error", node.start, node.end, hint)

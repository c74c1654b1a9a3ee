"""What the language knows about one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from apps.expressions.tree import Call, Number, Text

NullRule = Literal["strict", "maybe", "never", "first"]
Guard = Callable[[Call], str | None]


@dataclass(frozen=True, slots=True)
class Function:
    """One allowed function.

    Attributes:
        name: as written, lower case.
        category: heading in the designer's function list.
        signature, description: for the designer.
        example, result: an expression without columns and the text of its result; each is a test.
        args: least and most arguments; None = any number.
        nulls: `strict` NULL when an argument is NULL; `first` NULL when all are; `never`; `maybe`
            for other reasons as well.
        fails: may raise at run time, so that it is wrapped.
        domain: SQL condition on `{0}`, `{1}` … under which there is no value (row error "domain").
        duckdb: template when the engine's spelling differs; `{0}` … arguments, `{all}` all of them.
        postgres: template with the same result in PostgreSQL; None = not pushable.
        pg_args: family each argument must have for that (`text`, `integer`, `decimal`, `number`, `date`,
            `timestamp`, `boolean`, `as_double`, `same`, `any`); the last one repeats.
        lambdas: positions of arguments that are (or may be) lambdas.
        guard: a look at the call that returns a sentence when it is refused (bounds of literals).
        pg_guard: the same for pushing down.
    """

    name: str
    category: str
    signature: str
    description: str
    example: str
    result: str
    args: tuple[int, int | None]
    nulls: NullRule = "strict"
    fails: bool = False
    domain: str | None = None
    duckdb: str | None = None
    postgres: str | None = None
    pg_args: tuple[str, ...] = ("any",)
    lambdas: tuple[int, ...] = ()
    guard: Guard | None = None
    pg_guard: Guard | None = None


def bounded_literal(position: int, most: int) -> Guard:
    """Refuses a call whose argument at `position` is not a whole number literal between 0 and `most`."""

    def guard(call: Call) -> str | None:
        node = call.args[position]
        if isinstance(node, Number) and node.value.isdigit() and int(node.value) <= most:
            return None
        return f"{call.name}() needs a whole number from 0 to {most}, written out, as argument {position + 1}."

    return guard


def literal_text(position: int) -> Guard:
    """Refuses a call whose argument at `position` is not a text literal."""

    def guard(call: Call) -> str | None:
        if position >= len(call.args) or isinstance(call.args[position], Text):
            return None
        return f"{call.name}() needs a text, written out, as argument {position + 1}."

    return guard


def one_of(position: int, allowed: tuple[str, ...]) -> Guard:
    """Refuses a call whose argument at `position` is not one of the given text literals."""

    def guard(call: Call) -> str | None:
        node = call.args[position]
        if isinstance(node, Text) and node.value.lower() in allowed:
            return None
        return f"{call.name}() knows these as argument {position + 1}: {', '.join(allowed)}."

    return guard


def both(*guards: Guard) -> Guard:
    """Every guard, the first objection counts."""

    def guard(call: Call) -> str | None:
        return next((text for item in guards if (text := item(call))), None)

    return guard

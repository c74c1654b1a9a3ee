"""Every function the language allows. A function that is not here does not exist."""

from __future__ import annotations

import difflib

from apps.expressions.catalogue import collections, conditions, dates, numbers, text
from apps.expressions.catalogue.model import Function

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for module in (text, numbers, dates, conditions, collections)
    for function in module.FUNCTIONS
}

# Names people know from elsewhere -> ours.
ALIASES = {
    "ucase": "upper", "lcase": "lower", "char_length": "length", "character_length": "length", "instr": "strpos",
    "prefix": "starts_with", "suffix": "ends_with", "str_split": "string_split", "ceiling": "ceil",
    "datediff": "date_diff", "datepart": "date_part", "datetrunc": "date_trunc", "datesub": "date_sub",
    "array_length": "len", "list_apply": "list_transform", "array_transform": "list_transform",
    "array_filter": "list_filter", "list_has": "list_contains", "array_contains": "list_contains",
    "list_element": "list_extract", "iff": "if", "nvl": "ifnull", "current_timestamp": "now",
    "get_current_timestamp": "now", "today": "current_date", "list_cat": "list_concat",
}  # fmt: skip


def find_function(name: str) -> Function | None:
    """The function of that name or alias, without regard to case."""
    lowered = name.lower()
    return FUNCTIONS.get(ALIASES.get(lowered, lowered))


def suggest_function(name: str) -> str | None:
    """The nearest allowed name, if one is near."""
    near = difflib.get_close_matches(name.lower(), [*FUNCTIONS, *ALIASES], n=1, cutoff=0.7)
    return near[0] if near else None


def list_functions() -> list[Function]:
    """All functions, by category and name, in the order of the designer's list."""
    return list(FUNCTIONS.values())

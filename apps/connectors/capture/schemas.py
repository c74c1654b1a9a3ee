"""Following the structure of a captured table as its log tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.connectors.capture.pgoutput import Relation
from apps.connectors.capture.rows import CapturedTable
from apps.connectors.exceptions import CaptureKeyChanged


def follow_relation(
    known: CapturedTable, relation: Relation, type_name: Callable[[int, int], str]
) -> tuple[CapturedTable, dict[str, Any] | None]:
    """The table as it is now, and what changed; None when nothing did.

    Args:
        known: the table as last seen.
        relation: what the log says.
        type_name: oid and modifier of a type -> its name.

    Raises:
        CaptureKeyChanged: rows are no longer known by the same columns.
    """
    names = {column.name for column in relation.columns}
    gone = [key for key in known.keys if key not in names]
    identity = {column.name for column in relation.columns if column.is_key}
    if gone:
        raise CaptureKeyChanged(f"{known.name} no longer has its key column {', '.join(gone)}.", value=known.name)
    if relation.identity != "f" and identity != set(known.keys):
        now_ = ", ".join(sorted(identity)) or "nothing"
        raise CaptureKeyChanged(
            f"Rows of {known.name} were known by {', '.join(known.keys)} and are now by {now_}.", value=known.name
        )
    columns = [
        (column.name, column.type_oid, type_name(column.type_oid, column.modifier)) for column in relation.columns
    ]
    table = CapturedTable(known.name, known.keys, columns)
    old = {name: type_ for name, _oid, type_ in known.columns}
    new = {name: type_ for name, _oid, type_ in columns}
    if old == new:
        return table, None
    return table, {
        "table": known.name,
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "retyped": {name: [old[name], type_] for name, type_ in new.items() if old.get(name, type_) != type_},
        "columns": new,
    }

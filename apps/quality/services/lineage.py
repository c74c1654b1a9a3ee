"""Column lineage of published versions: which source column feeds which target column."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from apps.quality.contracts import ColumnLineage
from apps.quality.models import LineageEdge


@transaction.atomic
def record_lineage(
    *,
    flow_id: UUID,
    flow_version_id: UUID,
    source: tuple[str, str],
    target: tuple[str, str],
    columns: Sequence[ColumnLineage],
) -> int:
    """Keep the lineage of one published version; calling it again replaces it.

    Args:
        flow_id, flow_version_id: the version.
        source, target: (connection slot, entity) of each side.
        columns: one entry per target column; a constant has one edge with an empty source column.

    Returns:
        Edges kept.
    """
    LineageEdge.objects.filter(flow_version_id=flow_version_id).delete()
    edges = [
        LineageEdge(
            flow_id=flow_id,
            flow_version_id=flow_version_id,
            source_slot=source[0],
            source_entity=source[1],
            source_column=source_column,
            target_slot=target[0],
            target_entity=target[1],
            target_column=column.target_column,
            expression=column.expression,
            identity=column.identity,
        )
        for column in columns
        for source_column in (column.source_columns or ("",))
    ]
    LineageEdge.objects.bulk_create(edges, batch_size=1000)
    return len(edges)

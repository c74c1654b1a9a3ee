"""Flows as they are shown: with latest version, deployments and facts of higher apps, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from apps.integrations.choices import DeploymentStatus
from apps.integrations.models import Deployment, Flow, FlowVersion
from apps.integrations.registries import flow_facts


def build_flow_documents(flows: Sequence[Flow], *, with_draft: bool = False) -> list[dict[str, Any]]:
    """Flows with everything a list shows.

    Two queries for versions and deployments and what each registered `FlowFacts` needs (one for the engine),
    however many flows there are.

    Args:
        flows: rows of one page.
        with_draft: include the draft (one flow's page); lists only say what it connects.
    """
    ids = [flow.pk for flow in flows]
    versions = {
        row["flow_id"]: row
        for row in FlowVersion.objects.filter(flow_id__in=ids)
        .order_by("flow_id", "-number")
        .distinct("flow_id")
        .values("flow_id", "number", "content_hash", "published_at")
    }
    deployments: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    active = Deployment.objects.filter(flow_id__in=ids, status=DeploymentStatus.ACTIVE)
    for row in active.order_by("environment__position").values(
        "flow_id", "environment__slug", "version__number", "deployed_at"
    ):
        deployments[row["flow_id"]].append(
            {
                "environment": row["environment__slug"],
                "version": row["version__number"],
                "deployed_at": row["deployed_at"],
            }
        )
    extra: dict[UUID, dict[str, Any]] = {flow_id: {} for flow_id in ids}
    for provider in flow_facts.all():
        found = provider.facts_for(ids)
        for flow_id in ids:
            given = found.get(flow_id, {})
            extra[flow_id].update({name: given.get(name) for name in provider.names})
    return [
        _document(flow, versions.get(flow.pk), deployments[flow.pk], extra[flow.pk], with_draft=with_draft)
        for flow in flows
    ]


def _document(
    flow: Flow,
    version: dict[str, Any] | None,
    deployments: list[dict[str, Any]],
    extra: dict[str, Any],
    *,
    with_draft: bool,
) -> dict[str, Any]:
    document = {
        "id": flow.pk,
        "name": flow.name,
        "slug": flow.slug,
        "description": flow.description,
        "kind": flow.kind,
        "source": _end(flow.draft, "source"),
        "target": _end(flow.draft, "target"),
        "draft_revision": flow.draft_revision,
        "draft_problems_count": flow.draft_problems_count,
        "draft_saved_by": flow.draft_saved_by_name,
        "draft_saved_at": flow.draft_saved_at,
        "latest_version": version and {name: version[name] for name in ("number", "content_hash", "published_at")},
        "deployments": deployments,
        "last_run": extra.get("last_run"),
        "archived_at": flow.archived_at,
        "paused_at": flow.paused_at,
        "pause_reason": flow.pause_reason,
        "created_at": flow.created_at,
        "updated_at": flow.updated_at,
    }
    if with_draft:
        document["draft"] = flow.draft
    return document


def _end(draft: dict[str, Any], kind: str) -> dict[str, str] | None:
    """Connection and entity of one end; a draft may have any shape."""
    nodes = draft.get("nodes")
    for node in nodes if isinstance(nodes, list) else []:
        config = node.get("config") if isinstance(node, dict) and node.get("kind") == kind else None
        if isinstance(config, dict):
            return {name: str(config.get(name) or "") for name in ("connection", "entity")}
    return None

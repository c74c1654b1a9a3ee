"""Plug-in points of this app: the installed connectors."""

from __future__ import annotations

from apps.connectors.base import ConnectorType
from apps.core.registries import Registry

connector_registry: Registry[ConnectorType] = Registry("connector", ConnectorType)

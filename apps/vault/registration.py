"""What the vault tells the registries at start-up."""

from __future__ import annotations

from apps.access.registries import register_permissions
from apps.core.exceptions import register_text_cleaner
from apps.vault.services.scrubbing import hide_revealed

register_permissions([("secret:write", "Enter and replace secrets")])
register_text_cleaner(hide_revealed)

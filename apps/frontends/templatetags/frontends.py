"""Template tags of the shell page."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

# The three characters that could end or open an element inside a script.
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}


@register.filter
def script_json(value: Any) -> SafeString:
    """JSON that is safe inside a `<script>` element of any type: `<`, `>` and `&` are escaped.

    `json_script` writes the element itself, without the type and nonce that an import map needs.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return mark_safe(text.translate(ESCAPES))  # noqa: S308 - escaped on this line

"""Content as JSON that every reader takes: JSON knows no NaN and no Infinity, so that such a number is null."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(content: Any, indent: int | None = None) -> str:
    """Plain content as JSON.

    >>> json_text({"ratio": float("inf"), "steps": [1, float("nan")]})
    '{"ratio": null, "steps": [1, null]}'
    """
    return json.dumps(finite(content), indent=indent, allow_nan=False)


def finite(content: Any) -> Any:
    """Plain content with None for every number that is none or infinite: a ratio over nothing, a rate without time."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content

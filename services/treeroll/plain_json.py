"""JSON that others sent."""

import json
from typing import Any

# Deeper than anybody writes; what walks through values, and their serialisers, would end with an error of their own.
MOST_DEPTH = 64


def loads(text: str) -> Any:
    """The value. ValueError for a text that is no JSON, or that is nested deeper than MOST_DEPTH."""
    try:
        value = json.loads(text)
    except RecursionError:
        value = None
        fits = False
    else:
        fits = _fits(value, MOST_DEPTH)
    if not fits:
        raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    return value


def _fits(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return depth > 0 and all(_fits(inner, depth - 1) for inner in value)

"""JSON that others sent."""

import json
from collections.abc import Mapping
from typing import Any

# Deeper than anybody writes; what walks through values, and their serialisers, would end with an error of their own.
MOST_DEPTH = 64


def loads(text: str) -> Any:
    """The value. ValueError for a text that is no JSON, is nested deeper than MOST_DEPTH, or has a key twice."""
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        value = None
        fits = False
    else:
        fits = is_shallow(value)
    if not fits:
        raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its keys and values. ValueError for a key that is there twice: one of the two would be lost.

    For `object_pairs_hook` of `json.loads`.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{twice}' is there twice in one object")
    return values


def is_shallow(value: Any, depth: int = MOST_DEPTH) -> bool:
    """Whether objects and lists are nested at most so deep."""
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return True
    return depth > 0 and all(is_shallow(inner, depth - 1) for inner in value)

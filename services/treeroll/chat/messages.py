"""Chat messages as clients write them, and as templates take them.

A null key of an object in a message is an absent key, at any depth: Arrow and Parquet give every message all the keys
that any message of the column has, and templates ask whether a key is there.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from treeroll.checks import check_text, kind
from treeroll.errors import InvalidInput

Message = Mapping[str, Any]

# Templates compare roles letter by letter.
ROLES = ("system", "developer", "user", "assistant", "model", "tool", "function", "ipython")
# Python writes no longer numbers, and hardly anybody reads them.
MAX_INT_BITS = 10_000


def plain_messages(messages: Any) -> list[dict[str, Any]]:
    """The messages as JSON values, without null keys and without lists of no tool calls.

    A message that calls tools and has no content has empty content, with which every template can do something.
    InvalidInput names message and key of what no message has: anything that is no JSON or no Unicode text, a message
    without a role, or one without content that calls no tool.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise InvalidInput(f"'messages' must be a list, got {kind(messages)}")
    if not messages:
        raise InvalidInput("'messages' is empty")
    return [_message(f"messages[{position}]", message) for position, message in enumerate(messages)]


def _message(name: str, message: Any) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidInput(f"'{name}' must be an object with 'role' and 'content', got {kind(message)}")
    plain = plain_object(name, message)
    if plain.get("tool_calls") == []:
        del plain["tool_calls"]
    elif "tool_calls" in plain:
        plain.setdefault("content", "")
    for key in ("role", "content"):
        if key not in plain:
            others = ", ".join(f"'{other}'" for other in plain if other not in ("role", "content"))
            raise InvalidInput(f"'{name}' has no '{key}'{f', but {others}' if others else ''}")
        check_text(f"{name}.{key}", plain[key], may_be_empty=key == "content")
    role, meant = plain["role"], plain["role"].strip().lower()
    if role != meant and meant in ROLES:
        raise InvalidInput(f"'{name}.role' is {role!r}, which templates take for a role of its own; write {meant!r}")
    return plain


def plain_object(name: str, value: Mapping[Any, Any]) -> dict[str, Any]:
    """An object as a JSON value without null keys, at any depth. InvalidInput names what is no JSON."""
    try:
        return _object(name, value)
    except RecursionError:
        raise InvalidInput(f"'{name}' is nested too deeply") from None


def _object(name: str, value: Mapping[Any, Any]) -> dict[str, Any]:
    for key in value:
        check_text(f"a key of {name}", key)
    return {key: _plain(f"{name}.{key}", item) for key, item in value.items() if item is not None}


def _plain(name: str, value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case int() if value.bit_length() <= MAX_INT_BITS:
            return value
        case str():
            check_text(name, value, may_be_empty=True)
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            return _object(name, value)
        case list() | tuple():
            return [_plain(f"{name}[{position}]", item) for position, item in enumerate(value)]
    what = value if isinstance(value, float) else kind(value)
    raise InvalidInput(f"'{name}' cannot be written as JSON, got {what}")

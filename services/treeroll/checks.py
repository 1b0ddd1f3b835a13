"""Checks of values as users write them, in the words of a JSON author."""

from typing import Any

from treeroll.errors import InvalidInput


def check_text(name: str, value: Any, *, may_be_empty: bool = False) -> None:
    """InvalidInput unless the value is Unicode text."""
    if not isinstance(value, str):
        hint = "; chat messages belong under 'messages'" if name == "prompt" and isinstance(value, list) else ""
        raise InvalidInput(f"'{name}' must be text, got {kind(value)}{hint}")
    if not value and not may_be_empty:
        raise InvalidInput(f"'{name}' is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"'{name}' holds half a surrogate pair, which is no valid Unicode text") from None


def kind(value: Any) -> str:
    """A value's type in the words of a JSON author."""
    return _KINDS.get(type(value), type(value).__name__)


_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

"""Checks of values as users write them, in the words of a JSON author."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from operator import index
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

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


def is_number(value: Any) -> bool:
    """Whether it is a number, of Python or numpy: true and false are none."""
    return isinstance(value, Real) and type(value).__name__ not in _TRUTH


def whole(value: Any) -> int | None:
    """A whole number, of Python or numpy; None for what is none."""
    try:
        return None if type(value).__name__ in _TRUTH else index(value)
    except TypeError:
        return None


def check_whole(name: str, value: Any, least: int) -> None:
    """InvalidInput unless the value is a whole number, of Python or numpy, that is not below `least`."""
    number = whole(value)
    if number is None or number < least:
        raise InvalidInput(f"{name} must be a whole number of {least} or more, got {value!r}")


def check_number(name: str, value: Any, least: float, most: float = math.inf) -> None:
    """InvalidInput unless the value is a number from `least` to `most`."""
    if not is_number(value) or not least <= value <= most:
        bounds = f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise InvalidInput(f"{name} must be a number {bounds}, got {value!r}")


def check_path(name: str, value: Any) -> None:
    """InvalidInput unless the value names a file or directory."""
    if not isinstance(value, str) and not hasattr(value, "__fspath__"):
        raise InvalidInput(f"{name} must be a path, got {kind(value)}")


def check_several(name: str, value: Any, what: str) -> None:
    """InvalidInput unless the value can be gone through, and is no text or object, of which no part is `what`."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise InvalidInput(f"{name} must be several {what}, such as a list of them, got {kind(value)}")


def check_flag(name: str, value: Any) -> None:
    """InvalidInput unless the value is true or false: any text would count as true, "false" among them."""
    if type(value).__name__ not in _TRUTH:
        raise InvalidInput(f"{name} must be True or False, got {value!r}")


def no_truth_for_numbers(annotation: Any, value: Any) -> Any:
    """The value. ValueError if it is, or holds, true or false where a field's annotation is of numbers.

    They are 1 and 0 to Python, and nobody who writes `leaves: yes` means a tree of one leaf.
    """
    types = _types(annotation)
    if types & {int, float} and bool not in types:
        entries = value if isinstance(value, list | tuple) else [value]
        if any(type(entry).__name__ in _TRUTH for entry in entries):
            raise ValueError("Input should be a number, not true or false")
    return value


def _types(annotation: Any) -> set[Any]:
    """What a union, a list or a tuple is of."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _types(parts[0])
    if origin in (Union, UnionType, list, tuple):
        return {kind for part in parts for kind in _types(part)}
    return {annotation}


def kind(value: Any) -> str:
    """A value's type in the words of a JSON author."""
    return _KINDS.get(type(value), type(value).__name__)


_TRUTH = ("bool", "bool_")  # by name: numpy's, too
_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

"""Values that Python, numpy, pandas and Arrow have and JSON has not, as JSON values.

| value | becomes |
|---|---|
| NaN, `pd.NA`, `pd.NaT`, numpy's `NaT` | null: in tables they say that there is no value |
| infinities | the texts "Infinity" and "-Infinity" |
| timestamps, dates, times | text, ISO 8601 |
| durations | seconds, a number |
| decimals | a number |
| bytes | text, base64 |
| UUIDs | text |
| scalars and arrays of numpy and Arrow, tensors, series | numbers, lists; a small float is what it prints as |
| records of numpy | objects |

What changes its kind is told once per column.
"""

import base64
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from treeroll.checks import kind
from treeroll.errors import InvalidInput

Say = Callable[[str], None]

TIMES = "times become text in ISO 8601"
DURATIONS = "durations become seconds"
MAX_PLACES = 400  # more than any float has
_JSON = frozenset({str, int, bool, type(None)})
_PANDAS_MISSING = ("NAType", "NaTType")  # by name: pandas need not be there


class WrittenFloat(float):
    """A float of a JSON text, which may have more digits than a float holds."""

    def __new__(cls, text: str) -> "WrittenFloat":
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


class Told:
    """Says each sentence about each column once."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told: set[tuple[str, str]] = set()

    def once(self, column: str, becomes: str) -> None:
        """Say what values of a column become, unless it was said."""
        if (column, becomes) not in self._told:
            self._told.add((column, becomes))
            self._say(f"field '{column}': {becomes}")


def json_value(value: Any, column: str, told: Told) -> Any:
    """`value` as what JSON can hold, at any depth. InvalidInput, naming the column, for what cannot be."""
    if type(value) in _JSON:
        return value
    if isinstance(value, Mapping):
        return {_key(key, column): json_value(entry, f"{column}.{key}", told) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        if set(map(type, value)) <= _JSON:
            return list(value)
        return [json_value(entry, column, told) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return json_value(_of_numpy(value, column, told), column, told)
    return _scalar(value, column, told)


def decoded(value: Any, name: str) -> Any:
    """The same with bytes as the text that they are in UTF-8, at any depth: tables of some writers have no other text.

    InvalidInput for bytes that are no UTF-8.
    """
    if isinstance(value, Mapping):
        return {key: decoded(entry, f"{name}.{key}") for key, entry in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "OS":
        return decoded(value.tolist(), name)
    if isinstance(value, list | tuple):
        return [decoded(entry, name) for entry in value]
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"'{name}' is bytes that are no UTF-8; text is needed") from None


def number_text(number: int | float | Decimal) -> str:
    """The shortest decimal that is this number, without exponent; "5" for 5.0. ValueError if infinite or too long."""
    if isinstance(number, int):
        return str(number)
    if isinstance(number, WrittenFloat) and math.isfinite(number):
        number = Decimal(number.text)
    exact = number if isinstance(number, Decimal) else Decimal(repr(float(number)))
    if not exact.is_finite():
        raise ValueError(f"{number} is not finite")
    if abs(exact.adjusted()) > MAX_PLACES and exact:
        raise ValueError("the number has too many digits")
    digits = format(exact, "f")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return "0" if digits in ("-0", "") else digits


def is_missing(value: Any) -> bool:
    """Whether a table means "no value" by it: null, NaN, pd.NA or NaT."""
    if value is None or type(value).__name__ in _PANDAS_MISSING:
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return isinstance(value, Decimal) and value.is_nan()


def _key(key: Any, column: str) -> str:
    if not isinstance(key, str):
        raise InvalidInput(f"field '{column}' has a key that is no text: {str(key)[:50]!r} is {kind(key)}")
    return key


def _of_numpy(value: Any, column: str, told: Told) -> Any:
    """Python values; 32-bit 0.1 is 0.1 and not 0.10000000149011612."""
    if isinstance(value, np.ma.MaskedArray):
        return value.tolist()  # None where it is masked
    array = np.asarray(value)
    if (names := array.dtype.names) is not None:
        if array.ndim:
            return list(array)
        return {name: array[name] for name in names}
    match array.dtype.kind:
        case "f" if array.dtype.itemsize != 8:
            array = array.astype(np.str_).astype(np.float64)
        case "M":
            told.once(column, TIMES)
            texts = np.asarray(np.datetime_as_string(array), dtype=object)
            texts[np.isnat(array)] = None
            array = texts
        case "m" if np.datetime_data(array.dtype)[0] in "MY":
            raise InvalidInput(f"field '{column}' holds a duration in months or years, which are of no one length")
        case "m":
            told.once(column, DURATIONS)
            array = np.asarray(array / np.timedelta64(1, "s"))
    return array.tolist()


def _scalar(value: Any, column: str, told: Told) -> Any:
    if is_missing(value):
        told.once(column, "NaN and other values that mean 'none' count as null")
        return None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _infinity(value, column, told)
    if isinstance(value, str | int):  # of a type of its own, as an enumeration's member
        return str.__str__(value) if isinstance(value, str) else int(value)
    if isinstance(value, Decimal) and value.is_infinite():
        return _infinity(float(value), column, told)
    for types, becomes, convert in _CONVERSIONS:
        if isinstance(value, types):
            told.once(column, becomes)
            return convert(value)
    for name in ("as_py", "tolist", "to_list"):  # Arrow's scalars; tensors and pandas' series; polars'
        if callable(as_python := getattr(value, name, None)):
            plain, small = as_python(), str(getattr(value, "dtype", "")).endswith(("float32", "float16"))
            return json_value(np.asarray(plain, np.float32) if small else plain, column, told)
    raise InvalidInput(f"field '{column}' holds {kind(value)}, which JSON cannot")


def _infinity(value: float, column: str, told: Told) -> str:
    told.once(column, "infinities become the texts 'Infinity' and '-Infinity'")
    return "Infinity" if value > 0 else "-Infinity"


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


_CONVERSIONS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    ((datetime, date, time), TIMES, lambda value: value.isoformat()),
    (timedelta, DURATIONS, timedelta.total_seconds),
    (Decimal, "decimals become numbers", _number),
    ((bytes, bytearray, memoryview), "bytes become text in base64", lambda value: base64.b64encode(value).decode()),
    (UUID, "UUIDs become text", str),
)

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
| numpy scalars, arrays, tensors, series | numbers, lists; a float of 16 or 32 bits is the number that it prints as |

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
    array = np.asarray(value)
    match array.dtype.kind:
        case "f" if array.dtype.itemsize < 8:
            array = array.astype(np.str_).astype(np.float64)
        case "M":
            told.once(column, TIMES)
            texts = np.asarray(np.datetime_as_string(array), dtype=object)
            texts[np.isnat(array)] = None
            array = texts
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
        return value
    for types, becomes, convert in _CONVERSIONS:
        if isinstance(value, types):
            told.once(column, becomes)
            return convert(value)
    if callable(getattr(value, "tolist", None)):  # tensors, series
        return json_value(value.tolist(), column, told)
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

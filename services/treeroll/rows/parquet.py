"""Rows of a Parquet file, as Python values."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treeroll.errors import InvalidInput
from treeroll.rows.room import room_for

BATCH_ROWS = 1024
MOST_BYTES = 1 << 30
"""Of so many rows, as Arrow and Python have them."""
_LISTS = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view,
    pa.types.is_large_list_view,
)  # fmt: skip
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")  # of a zone, as Arrow writes it


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) for every row, places "row 1" and so on. InvalidInput for a file that is no Parquet."""
    try:
        with path.open("rb") as source, pq.ParquetFile(source) as file:
            number = 0
            names = file.schema_arrow.names
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InvalidInput(f"{path} has more than one column '{twice[0]}'; name each column once")
            # In this thread: elsewhere memory that there is not ends the process.
            batches = file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
            while (columns := _next_columns(batches)) is not None:
                for row in zip(*columns, strict=True):
                    number += 1
                    yield f"row {number}", dict(zip(names, row, strict=True))
    except MemoryError:
        raise InvalidInput(
            f"{path} holds rows of which {BATCH_ROWS} take more than {MOST_BYTES >> 20:,} MiB, or than there is; write "
            "smaller ones"
        ) from None
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from None


def _next_columns(batches: Iterator[Any]) -> list[list[Any]] | None:
    """The values of the next rows, by column; a few kilobytes may stand for more than any machine has."""
    with room_for(MOST_BYTES):
        batch = next(batches, None)
        if batch is None:
            return None
        return [_column(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)]


def _column(name: str, array: Any) -> list[Any]:
    try:
        return _values(array)
    except (ValueError, OverflowError) as error:  # Arrow's are ValueErrors
        raise InvalidInput(
            f"column '{name}' of type {array.type} cannot be read: {' '.join(str(error).split())}"
        ) from None


def _values(array: Any) -> list[Any]:
    """What `to_pylist` gives, but small floats are what they print as, and no nanosecond is lost or refused."""
    kind = array.type
    if not _is_special(kind):
        values: list[Any] = array.to_pylist()
        return values
    if isinstance(kind, pa.BaseExtensionType):
        return _values(array.storage)
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if pa.types.is_struct(kind):
        return _structs(array)
    if pa.types.is_floating(kind):
        small = np.float16 if pa.types.is_float16(kind) else np.float32
        return [None if value is None else float(str(small(value))) for value in array.to_pylist()]
    if pa.types.is_temporal(kind):
        return _times(array)
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        return [pairs and [(pair["key"], pair["value"]) for pair in pairs] for pairs in _values(array)]
    entries = iter(_values(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else list(islice(entries, length)) for length in lengths]


def _is_special(kind: Any) -> bool:
    """Whether `to_pylist` would change or refuse values of a type, at any depth."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_special(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_special(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_is_special(field.type) for field in kind)
    if pa.types.is_map(kind):
        return _is_special(kind.key_type) or _is_special(kind.item_type)
    if any(is_list(kind) for is_list in _LISTS):
        return _is_special(kind.value_type)
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return True
    return bool(pa.types.is_temporal(kind))


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [_values(column) for column in array.flatten()]
    rows = zip(*columns, strict=True)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]


def _times(array: Any) -> list[Any]:
    """Python's types where they hold the values; else text in ISO 8601, or seconds."""
    kind = array.type
    if pa.types.is_duration(kind):
        second = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return [None if value is None else value / second for value in array.cast(pa.int64()).to_pylist()]
    coarse = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", getattr(kind, "tz", None))
    try:
        values: list[Any] = (array.cast(coarse) if getattr(kind, "unit", "") == "ns" else array).to_pylist()
        return values
    except (pa.ArrowInvalid, OverflowError):  # something would be lost, or is before the year 1 or behind 9999
        texts = array.cast(pa.string()).to_pylist()
        if any(text is not None and text.startswith("<") for text in texts):
            raise OverflowError("it holds a time that is beyond all calendars") from None
        return [None if text is None else _OFFSET.sub(r"\1:\2", text.replace(" ", "T")) for text in texts]

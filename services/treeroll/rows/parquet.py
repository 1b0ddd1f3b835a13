"""Rows of a Parquet file, as Python values."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from treeroll.errors import InvalidInput

BATCH_ROWS = 1024


def parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) for every row, places "row 1" and so on. InvalidInput for a file that is no Parquet."""
    try:
        with path.open("rb") as source, pq.ParquetFile(source) as file:
            number = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                columns = [_values(column) for column in batch.columns]
                for row in zip(*columns, strict=True):
                    number += 1
                    yield f"row {number}", dict(zip(batch.schema.names, row, strict=True))
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{path} is not a readable Parquet file: {' '.join(str(error).split())}") from None


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
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_special(kind.value_type)
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return True
    return pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns"


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [_values(column) for column in array.flatten()]
    rows = zip(*columns, strict=True)
    valid = array.is_valid().to_pylist()
    return [dict(zip(names, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]


def _times(array: Any) -> list[Any]:
    """Nanoseconds as Python's types where microseconds suffice, else text in ISO 8601, or seconds."""
    kind = array.type
    if pa.types.is_duration(kind):
        return [None if value is None else value / 1e9 for value in array.cast(pa.int64()).to_pylist()]
    coarse = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", kind.tz)
    try:
        values: list[Any] = array.cast(coarse).to_pylist()
        return values
    except pa.ArrowInvalid:  # it would lose something
        texts = array.cast(pa.string()).to_pylist()
        return [None if text is None else text.replace(" ", "T") for text in texts]

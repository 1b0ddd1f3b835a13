"""Files in the safetensors format (https://huggingface.co/docs/safetensors), by their headers.

Eight bytes of length, a JSON object of names, dtypes, shapes and offsets, then the tensors' bytes without holes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from treeroll.errors import BadWeights

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
# Bytes of one element, by the format's names.
SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a tensor's place in a model asks of it."""

    dtype: str
    """As the format names it, e.g. "BF16"."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return SIZES[self.dtype] * prod(self.shape)

    def __str__(self) -> str:
        """For messages."""
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    name: str
    file: Path
    type: TensorType
    start: int
    """Its first byte in the file."""


def bad(file: Path, what: str, tensor: str | None = None) -> BadWeights:
    """A refusal that names directory, file and tensor."""
    where = f"tensor {tensor} of {file.name}" if tensor is not None else file.name
    return BadWeights(f"weights {file.parent}: {where} {what}")


def read_header(file: Path) -> list[StoredTensor]:
    """What a file holds, in the order of its bytes.

    Raises BadWeights unless the header is sound and the file exactly as long as it says.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = opened.read(length) if length <= MAX_HEADER_BYTES else b""
            size = opened.seek(0, 2)
    except OSError as error:
        raise bad(file, f"cannot be read: {error.strerror or error}") from None
    if len(header) < max(2, length):
        raise bad(file, f"of {size} bytes ends within its header, or is no safetensors file")
    try:
        entries = json.loads(header)
        if any(not isinstance(value, str) for value in entries.pop("__metadata__", {}).values()):
            raise TypeError("metadata must be text")
        tensors = sorted((_stored(file, 8 + length, *entry) for entry in entries.items()), key=lambda each: each.start)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise bad(file, "has a header that is not the safetensors format's") from None
    end = 8 + length
    for tensor in tensors:
        if tensor.start != end:
            raise bad(file, f"begins at byte {tensor.start}, and what is before it ends at {end}", tensor.name)
        end += tensor.type.size
    if size != end:
        raise bad(file, f"has {size} bytes, and its header says {end}: it was not written whole")
    return tensors


def _stored(file: Path, data: int, name: str, entry: Mapping[str, Any]) -> StoredTensor:
    (start, end), shape = entry["data_offsets"], tuple(entry["shape"])
    if any(type(number) is not int or number < 0 for number in (start, end, *shape)):
        raise TypeError("offsets and sizes must be whole numbers")
    if entry["dtype"] not in SIZES:
        raise bad(file, f"has dtype {entry['dtype']}, which cannot be checked here", name)
    stored = StoredTensor(name, file, TensorType(entry["dtype"], shape), data + start)
    if end - start != stored.type.size:
        raise bad(file, f"is {stored.type} in {end - start} bytes", name)
    return stored


def header_of(tensors: Mapping[str, TensorType]) -> bytes:
    """The beginning of a file that holds these, in this order."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, kind in tensors.items():
        entries[name] = {"dtype": kind.dtype, "shape": kind.shape, "data_offsets": [offset, offset + kind.size]}
        offset += kind.size
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that tensors begin where they may be mapped
    return len(header).to_bytes(8, "little") + header

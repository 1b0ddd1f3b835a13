"""The check of a directory of weights before an engine reads it.

An engine calls an update with a tensor missing or rounded a success, and dies of a file cut short: what is not whole
and right must never come near it. Reading everything also leaves it in the page cache: loading waits for no disk.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from treeroll.errors import BadWeights
from treeroll.weights.layout import Layout, stored_in
from treeroll.weights.safetensors_file import SIZES, StoredTensor, TensorType, bad

MARKER = "STABLE"
"""File whose presence says that a directory is whole. It may hold the digest."""
CHUNK_BYTES = 8 << 20
READERS = 4
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Values whose bits under the mask are all set are infinite or not a number.
_NOT_FINITE = {
    "F64": 0x7FF0_0000_0000_0000, "F32": 0x7F80_0000, "F16": 0x7C00, "BF16": 0x7F80, "F8_E5M2": 0x7C, "F8_E4M3": 0x7F,
}  # fmt: skip

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class CheckedWeights:
    """A directory that has passed."""

    directory: Path
    """Where it really is, without symbolic links."""
    digest: str
    """Of names, dtypes, shapes and values of all tensors, 64 hex digits; in whichever files they are."""
    stamp: Stamp
    """Of the files, as they were before the check."""

    def ensure_unchanged(self) -> None:
        """BadWeights if files have come, gone or changed since the check."""
        if _stamp(self.directory) != self.stamp:
            raise BadWeights(
                f"weights {self.directory}: files have changed since they were checked; every version needs a"
                " directory of its own that nobody writes to any more"
            )


def check_weights(path: str | Path, layout: Layout | None, digest: str = "") -> CheckedWeights:
    """Read a directory whole and compare it with the model's layout, and with a digest if one is given.

    Takes as long as reading takes. Raises BadWeights, a sentence that names directory, file and tensor. Without a
    layout (of an engine without a model) names and shapes may be any.
    """
    directory = Path(path)
    if not directory.is_absolute():
        raise BadWeights(f"weights {directory}: the path must be absolute, and the same on every host")
    if not directory.is_dir():
        raise BadWeights(f"weights {directory}: there is no such directory on this host")
    directory = directory.resolve()
    if not (directory / MARKER).is_file():
        raise BadWeights(f"weights {directory}: there is no file {MARKER}, so they are not written whole yet")
    stamp = _stamp(directory)
    if other := next(directory.glob("consolidated*.safetensors"), None):
        raise bad(other, "is in Mistral's format, and vLLM would read it instead of the others")
    tensors = stored_in(directory)
    if layout is not None:
        _compare(directory, tensors, layout)
    try:
        digests = _read_all(tensors)
    except OSError as error:
        raise BadWeights(f"weights {directory}: they cannot be read: {error.strerror or error}") from None
    if layout is not None:
        _compare_head(tensors, digests, layout)
    checked = CheckedWeights(
        directory, digest_of((each.name, each.type, digests[each.name]) for each in tensors), stamp
    )
    for wanted, source in ((digest, "they were published with"), (_promised(directory), f"{MARKER} has")):
        if wanted and wanted != checked.digest:
            raise BadWeights(f"weights {directory}: their digest is {checked.digest}, not {wanted}, which {source}")
    checked.ensure_unchanged()
    return checked


def digest_of(tensors: Iterable[tuple[str, TensorType, str]]) -> str:
    """One digest of tensors by name, type and SHA-256 of their bytes; the order does not matter."""
    lines = sorted(f"{name} {kind.dtype} {list(kind.shape)} {content}\n" for name, kind, content in tensors)
    return sha256("".join(lines).encode()).hexdigest()


def _promised(directory: Path) -> str:
    """The digest that the marker holds, if it holds one."""
    said = (directory / MARKER).read_bytes()[:100].decode(errors="replace").strip()
    return said if _DIGEST.fullmatch(said) else ""


def _stamp(directory: Path) -> Stamp:
    """Changes whenever a file is written, replaced, added or removed."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(directory.iterdir())]
    except OSError as error:
        raise BadWeights(f"weights {directory}: they cannot be read: {error.strerror or error}") from None
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _compare(directory: Path, tensors: list[StoredTensor], layout: Layout) -> None:
    wanted = dict(layout.tensors)
    for tensor in tensors:
        if layout.is_tied_head(tensor.name):
            continue
        kind = wanted.pop(tensor.name, None)
        if kind is None:
            raise bad(tensor.file, "is none of the model's", tensor.name)
        if kind != tensor.type:
            raise bad(tensor.file, f"is {tensor.type}, and the model's is {kind}", tensor.name)
    if wanted:
        first = min(wanted)
        more = f", and {len(wanted) - 1} more" if len(wanted) > 1 else ""
        raise BadWeights(f"weights {directory}: tensor {first} is in none of the files{more}")


def _compare_head(tensors: list[StoredTensor], digests: dict[str, str], layout: Layout) -> None:
    """The head of a tied model has no values of its own."""
    types = {tensor.name: tensor.type for tensor in tensors}
    for tensor in tensors:
        if not layout.is_tied_head(tensor.name):
            continue
        embedding = layout.embedding or ""
        if (tensor.type, digests[tensor.name]) != (types[embedding], digests[embedding]):
            raise bad(
                tensor.file, f"differs from {embedding}, and the model has one for both; leave it out", tensor.name
            )


def _read_all(tensors: list[StoredTensor]) -> dict[str, str]:
    """SHA-256 of each tensor's bytes. BadWeights for a value that is not finite."""
    with ThreadPoolExecutor(READERS, "weights") as pool:
        return dict(zip((tensor.name for tensor in tensors), pool.map(_read, tensors), strict=True))


def _read(tensor: StoredTensor) -> str:
    digest, mask = sha256(), _NOT_FINITE.get(tensor.type.dtype)
    for chunk in _chunks(tensor):
        digest.update(chunk)
        if mask is not None:
            bits = np.frombuffer(chunk, f"<u{SIZES[tensor.type.dtype]}")
            if ((bits & bits.dtype.type(mask)) == mask).any():
                raise bad(tensor.file, "holds values that are not finite", tensor.name)
    return digest.hexdigest()


def _chunks(tensor: StoredTensor) -> Iterator[memoryview]:
    left = tensor.type.size
    buffer = memoryview(bytearray(min(left, CHUNK_BYTES)))
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        while left:
            read = file.readinto(buffer[:left])
            if read < min(left, len(buffer)):
                raise bad(tensor.file, "was cut short while it was read", tensor.name)
            yield buffer[:read]
            left -= read

"""What a trainer writes: a directory of weights, whole or not at all."""

import os
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from treeroll.errors import InvalidInput
from treeroll.weights.check import MARKER, digest_of
from treeroll.weights.layout import HEAD, INDEX
from treeroll.weights.safetensors_file import SIZES, TensorType, header_of
from treeroll.whole_file import whole_file

FILE = "model.safetensors"
# The format's names of dtypes as numpy and torch call them.
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
    "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def save_weights(model: Any, path: str | Path) -> str:
    """Write weights into a new directory for `publish_weights`, and return their digest (64 hex digits).

    `model` is a torch module, or a mapping of names to torch tensors or numpy arrays, under the names that its
    `save_pretrained` would use. Dtypes are written as they are and must be those of the model that the service serves:
    `{name: tensor.to(torch.bfloat16) for ...}` if the trainer's differ. A tensor under two names is written once, so a
    tied output head is left out. Tensors are copied to the CPU one at a time.

    Every version needs a directory of its own. Readers see it whole or not at all: its files are on the disk before the
    file STABLE appears in it. Of several ranks one calls this, with the tensors gathered. An attempt that was cut off
    leaves a directory without STABLE, which may be written again.

    Raises InvalidInput for a directory that holds weights already, and for a tensor that is sharded, has no values
    (meta device) or a dtype that the format has not; OSError if writing fails.
    """
    directory = Path(path)
    tensors = _once(_named(model))
    types = {name: _type(name, tensor) for name, tensor in tensors.items()}
    if not types:
        raise InvalidInput(f"there are no tensors to write to {directory}")
    directory.mkdir(parents=True, exist_ok=True)
    _check_free(directory)
    order = sorted(types, key=lambda name: (-SIZES[types[name].dtype], name))  # widest first: all are aligned
    contents: dict[str, str] = {}
    with whole_file(directory / FILE) as unfinished, unfinished.open("wb") as file:
        file.write(header_of({name: types[name] for name in order}))
        for name in order:
            data = _bytes(tensors[name])
            contents[name] = sha256(data).hexdigest()
            file.write(data)
    digest = digest_of((name, types[name], contents[name]) for name in order)
    _sync(directory)
    with whole_file(directory / MARKER) as unfinished:
        unfinished.write_text(f"{digest}\n")
    _sync(directory)
    _sync(directory.parent)
    return digest


def _named(model: Any) -> dict[str, Any]:
    named = model if isinstance(model, Mapping) else getattr(model, "state_dict", lambda: None)()
    if not isinstance(named, Mapping):
        raise InvalidInput(
            f"weights must be a torch module or a mapping of names to tensors, got {type(model).__name__}"
        )
    return dict(named)


def _once(tensors: dict[str, Any]) -> dict[str, Any]:
    """Each tensor under one name; the output head's only if it has no other."""
    names: dict[Any, str] = {}
    for name in sorted(tensors, key=lambda name: name.endswith(HEAD)):
        names.setdefault(_identity(tensors[name]) or name, name)
    return {name: tensors[name] for name in names.values()}


def _identity(tensor: Any) -> tuple[Any, ...] | None:
    """Equal for two tensors that are the same memory; None for one without any."""
    if _is_torch(tensor):
        return (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else None
    if isinstance(tensor, np.ndarray) and tensor.size:
        return tensor.__array_interface__["data"][0], tensor.shape, tensor.strides, tensor.dtype
    return None


def _is_torch(tensor: Any) -> bool:
    torch = sys.modules.get("torch")  # who has not imported it has no tensors of it
    return torch is not None and isinstance(tensor, torch.Tensor)


def _type(name: str, tensor: Any) -> TensorType:
    if not (_is_torch(tensor) or isinstance(tensor, np.ndarray)):
        raise InvalidInput(f"tensor {name} must be a torch tensor or a numpy array, got {type(tensor).__name__}")
    if hasattr(tensor, "full_tensor"):
        raise InvalidInput(f"tensor {name} is sharded over processes; gather it first, with its full_tensor()")
    if getattr(tensor, "is_meta", False):
        raise InvalidInput(f"tensor {name} is on the meta device: it has no values")
    dtype = _DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None:
        raise InvalidInput(f"tensor {name} has dtype {tensor.dtype}, which no weights file can hold")
    return TensorType(dtype, tuple(int(size) for size in tensor.shape))


def _bytes(tensor: Any) -> memoryview:
    """Its values in C order, little-endian."""
    if _is_torch(tensor):
        uint8 = sys.modules["torch"].uint8
        array = tensor.detach().cpu().contiguous().flatten().view(uint8).numpy()
    else:
        flat = np.ascontiguousarray(tensor).reshape(-1)
        array = (flat.byteswap() if flat.dtype.byteorder == ">" else flat).view(np.uint8)
    return memoryview(array)


def _check_free(directory: Path) -> None:
    if (directory / MARKER).exists():
        raise InvalidInput(f"{directory} holds weights already; give every version a directory of its own")
    others = [path.name for path in directory.glob("*.safetensors") if path.name != FILE]
    others += [INDEX] if (directory / INDEX).exists() else []
    if others:
        raise InvalidInput(f"{directory} holds {min(others)}, which is not ours; write weights to a new directory")


def _sync(directory: Path) -> None:
    """Names in a directory are on the disk, too."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

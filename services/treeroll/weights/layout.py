"""What weights must be to fit the model that an engine was started with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treeroll.errors import BadWeights, InvalidInput
from treeroll.model.facts import read_json
from treeroll.weights.safetensors_file import StoredTensor, TensorType, bad, read_header

INDEX = "model.safetensors.index.json"
HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"  # ends of names


@dataclass(frozen=True, slots=True)
class Layout:
    """Names, dtypes and shapes of a model's tensors."""

    tensors: Mapping[str, TensorType]
    """Without the output head, if that is tied."""
    embedding: str | None = None
    """Name of the tensor that a tied output head is equal to; None: the head is not tied."""

    def is_tied_head(self, name: str) -> bool:
        """Whether this tensor is the output head, and the same as the embedding."""
        return self.embedding is not None and name.endswith(HEAD)


def layout_of(model_dir: Path) -> Layout:
    """The layout of a model directory. InvalidInput if it has no safetensors files, or broken ones."""
    tensors = {tensor.name: tensor.type for tensor in stored_in(model_dir)}
    heads = [name for name in tensors if name.endswith(HEAD)]
    embeddings = [name for name in tensors if name.endswith(EMBEDDING)]
    tied = _says_tied(model_dir, default=not heads) and len(embeddings) == 1
    if tied:
        tensors = {name: kind for name, kind in tensors.items() if name not in heads}
    return Layout(tensors, embeddings[0] if tied else None)


def stored_in(directory: Path) -> list[StoredTensor]:
    """All tensors of a directory's safetensors files, but for Mistral's; of those in the index, if there is one.

    Raises BadWeights for a tensor that is there twice, or not where the index has it.
    """
    placed = _index(directory)
    files = _files(directory, placed)
    if not files:
        raise BadWeights(f"weights {directory}: there is no safetensors file")
    tensors: dict[str, StoredTensor] = {}
    for tensor in (tensor for file in files for tensor in read_header(file)):
        if tensor.name in tensors:
            raise bad(tensor.file, f"is also in {tensors[tensor.name].file.name}", tensor.name)
        if placed is not None and placed.get(tensor.name) != tensor.file.name:
            raise bad(tensor.file, f"is not there by {INDEX}", tensor.name)
        tensors[tensor.name] = tensor
    for name, file in (placed or {}).items():
        if name not in tensors:
            raise bad(directory / file, f"is missing, which {INDEX} names", name)
    return list(tensors.values())


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files that have a directory's tensors, as `stored_in` takes them, by name. BadWeights for an
    index that cannot be read."""
    return _files(directory, _index(directory))


def _files(directory: Path, placed: Mapping[str, str] | None) -> list[Path]:
    files = sorted(path for path in directory.glob("*.safetensors") if not path.name.startswith((".", "consolidated")))
    return files if placed is None else [file for file in files if file.name in placed.values()]


def _index(directory: Path) -> dict[str, str] | None:
    """Files by tensor; None where there is no index."""
    path = directory / INDEX
    if not path.exists():
        return None
    try:
        return {str(name): str(file) for name, file in read_json(path)["weight_map"].items()}
    except (InvalidInput, KeyError, AttributeError):
        raise bad(path, "has no readable weight_map") from None


def _says_tied(model_dir: Path, default: bool) -> bool:
    config: dict[str, Any] = read_json(model_dir / "config.json")
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        if isinstance(said := part.get("tie_word_embeddings"), bool):
            return said
    return default

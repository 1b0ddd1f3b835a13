"""One digest for one model, wherever it lies; another one for whatever would make other tokens."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from treeroll.demo import MODEL_DIR
from treeroll.errors import InvalidInput
from treeroll.weights import model_digest as module
from treeroll.weights.layout import INDEX
from treeroll.weights.model_digest import model_digest

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(MODEL_DIR, tmp_path / "elsewhere")


def test_a_copy_under_another_path_is_the_same_model(copy: Path) -> None:
    (copy / "README.md").write_text("not of the model")
    assert model_digest(copy) == model_digest(MODEL_DIR)


def test_another_configuration_is_another_model(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    assert model_digest(copy) != model_digest(MODEL_DIR)


def test_another_checkpoint_of_the_same_shapes_is_another_model(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECES", 64)
    monkeypatch.setattr(module, "PIECE_BYTES", 64)  # as in a model that is too large to be read whole
    before, tensors = model_digest(copy), load_file(copy / WEIGHTS)
    moved = {name: (value + np.float32(1e-3)).astype(value.dtype) for name, value in tensors.items()}
    save_file(moved, copy / WEIGHTS, metadata={"format": "pt"})
    assert (copy / WEIGHTS).stat().st_size == (MODEL_DIR / WEIGHTS).stat().st_size
    assert model_digest(copy) != before


def test_files_that_are_not_of_the_index_do_not_count(copy: Path) -> None:
    names = dict.fromkeys(load_file(copy / WEIGHTS), WEIGHTS)
    (copy / INDEX).write_text(json.dumps({"weight_map": names}))
    before = model_digest(copy)
    shutil.copy(copy / WEIGHTS, copy / "other.safetensors")
    assert model_digest(copy) == before


def test_what_is_no_header_is_read_as_bytes(copy: Path) -> None:
    digests = set()
    for content in (b"", b"short", b"\xff" * 100, b"\xff" * 99 + b"\0"):
        (copy / WEIGHTS).write_bytes(content)
        digests.add(model_digest(copy))
    assert len(digests) == 4


def test_a_file_that_is_missing_is_named(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(InvalidInput, match=r"elsewhere/config.json cannot be read: No such file"):
        model_digest(copy)

"""Weights for the demo model: its own, changed a little."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

import treeroll
from treeroll.demo import MODEL_DIR

NORM = "model.norm.weight"


def changed(number: int, size: float = 0.01, sureness: float = 1.0) -> dict[str, np.ndarray]:
    """The demo model's tensors, each with noise of its own for every number, and logits times `sureness`.

    The model is so sure of its tokens that whatever one version samples, another would nearly as surely.
    """
    chance = np.random.default_rng(number)
    tensors = {
        name: (value + size * chance.standard_normal(value.shape)).astype(value.dtype)
        for name, value in load_file(MODEL_DIR / "model.safetensors").items()
    }
    return {**tensors, NORM: tensors[NORM] * np.float32(sureness)}


def saved(directory: Path, number: int, size: float = 0.01, sureness: float = 1.0) -> tuple[Path, str]:
    """A directory of such weights, and its digest."""
    path = directory / f"step-{number}"
    return path, treeroll.save_weights(changed(number, size, sureness), path)

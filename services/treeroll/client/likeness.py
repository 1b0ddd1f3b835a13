"""How alike texts are to a model that a trainer brings."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from treeroll.errors import InvalidInput

Encode = Callable[[list[str]], Any]
"""A function from n texts to n vectors: an array [n, d], or what numpy makes one of."""
# Models compute a text's vector not quite the same in every batch; equal texts are to be equally alike all the same.
DECIMALS: Final = 5


def cosines(texts: list[str], encode: Encode) -> list[list[float]]:
    """Cosine of each pair of texts, 0 where it is negative or a vector is zero. One call of `encode`, if any text.

    InvalidInput if what it returns is not one vector of finite numbers per text.
    """
    if not texts:
        return []
    vectors = np.asarray(encode(texts), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise InvalidInput(
            f"diverse must turn {len(texts)} texts into as many vectors, and returned an array of shape {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise InvalidInput("diverse returned a vector with a number that is not finite")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    found: list[list[float]] = (units @ units.T).clip(0, 1).round(DECIMALS).tolist()
    return found

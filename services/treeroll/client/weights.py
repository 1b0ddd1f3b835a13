"""What tokens weigh in training: shared prefixes, confident tokens, and advantages over the whole batch."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from treeroll.records.fields import Float32, Sample

# Added to the variance before the root, as in verl's trainers.
EPSILON = 1e-8


def whitened(advantages: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """(A - mean) / sqrt(var + 1e-8) over the tokens with mask 1, both [B, C]; 0 elsewhere. var is that of a sample.

    Every sample's token counts once, so a shared prefix counts as often as samples share it. TreePO and SPO whiten over
    the global batch: a trainer with several processes gathers advantages and masks, and calls this on all of them.
    """
    kept = mask.astype(bool)
    values = advantages[kept].astype(np.float64)
    if not len(values):
        return np.zeros_like(advantages)
    variance = values.var(ddof=1) if len(values) > 1 else 0.0
    result = np.zeros_like(advantages)
    result[kept] = (values - values.mean()) / np.sqrt(variance + EPSILON)
    return result


def shared_once(samples: Sequence[Sample]) -> list[Float32]:
    """Loss weights per token with which every node counts once: 1 / samples that pass through it.

    Summed over these samples, a token that several share then has the gradient of their mean advantage.
    """
    passing = Counter(node for sample in samples for node in sample.path_node_ids)
    weights = []
    for sample in samples:
        lengths = np.diff([*sample.path_offsets, len(sample.completion_ids)])
        per_node = np.array([1 / passing[node] for node in sample.path_node_ids], np.float32)
        weights.append(per_node.repeat(lengths))
    return weights

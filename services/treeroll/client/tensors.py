"""Padding: samples as rectangular arrays under the names that TRL's trainers use."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from treeroll.client.sample import Sample
from treeroll.errors import InvalidInput

Array = NDArray[Any]


def padded(samples: Sequence[Sample], pad_id: int = 0, *, mask_unscored: bool = True) -> dict[str, Array]:
    """Samples as padded arrays, one row each. B samples, P longest prompt, C longest completion.

    ============================ ========== ======= ==============================================================
    prompt_ids                   [B, P]     int64   left-padded with pad_id
    prompt_mask                  [B, P]     int64   1 on real tokens
    completion_ids               [B, C]     int64   right-padded with pad_id
    completion_mask              [B, C]     int64   1 on tokens to train on: made by the model, in a scored sample
    attention_mask               [B, P + C] int64   1 on real tokens, trained on or not
    sampling_per_token_logps     [B, C]     float32 logprob when sampled, nats; 0 on padding; by the engine,
                                                    so old_per_token_logps only if you skip that forward pass
    advantages                   [B, C]     float32 per token; 0 on padding and in unscored samples
    loss_weights                 [B, C]     float32 0 on padding
    rewards                      [B]        float32 nan when missing
    path_weight                  [B]        float32
    group_index                  [B]        int64   0, 1, 2 ... per tree, in order of appearance
    min/max_weight_version       [B]        int64
    is_truncated                 [B]        bool
    ============================ ========== ======= ==============================================================

    A sample is unscored when its scorer failed or nobody scored it; `mask_unscored=False` keeps its completion_mask.
    Raises InvalidInput when there are no samples: a mean over nothing would be nan and poison the weights.
    """
    if not samples:
        raise InvalidInput(
            "no samples to pad: every tree of this batch failed; check len(batch) and batch.failures first"
        )
    completion_ids = _pad([s.completion_ids for s in samples], pad_id, np.int64)
    kept = [s.completion_mask * int(s.reward is not None or not mask_unscored) for s in samples]
    prompt_mask = _pad([np.ones(len(s.prompt_ids)) for s in samples], 0, np.int64, side="left")
    real = _pad([np.ones(len(s.completion_ids)) for s in samples], 0, np.int64)
    return {
        "prompt_ids": _pad([s.prompt_ids for s in samples], pad_id, np.int64, side="left"),
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": _pad(kept, 0, np.int64),
        "attention_mask": np.concatenate([prompt_mask, real], axis=1),
        "sampling_per_token_logps": _pad([s.logprobs for s in samples], 0.0, np.float32),
        "advantages": _pad([_advantages(s) for s in samples], 0.0, np.float32),
        "loss_weights": _pad([s.loss_weights for s in samples], 0.0, np.float32),
        "rewards": np.array([np.nan if s.reward is None else s.reward for s in samples], np.float32),
        "path_weight": np.array([s.path_weight for s in samples], np.float32),
        "group_index": _group_index(samples),
        "min_weight_version": np.array([s.min_weight_version for s in samples], np.int64),
        "max_weight_version": np.array([s.max_weight_version for s in samples], np.int64),
        "is_truncated": np.array([s.is_truncated for s in samples], np.bool_),
    }


def _pad(rows: Sequence[Array], fill: float, dtype: Any, side: Literal["left", "right"] = "right") -> Array:
    width = max(len(row) for row in rows)
    out = np.full((len(rows), width), fill, dtype)
    for place, row in zip(out, rows, strict=True):
        if side == "right":
            place[: len(row)] = row
        else:
            place[width - len(row) :] = row
    return out


def _advantages(sample: Sample) -> Array:
    return np.zeros(len(sample.completion_ids)) if sample.advantages is None else sample.advantages


def _group_index(samples: Sequence[Sample]) -> Array:
    index: dict[str, int] = {}
    return np.array([index.setdefault(sample.group_id, len(index)) for sample in samples], np.int64)

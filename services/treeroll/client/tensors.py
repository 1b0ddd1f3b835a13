"""Padding: samples as rectangular arrays under the names that TRL's trainers use."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from treeroll.client.clipping import ClipRange, clip_ranges
from treeroll.client.factors import TokenFactor, entropies_of, token_factors
from treeroll.client.schedule import TokenSchedule, scheduled
from treeroll.client.selection import LeafSelection, select_leaves
from treeroll.client.weights import shared_once, whitened
from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample

Array = NDArray[Any]


class Training(TypedDict, total=False):
    """What to train on, and how much. Without any of it, all scored samples as published."""

    mask_unscored: bool
    """Default True: samples whose scorer failed, or that nobody scored, have completion_mask 0."""
    select: LeafSelection
    """Samples to keep of every tree; default all."""
    max_prob: float
    """Train, and whiten, only tokens that were sampled with a probability below this (SPO: 0.9); default all."""
    shared_prefixes: Literal["each", "once"]
    """Default "each": loss_weights are 1, so a prefix counts as often as samples share it. "once": 1 / that number."""
    whiten: bool
    """Advantages minus their mean, over their deviation, over all tokens that are trained on; default False."""
    factor: TokenFactor
    """Advantages, whitened or not, times a factor of each token's entropy and confidence (ECHO, AEPO); default 1."""
    clip_range: ClipRange
    """Adds the column clip_range, by how sure each sample's last tokens were (ECHO); default none."""
    schedule: TokenSchedule
    """loss_weights times a window on the completion that moves with `progress`; default the whole completion."""
    progress: float
    """How much of training is done, 0..1; only and always with `schedule`."""


def padded(samples: Sequence[Sample], pad_id: int = 0, **training: Unpack[Training]) -> dict[str, Array]:
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
    clip_range                   [B]        float32 only if asked for: eps of this sample's ratios
    ============================ ========== ======= ==============================================================

    Raises InvalidInput when there are no samples: a mean over nothing would be nan and poison the weights.
    """
    _check(training)
    if "select" in training:
        samples = select_leaves(samples, training["select"])
    if not samples:
        raise InvalidInput(
            "no samples to pad: every tree of this batch failed, or has no scored leaf to select; "
            "check len(batch) and batch.failures first"
        )
    completion_ids = _pad([s.completion_ids for s in samples], pad_id, np.int64)
    prompt_mask = _pad([np.ones(len(s.prompt_ids)) for s in samples], 0, np.int64, side="left")
    real = _pad([np.ones(len(s.completion_ids)) for s in samples], 0, np.int64)
    mask = _pad(_masks(samples, training), 0, np.int64)
    advantages = _pad([_advantages(s) for s in samples], 0.0, np.float32)
    logprobs = _pad([s.logprobs for s in samples], 0.0, np.float32)
    credited = mask * np.array([[s.reward is not None] for s in samples])
    if training.get("whiten"):
        advantages = whitened(advantages, credited)
    if "factor" in training:
        advantages *= _factors(samples, logprobs, credited, training["factor"])
    arrays = {
        "prompt_ids": _pad([s.prompt_ids for s in samples], pad_id, np.int64, side="left"),
        "prompt_mask": prompt_mask,
        "completion_ids": completion_ids,
        "completion_mask": mask,
        "attention_mask": np.concatenate([prompt_mask, real], axis=1),
        "sampling_per_token_logps": logprobs,
        "advantages": advantages,
        "loss_weights": _pad(_loss_weights(samples, training), 0.0, np.float32),
        "rewards": np.array([np.nan if s.reward is None else s.reward for s in samples], np.float32),
        "path_weight": np.array([s.path_weight for s in samples], np.float32),
        "group_index": _group_index(samples),
        "min_weight_version": np.array([s.min_weight_version for s in samples], np.int64),
        "max_weight_version": np.array([s.max_weight_version for s in samples], np.int64),
        "is_truncated": np.array([s.is_truncated for s in samples], np.bool_),
    }
    if "clip_range" in training:
        arrays["clip_range"] = clip_ranges(samples, training["clip_range"])
    return arrays


def _check(training: Training) -> None:
    """Keyword arguments of a TypedDict are not checked when called."""
    for option in training:
        if option not in Training.__annotations__:
            known = ", ".join(Training.__annotations__)
            raise InvalidInput(f"there is no option {option!r} for what to train on; the options are {known}")
    if not 0 < training.get("max_prob", 1) <= 1:
        raise InvalidInput(f"max_prob must be above 0 and at most 1, got {training['max_prob']}")
    if training.get("shared_prefixes", "each") not in ("each", "once"):
        raise InvalidInput(f"shared_prefixes must be 'each' or 'once', got {training['shared_prefixes']!r}")
    if ("schedule" in training) != ("progress" in training):
        raise InvalidInput("schedule and progress go together: give both, or neither")
    if not 0 <= training.get("progress", 0) <= 1:
        raise InvalidInput(f"progress must be 0 to 1, the share of training that is done, got {training['progress']}")


def _masks(samples: Sequence[Sample], training: Training) -> list[Array]:
    """Per sample: 1 on tokens to train on."""
    masks = [sample.completion_mask * int(_trained(sample, training)) for sample in samples]
    if "max_prob" in training:
        highest = np.log(training["max_prob"])
        masks = [mask * (sample.logprobs < highest) for mask, sample in zip(masks, samples, strict=True)]
    return masks


def _factors(samples: Sequence[Sample], logprobs: Array, mask: Array, factor: TokenFactor) -> Array:
    entropies = _pad(entropies_of(samples), 0.0, np.float32) if factor.entropy_weight else None
    return token_factors(factor, entropies, logprobs, mask)


def _loss_weights(samples: Sequence[Sample], training: Training) -> list[Array]:
    weights: list[Array] = [sample.loss_weights for sample in samples]
    if training.get("shared_prefixes", "each") == "once":
        shares = iter(shared_once([sample for sample in samples if _trained(sample, training)]))
        weights = [
            weight * (next(shares) if _trained(sample, training) else 1)
            for sample, weight in zip(samples, weights, strict=True)
        ]
    if "schedule" in training:
        schedule, progress = training["schedule"], training["progress"]
        weights = [weight * scheduled(len(weight), progress, schedule) for weight in weights]
    return weights


def _trained(sample: Sample, training: Training) -> bool:
    return sample.reward is not None or not training.get("mask_unscored", True)


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

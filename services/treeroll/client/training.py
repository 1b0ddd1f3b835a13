"""Training: which tokens of which samples are trained on, and how much, however they are laid out for a model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from treeroll.checks import check_flag
from treeroll.client.clipping import ClipRange
from treeroll.client.factors import TokenFactor, entropies_of, token_factors
from treeroll.client.schedule import TokenSchedule, scheduled
from treeroll.client.selection import LeafSelection, select_leaves
from treeroll.client.tempo import tempo
from treeroll.client.weights import shared_once, whitened
from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample

Array = NDArray[Any]


class Training(TypedDict, total=False):
    """What to train on, and how much. Without any of it, all scored samples as published."""

    mask_unscored: bool
    """Default True: samples whose scorer failed, or that nobody scored, have loss_mask 0."""
    credit: Literal["delivered", "tempo"]
    """Default "delivered": the advantages of the run's estimator. "tempo": those of `treeroll.client.tempo`, from
    rewards and tokens alone, which finds where samples of `flat` part."""
    select: LeafSelection
    """Samples to keep of every tree; default all."""
    max_prob: float
    """Train, and whiten, only tokens that were sampled with a probability below this (SPO: 0.9); default all."""
    shared_prefixes: Literal["each", "once"]
    """Default "each": loss_weights are 1, so a prefix counts as often as samples share it. "once": 1 / that number."""
    weigh: Literal["tokens", "samples", "trees"]
    """What counts alike. Default "tokens": each, whosever it is (DAPO). "samples": loss_weights are divided by the
    sample's tokens that are trained on, so that the loss is a sum of the samples' means (GRPO). "trees": by the tree's
    samples that are trained on, so that a task counts once, however many leaves an allocator gave it."""
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


@dataclass(frozen=True, slots=True)
class Trained:
    """Samples and what a loss makes of their tokens, right-padded with 0. B samples, C longest completion."""

    samples: list[Sample]
    loss_mask: Array
    """[B, C] int64; 1 on tokens to train on: made by the model, in a scored sample."""
    advantages: Array
    """[B, C] float32."""
    loss_weights: Array
    """[B, C] float32, on all real tokens."""
    logprobs: Array
    """[B, C] float32, nats, when sampled."""


def trained(samples: Sequence[Sample], training: Training) -> Trained:
    """What `training` says of the samples. InvalidInput if there are none, or no token of theirs is trained on."""
    _check(training)
    credit = _credit(samples, training)
    kept = select_leaves(samples, training["select"]) if "select" in training else list(samples)
    if not kept:
        raise InvalidInput(
            "no samples to train on: every tree of this batch failed, or has no scored leaf to select; "
            "check len(batch) and batch.failures first"
        )
    mask = pad(_masks(kept, training), 0, np.int64)
    if not mask.any():
        raise InvalidInput(f"none of these {len(kept)} samples is trained on: {_untrained(kept)}")
    advantages = pad([credit[id(sample)] for sample in kept], 0.0, np.float32)
    logprobs = pad([sample.logprobs for sample in kept], 0.0, np.float32)
    credited = mask * np.array([[sample.reward is not None] for sample in kept])
    if training.get("whiten"):
        advantages = whitened(advantages, credited)
    if "factor" in training:
        advantages *= _factors(kept, logprobs, credited, training["factor"])
    weights = pad(_loss_weights(kept, training), 0.0, np.float32)
    weights /= _alike(kept, mask, training.get("weigh", "tokens"))
    return Trained(kept, mask, advantages, weights, logprobs)


def pad(rows: Sequence[Array], fill: float, dtype: Any, side: Literal["left", "right"] = "right") -> Array:
    """Rows of any lengths as one array [len(rows), longest]."""
    width = max(len(row) for row in rows)
    out = np.full((len(rows), width), fill, dtype)
    for place, row in zip(out, rows, strict=True):
        if side == "right":
            place[: len(row)] = row
        else:
            place[width - len(row) :] = row
    return out


def temperatures(sample: Sample) -> Array:
    """[C] float32; what the distributions were sampled at that its logprobs are of, and logits are to be divided by.

    1 where that is no division: raw logprobs, and greedy decoding (temperature 0), whose logprobs engines give at 1.
    """
    if sample.logprobs_mode == "raw":
        return np.ones(len(sample.completion_ids), np.float32)
    return np.where(sample.temperatures > 0, sample.temperatures, np.float32(1))


def _check(training: Training) -> None:
    """Keyword arguments of a TypedDict are not checked when called."""
    for option in training:
        if option not in Training.__annotations__:
            known = ", ".join(Training.__annotations__)
            raise InvalidInput(f"there is no option {option!r} for what to train on; the options are {known}")
    for option in ("mask_unscored", "whiten"):
        check_flag(option, training.get(option, True))
    most: Any = training.get("max_prob", 1.0)
    if isinstance(most, str | bool) or not 0 < most <= 1:
        raise InvalidInput(f"max_prob must be above 0 and at most 1, got {most!r}")
    if training.get("shared_prefixes", "each") not in ("each", "once"):
        raise InvalidInput(f"shared_prefixes must be 'each' or 'once', got {training['shared_prefixes']!r}")
    if training.get("weigh", "tokens") not in ("tokens", "samples", "trees"):
        raise InvalidInput(f"weigh must be 'tokens', 'samples' or 'trees', got {training['weigh']!r}")
    if training.get("credit", "delivered") not in ("delivered", "tempo"):
        raise InvalidInput(f"credit must be 'delivered' or 'tempo', got {training['credit']!r}")
    if ("schedule" in training) != ("progress" in training):
        raise InvalidInput("schedule and progress go together: give both, or neither")
    if not 0 <= training.get("progress", 0) <= 1:
        raise InvalidInput(f"progress must be 0 to 1, the share of training that is done, got {training['progress']}")


def _untrained(samples: Sequence[Sample]) -> str:
    """Why none of the samples has a token to train on, and what to do."""
    statuses = {sample.reward_status for sample in samples}
    if "ok" in statuses:
        return "the options given, or masks on what the model did not sample, leave no token"
    if statuses == {"missing"}:
        return (
            "nobody has scored them, so call batch.score(function) or batch.report_rewards(...) first "
            "(docs/trainer-loop.md), or create the run with a scorer"
        )
    return "their scorer failed; the rewards of batch.trees' nodes say why"


def _masks(samples: Sequence[Sample], training: Training) -> list[Array]:
    """Per sample: 1 on tokens to train on."""
    masks = [sample.model_mask * int(_is_trained(sample, training)) for sample in samples]
    if "max_prob" in training:
        highest = np.log(training["max_prob"])
        masks = [mask * (sample.logprobs < highest) for mask, sample in zip(masks, samples, strict=True)]
    return masks


def _factors(samples: Sequence[Sample], logprobs: Array, mask: Array, factor: TokenFactor) -> Array:
    entropies = pad(entropies_of(samples), 0.0, np.float32) if factor.entropy_weight else None
    return token_factors(factor, entropies, logprobs, mask)


def _loss_weights(samples: Sequence[Sample], training: Training) -> list[Array]:
    weights: list[Array] = [sample.loss_weights for sample in samples]
    if training.get("shared_prefixes", "each") == "once":
        shares = iter(shared_once([sample for sample in samples if _is_trained(sample, training)]))
        weights = [
            weight * (next(shares) if _is_trained(sample, training) else 1)
            for sample, weight in zip(samples, weights, strict=True)
        ]
    if "schedule" in training:
        schedule, progress = training["schedule"], training["progress"]
        weights = [weight * scheduled(len(weight), progress, schedule) for weight in weights]
    return weights


def _alike(samples: Sequence[Sample], mask: Array, weigh: str) -> Array:
    """What to divide the weights of each sample by, [B, 1], so that what `weigh` says counts alike."""
    lengths: Array = mask.sum(axis=1, keepdims=True)
    if weigh == "samples":
        return lengths.clip(min=1)
    if weigh == "trees":
        groups = Counter(sample.group_id for sample, length in zip(samples, lengths, strict=True) if length)
        return np.array([[max(groups[sample.group_id], 1)] for sample in samples])
    return np.ones_like(lengths)


def _is_trained(sample: Sample, training: Training) -> bool:
    return sample.reward is not None or not training.get("mask_unscored", True)


def _credit(samples: Sequence[Sample], training: Training) -> dict[int, Array]:
    """Advantages by identity of the sample. Credit compares all of a tree's samples, also those not selected."""
    given = tempo(samples) if training.get("credit") == "tempo" else [sample.advantages for sample in samples]
    return {
        id(sample): np.zeros(len(sample.completion_ids)) if advantages is None else advantages
        for sample, advantages in zip(samples, given, strict=True)
    }

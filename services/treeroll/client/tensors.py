"""Padding: samples as rectangular arrays under the names that trainers use."""

from collections.abc import Mapping, Sequence
from typing import Literal, Unpack

import numpy as np

from treeroll.checks import check_flag, check_whole
from treeroll.client.clipping import clip_ranges
from treeroll.client.training import Array, Training, pad, temperatures, trained
from treeroll.errors import InvalidInput
from treeroll.records.fields import Sample

Names = Literal["trl", "verl"]


class Padding(Training, total=False):
    """How arrays are given, beside what to train on."""

    fold_weights: bool
    """Default False. True: advantages are multiplied by loss_weights, which are 1 then, for losses that read no
    weights. Right for policy gradients, clipped or not; in KL and entropy all tokens weigh the same then."""
    names: Names
    """Default "trl": the names below. "verl": those of verl's batches."""


# Where verl's batches have another name for the same array.
VERL: Mapping[str, str] = {
    "prompt_ids": "prompts",
    "completion_ids": "responses",
    "loss_mask": "response_mask",
    "sampling_per_token_logps": "rollout_log_probs",
    "old_per_token_logps": "old_log_probs",
}


def padded(samples: Sequence[Sample], pad_id: int = 0, **options: Unpack[Padding]) -> dict[str, Array]:
    """Samples as padded arrays, one row each. B samples, P longest prompt, C longest completion.

    ============================ ========== ======= ==============================================================
    prompt_ids                   [B, P]     int64   left-padded with pad_id
    prompt_mask                  [B, P]     int64   1 on real tokens
    completion_ids               [B, C]     int64   right-padded with pad_id
    completion_mask              [B, C]     int64   1 on real tokens, trained on or not
    loss_mask                    [B, C]     int64   1 on tokens to train on: made by the model, in a scored sample
    tool_mask                    [B, C]     int64   loss_mask, as what TRL's loss multiplies completion_mask by
    attention_mask               [B, P + C] int64   prompt_mask and completion_mask
    position_ids                 [B, P + C] int64   0, 1, 2 ... on real tokens; 0 on padding
    sampling_per_token_logps     [B, C]     float32 logprob when sampled, nats, by the engine; 0 on padding
    old_per_token_logps          [B, C]     float32 the same: ratios are taken to the policy that sampled
    temperatures                 [B, C]     float32 what logits are divided by for such logprobs; 1 on padding
    advantages                   [B, C]     float32 per token; 0 on padding and in unscored samples
    loss_weights                 [B, C]     float32 0 on padding
    rewards                      [B]        float32 nan when missing
    path_weight                  [B]        float32
    group_index                  [B]        int64   0, 1, 2 ... per tree, in order of appearance
    min/max_weight_version       [B]        int64
    is_truncated                 [B]        bool
    clip_range                   [B]        float32 only if asked for: eps of this sample's ratios
    ============================ ========== ======= ==============================================================

    `names="verl"`: prompts, responses, response_mask (of what is trained on), rollout_log_probs and old_log_probs, and
    input_ids [B, P + C] as well; no completion_mask, tool_mask and prompt_mask.

    Raises InvalidInput when no token is trained on: a mean over nothing would be nan and poison the weights.
    """
    fold, names = options.pop("fold_weights", False), options.pop("names", "trl")
    if names not in ("trl", "verl"):
        raise InvalidInput(f"names must be 'trl' or 'verl', got {names!r}")
    check_flag("fold_weights", fold)
    if pad_id is None:
        raise InvalidInput("pad_id is None: this tokenizer has no padding; leave it out, for padding is masked anyway")
    check_whole("pad_id", pad_id, -(2**63))
    found = trained(samples, options)
    samples = found.samples
    lengths = [len(sample.completion_ids) for sample in samples]
    prompt_ids = pad([sample.prompt_ids for sample in samples], pad_id, np.int64, side="left")
    prompt_mask = pad([np.ones(len(sample.prompt_ids)) for sample in samples], 0, np.int64, side="left")
    completion_mask = pad([np.ones(length) for length in lengths], 0, np.int64)
    attention_mask = np.concatenate([prompt_mask, completion_mask], axis=1)
    arrays = {
        "prompt_ids": prompt_ids,
        "prompt_mask": prompt_mask,
        "completion_ids": pad([sample.completion_ids for sample in samples], pad_id, np.int64),
        "completion_mask": completion_mask,
        "loss_mask": found.loss_mask,
        "tool_mask": found.loss_mask.copy(),
        "attention_mask": attention_mask,
        "position_ids": (attention_mask.cumsum(axis=1) - 1) * attention_mask,
        "sampling_per_token_logps": found.logprobs,
        "old_per_token_logps": found.logprobs.copy(),
        "temperatures": pad([temperatures(sample) for sample in samples], 1.0, np.float32),
        "advantages": found.advantages * found.loss_weights if fold else found.advantages,
        "loss_weights": completion_mask.astype(np.float32) if fold else found.loss_weights,
        "rewards": np.array([np.nan if s.reward is None else s.reward for s in samples], np.float32),
        "path_weight": np.array([s.path_weight for s in samples], np.float32),
        "group_index": _group_index(samples),
        "min_weight_version": np.array([s.min_weight_version for s in samples], np.int64),
        "max_weight_version": np.array([s.max_weight_version for s in samples], np.int64),
        "is_truncated": np.array([s.is_truncated for s in samples], np.bool_),
    }
    if "clip_range" in options:
        arrays["clip_range"] = clip_ranges(samples, options["clip_range"])
    return _as_verl(arrays) if names == "verl" else arrays


def _as_verl(arrays: dict[str, Array]) -> dict[str, Array]:
    left_out = ("prompt_mask", "completion_mask", "tool_mask")
    named = {VERL.get(name, name): array for name, array in arrays.items() if name not in left_out}
    return named | {"input_ids": np.concatenate([arrays["prompt_ids"], arrays["completion_ids"]], axis=1)}


def _group_index(samples: Sequence[Sample]) -> Array:
    index: dict[str, int] = {}
    return np.array([index.setdefault(sample.group_id, len(index)) for sample in samples], np.int64)

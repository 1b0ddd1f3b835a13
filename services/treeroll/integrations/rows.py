"""Samples as the rows that other projects' trainers take: real tokens only, each with its credit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from treeroll.client.records import Sample
from treeroll.client.training import Array, Training, temperatures, trained
from treeroll.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Row:
    """One sample for a trainer. C completion tokens; arrays have no padding."""

    sample: Sample
    loss_mask: Array
    """[C] int64; 1 on tokens to train on: made by the model, in a scored sample."""
    advantages: Array
    """[C] float32; 0 where there is none."""
    loss_weights: Array
    """[C] float32."""

    @property
    def prompt_ids(self) -> list[int]:
        """The prompt's tokens."""
        ids: list[int] = self.sample.prompt_ids.tolist()
        return ids

    @property
    def completion_ids(self) -> list[int]:
        """The completion's tokens."""
        ids: list[int] = self.sample.completion_ids.tolist()
        return ids

    @property
    def folded(self) -> Array:
        """[C] float32; advantages times loss weights, for losses that read no weights.

        Right for policy gradients, clipped or not; in KL and entropy terms all tokens weigh the same then.
        """
        return self.advantages * self.loss_weights

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.sample.prompt_ids) + len(self.sample.completion_ids)


def rows_of(samples: Sequence[Sample], **training: Unpack[Training]) -> list[Row]:
    """Rows of the samples; `training` says what to train on. InvalidInput when no token is trained on."""
    found = trained(samples, training)
    columns = zip(found.samples, found.loss_mask, found.advantages, found.loss_weights, strict=True)
    return [Row(sample, *(column[: len(sample.completion_ids)] for column in arrays)) for sample, *arrays in columns]


def trains(samples: Sequence[Sample]) -> bool:
    """Whether any token of the samples can be trained on."""
    return any(sample.reward is not None and sample.model_mask.any() for sample in samples)


def check_temperature(samples: Sequence[Sample], temperature: float, trainer: str) -> None:
    """InvalidInput if a token was sampled at another temperature than the one that `trainer` divides logits by.

    Its ratio to the policy would be wrong from the first step on, and nothing would show it.
    """
    for sample in samples:
        others = temperatures(sample)[~np.isclose(temperatures(sample), temperature)]
        if len(others):
            raise InvalidInput(
                f"sample {sample.sample_id} has tokens sampled at temperature {others[0]:g}, and {trainer} divides "
                f"logits by {temperature:g}: give both the same"
            )

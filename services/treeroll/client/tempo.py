"""TEMPO: credit at the tokens where samples part, found by comparing them; for `flat` above all."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from treeroll.records.fields import Float32, Sample

EPSILON = 1e-6


def tempo(samples: Sequence[Sample]) -> list[Float32]:
    """Advantages of each sample's tokens, [C]: A_t = (R - mean R + V(s_t+1) - V(s_t)) / (std R + 1e-6).

    s_t are the prompt and the first t tokens, and V(s) is the mean reward of the tree's samples that begin with s. So
    it is GRPO's advantage, and where samples part the change of value besides. mean and std (n - 1) are over the tree's
    scored samples, as in estimator `grpo`; samples without a reward take no part and get 0.

    Follows the formula of TEMPO (arXiv 2509.18314) as secondary sources give it; no code of its authors was read. It is
    here and no estimator of the service, because those see no tokens and give a node one number. Ours: equal rewards
    give exactly 0. A change of value at a token that the model did not make is lost with it.
    """
    found = [np.zeros(len(sample.completion_ids), np.float32) for sample in samples]
    groups: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        if sample.reward is not None:
            groups.setdefault(sample.group_id, []).append(number)
    for numbers in groups.values():
        rewards = np.array([samples[number].reward for number in numbers], np.float64)
        if (rewards == rewards[0]).all():
            continue
        deviation = rewards.std(ddof=1) + EPSILON
        values = _values([samples[number].completion_ids for number in numbers], rewards)
        for number, reward, value in zip(numbers, rewards, values, strict=True):
            found[number][:] = (reward - rewards.mean() + np.diff(value)) / deviation
    return found


def _values(completions: Sequence[NDArray[np.int32]], rewards: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """V(s_0) .. V(s_C) of each completion: mean rewards of all that begin alike."""
    values = [np.full(len(completion) + 1, reward) for completion, reward in zip(completions, rewards, strict=True)]
    alike = [np.arange(len(completions))]
    length = 0
    while alike:
        for group in alike:
            mean = rewards[group].mean()
            for number in group:
                values[number][length] = mean
        alike = [part for group in alike for part in _parts(group, completions, length)]
        length += 1
    return values


def _parts(group: NDArray[np.int64], completions: Sequence[NDArray[np.int32]], length: int) -> list[NDArray[np.int64]]:
    """Those of the group that go on alike, where there is more than one: a single one's value is its reward."""
    longer = np.array([number for number in group if len(completions[number]) > length], np.int64)
    tokens = np.array([completions[number][length] for number in longer])
    return [part for token in np.unique(tokens) if len(part := longer[tokens == token]) > 1]

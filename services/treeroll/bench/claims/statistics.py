"""What is counted of grown trees: effective samples, effective groups, votes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from treeroll.client import Sample, TreeRecord
from treeroll.scorers.boxed import last_boxed

# An advantage closer to 0 than this teaches nothing.
NOTHING = 1e-9


def effective(tree: TreeRecord) -> list[Sample]:
    """The samples that have an advantage other than 0 on any token: the others do not change the policy."""
    return [
        sample
        for sample in tree.samples
        if sample.advantages is not None and np.abs(sample.advantages).max(initial=0.0) > NOTHING
    ]


def effective_size(samples: Sequence[Sample]) -> float:
    """What samples of one tree are worth as independent ones, by the tokens that they share: from 1 to their number.

    Ours: n^2 / sum over all pairs i, j of r_ij, the design effect of samples whose correlation is r_ij. As such we take
    the share of completion tokens that the two paths have in common, over the geometric mean of their lengths: 1 for a
    sample with itself, 0 for samples that part at the prompt. So n samples that share nothing count n, and n copies 1.
    """
    if not samples:
        return 0.0
    lengths = np.array([max(1, len(sample.completion_ids)) for sample in samples], float)
    shared = np.array([[_shared(one, other) for other in samples] for one in samples], float)
    np.fill_diagonal(shared, lengths)
    return len(samples) ** 2 / float((shared / np.sqrt(np.outer(lengths, lengths))).sum())


def _shared(one: Sample, other: Sample) -> int:
    """Tokens of the nodes that both paths have."""
    ends = [*one.path_offsets[1:], len(one.completion_ids)]
    shared = 0
    for mine, theirs, end in zip(one.path_node_ids, other.path_node_ids, ends, strict=False):
        if mine != theirs:
            break
        shared = int(end)
    return shared


def mixed(tree: TreeRecord) -> bool:
    """Whether the tree has leaves with different rewards: an effective group."""
    return len({sample.reward for sample in tree.samples if sample.reward is not None}) > 1


def solved(tree: TreeRecord) -> bool:
    """Whether any leaf is right."""
    return any((sample.reward or 0) >= 1 for sample in tree.samples)


def answers(samples: Sequence[Sample]) -> list[str]:
    """The boxed answers; samples without one have none, and do not vote."""
    return [answer for sample in samples if (answer := last_boxed(sample.completion_text)) is not None]


def vote(found: Sequence[str]) -> str | None:
    """The commonest answer; of equally common ones the first in order of characters, as good as any. None of none."""
    counts = Counter(found)
    return min(counts, key=lambda answer: (-counts[answer], answer), default=None)


def voted_right(tree: TreeRecord) -> bool:
    """Whether the majority of the leaves gives the task's answer."""
    return tree.answer is not None and vote(answers(tree.samples)) == tree.answer

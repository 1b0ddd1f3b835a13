"""What is counted of grown trees: samples with an advantage, mixed groups, votes, and differences between arms."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from treeroll.boxed import last_boxed
from treeroll.client import Sample, TreeRecord

# An advantage closer to 0 than this teaches nothing.
NOTHING = 1e-9
# Subsets drawn per task and size, for a curve of votes.
DRAWS: Final = 40


def effective(tree: TreeRecord) -> list[Sample]:
    """The samples that have an advantage other than 0 on any token: the others do not change the policy.

    A count, of copies too, and of advantages whatever their size: it says nothing of the noise of a gradient.
    """
    return [
        sample
        for sample in tree.samples
        if sample.advantages is not None and np.abs(sample.advantages).max(initial=0.0) > NOTHING
    ]


def effective_size(samples: Sequence[Sample]) -> float:
    """What samples of one tree are worth as independent ones, by the tokens that they share: from 1 to their number.

    That is, for an estimate of the mean reward. What they are worth to a gradient it does not say: there tokens count
    in which the model had a choice, and those that are shared carry the advantages of all samples below them.

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


def distinct(tree: TreeRecord) -> int:
    """How many different texts the samples are."""
    return len({sample.completion_text for sample in tree.samples})


class Gap(NamedTuple):
    """A difference of two arms in percentage points, and its standard error."""

    points: float
    error: float


def paired(
    one: Sequence[TreeRecord], other: Sequence[TreeRecord], score: Callable[[TreeRecord], float] = voted_right
) -> Gap:
    """How much better one arm scores (0 to 1 a tree) than the other, over the tasks that both have grown.

    The error is of the mean of the tasks' differences: what tasks have in common, their difficulty, cancels out, which
    the errors of the two means would count twice. With fewer than two tasks it is 100 points.
    """
    mine, theirs = _by_task(one, score), _by_task(other, score)
    gaps = [100 * (mine[task] - theirs[task]) for task in sorted(mine.keys() & theirs.keys())]
    mean = math.fsum(gaps) / len(gaps) if gaps else 0.0
    if len(gaps) < 2:
        return Gap(mean, 100.0)
    variance = math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
    return Gap(mean, math.sqrt(variance / len(gaps)))


def _by_task(trees: Sequence[TreeRecord], score: Callable[[TreeRecord], float]) -> dict[str, float]:
    """Mean score of each task's trees, of which an arm of several epochs has several."""
    scores: dict[str, list[float]] = defaultdict(list)
    for tree in trees:
        scores[tree.task_id].append(score(tree))
    return {task: math.fsum(found) / len(found) for task, found in scores.items()}


class Point(NamedTuple):
    """Tokens per task, and the share of tasks, 0 to 1, whose vote is then right."""

    tokens: float
    right: float


def vote_curve(pool: Sequence[TreeRecord], sizes: Sequence[int], seed: int) -> list[Point]:
    """What votes of so many independent samples cost, and how many are right: means over subsets of each task's pool.

    Ours: a curve is made not to fall, each point as right as the best before it, since a size may be left out.
    """
    rng = random.Random(seed)  # noqa: S311 - a statistic, not a secret
    points: list[Point] = []
    ballots = [([(_answer(sample), len(sample.completion_ids)) for sample in tree.samples], tree) for tree in pool]
    for size in sizes:
        right = tokens = 0
        for cast, tree in ballots:
            for _ in range(DRAWS):
                drawn = rng.sample(cast, min(size, len(cast)))
                right += tree.answer is not None and vote([said for said, _ in drawn if said]) == tree.answer
                tokens += sum(length for _, length in drawn)
        draws = DRAWS * len(pool)
        points.append(Point(tokens / draws, max(right / draws, points[-1].right if points else 0.0)))
    return points


def _answer(sample: Sample) -> str | None:
    return last_boxed(sample.completion_text)


def tokens_for(curve: Sequence[Point], right: float) -> float:
    """Tokens per task at which the curve reaches this share, along straight lines between its points.

    Below the first point, that point's; above the last, infinite.
    """
    if right <= curve[0].right:
        return curve[0].tokens
    for before, after in pairwise(curve):
        if right <= after.right:
            share = (right - before.right) / (after.right - before.right)
            return before.tokens + share * (after.tokens - before.tokens)
    return float("inf")


def kept_tokens(tree: TreeRecord) -> float:
    """Completion tokens in the KV cache while the tree grew: mean over levels of all on the way to what went on there.

    Shared ones are counted once. 0 for a tree in which nothing went on beyond its first level.
    """
    nodes = {node.node_id: node for node in tree.nodes[1:]}
    parents = {node.parent_id for node in nodes.values()}
    levels: dict[int, set[str]] = {}
    for node in nodes.values():
        if node.node_id in parents:
            above: str | None = node.node_id
            while above in nodes:
                levels.setdefault(node.depth, set()).add(above)
                above = nodes[above].parent_id
    sums = [sum(len(nodes[name].token_ids) for name in level) for level in levels.values()]
    return sum(sums) / len(sums) if sums else 0.0

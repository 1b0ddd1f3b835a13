"""TreePO fallback: which finished paths are cut, where, and how many branches start there (paper 2.2, release rules).

Departures, ours, each on purpose:
- cuts fall at segment ends only. The release also cuts inside a segment, and the paper measures that this hurts;
- finished_first_strict takes the highest priority first; the release sorts ascending, which looks inverted;
- the blocks of `block` and `inverse_block` are segments, not 128 tokens;
- ties and shuffles follow the leaf's path and the tree's seed, never arrival.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policy.base import Limits
from treeroll.tree import rng
from treeroll.tree.apportion import softmax
from treeroll.tree.node import StopReason

# Finish-reason priorities of the release. Its "unclosed answer" (6) has no stop reason here; the rest counts as
# "unfinished". A run's own stop strings and stop ids count as its end of sequence.
PRIORITY = {
    StopReason.ANSWER: 7,
    StopReason.EOS: 5,
    StopReason.STOP: 5,
    StopReason.DEPTH: 4,
    StopReason.LENGTH: 3,
    StopReason.REPETITION: 2,
}
UNFINISHED = 1
ENDED_BY_ITSELF = (StopReason.ANSWER, StopReason.EOS, StopReason.STOP)


@dataclass(frozen=True, slots=True)
class SegmentStats:
    """Log probabilities of one segment's sampled tokens, in nats."""

    mean_logprob: float
    min_logprob: float


@dataclass(frozen=True, slots=True)
class Leaf:
    """A finished path: its name ("0.1.0"), why and after how many completion tokens it ended, and its segments."""

    path: str
    reason: StopReason
    tokens: int
    segments: tuple[SegmentStats, ...]


@dataclass(frozen=True, slots=True)
class Restart:
    """`forks` new branches after the first `keep` segments of `leaf` (from the prompt if there is none)."""

    leaf: Leaf | None
    keep: int
    forks: int


def plan_round(
    params: TreePOParams, limits: Limits, leaves: Sequence[Leaf], missing: int, b: int, seed: int, number: int
) -> list[Restart]:
    """One fallback round: eligible leaves in order get min(b, what is missing) branches each until nothing is missing.

    With no eligible leaf, and with from_start, it is one batch of min(b, missing) at the prompt, which then forks like
    a new tree. `leaves` are in path order; `number` counts rounds and keys every draw.
    """
    chosen = in_order(params, limits, leaves, seed, number)
    if not chosen or params.fallback == "from_start":
        return [Restart(None, 0, min(b, missing))]
    restarts = []
    for leaf in chosen:
        forks = min(b, missing)
        if forks == 0:
            break
        restarts.append(Restart(leaf, segments_kept(params, limits, leaf, seed, number), forks))
        missing -= forks
    return restarts


def in_order(params: TreePOParams, limits: Limits, leaves: Sequence[Leaf], seed: int, number: int) -> list[Leaf]:
    """Eligible leaves, the first to fall back first."""

    def draw(leaf: Leaf) -> float:
        return rng.uniform(seed, "treepo.fallback.order", number, leaf.path)

    def gumbel_top(leaf: Leaf, weight: float) -> float:
        return -(math.log(weight) + rng.gumbel(seed, "treepo.fallback.order", number, leaf.path))

    match params.leaf_order:
        case "finished_first_strict":
            return sorted(leaves, key=lambda leaf: -priority(leaf))
        case "finished_first":
            return sorted(leaves, key=lambda leaf: gumbel_top(leaf, priority(leaf)))
        case "longer_first":
            return sorted(leaves, key=lambda leaf: gumbel_top(leaf, max(leaf.tokens, 1)))
        case "random_all":
            return sorted(leaves, key=draw)
        case "soft_boxed_and_eos":
            return sorted((leaf for leaf in leaves if leaf.reason in ENDED_BY_ITSELF), key=draw)
        case "boxed_ge_window":
            least = params.boxed_min_windows * window_tokens(params, limits)
            boxed = (leaf for leaf in leaves if leaf.reason is StopReason.ANSWER and leaf.tokens >= least)
            return sorted(boxed, key=draw)


def segments_kept(params: TreePOParams, limits: Limits, leaf: Leaf, seed: int, number: int) -> int:
    """Where a leaf is cut: segments that stay, at least one fewer than it has and fewer than max_depth.

    A leaf shorter than one window restarts at the prompt.
    """
    if leaf.tokens < window_tokens(params, limits):
        return 0
    match params.fallback:
        case "random":
            keep = _random_cut(params, limits, leaf, seed, number)
        case "min_logprob":
            lowest = min(range(len(leaf.segments)), key=lambda i: leaf.segments[i].min_logprob)
            keep = lowest
        case "block" | "inverse_block":
            sign = 1.0 if params.fallback == "inverse_block" else -1.0
            weights = softmax([sign * segment.mean_logprob for segment in leaf.segments])
            keep = _pick(weights, rng.uniform(seed, "treepo.fallback.cut", number, leaf.path))
        case _:
            keep = 0
    return min(keep, limits.max_depth - 1)


def priority(leaf: Leaf) -> int:
    """The release's weight for why a path ended."""
    return PRIORITY.get(leaf.reason, UNFINISHED)


def window_tokens(params: TreePOParams, limits: Limits) -> int:
    """The fallback window; one segment unless set."""
    return params.window_tokens or limits.segment_tokens


def _random_cut(params: TreePOParams, limits: Limits, leaf: Leaf, seed: int, number: int) -> int:
    """Drop k ~ U{1..min(max_window or all, all)} trailing windows, a window being whole segments, rounded up."""
    window = -(-window_tokens(params, limits) // limits.segment_tokens)
    windows = -(-len(leaf.segments) // window)
    most = min(params.max_window or windows, windows)
    dropped = rng.randint(1, most, seed, "treepo.fallback.cut", number, leaf.path)
    return (windows - dropped) * window


def _pick(weights: Sequence[float], draw: float) -> int:
    """Index whose stretch of the cumulated weights holds the draw in [0, 1)."""
    reached = 0.0
    for index, weight in enumerate(weights):
        reached += weight
        if draw < reached:
            return index
    return len(weights) - 1

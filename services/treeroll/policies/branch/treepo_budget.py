"""How many paths a TreePO tree may have after a step: pure arithmetic over counts (paper 2.2, release rules).

One departure, ours: a finished path counts only if it is kept. A path that min_tokens discards neither fills the
width nor passes its slot on.
"""

from dataclasses import dataclass

from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.tree import rng


def initial_divergence(params: TreePOParams, width: int, seed: int) -> int:
    """k0, the first branches: b, or uniform in initial_min..initial_max; never more than the width."""
    if params.initial == "fixed":
        return min(params.branching, width)
    low = min(params.initial_min or params.branching, width)
    return rng.randint(low, min(params.initial_max, width), seed, "treepo.initial")


def branching(params: TreePOParams, seed: int, *key: rng.Key) -> int:
    """b for one decision. `key` names it without reference to time: a step, a fallback round or a path."""
    if params.divergence == "by_fixed_div":
        return params.branching
    return rng.randint(params.random_div_min, params.random_div_max, seed, "treepo.branching", *key)


def total_div(upper: int, finished: int, ended_now: int, b: int, active: int) -> int:
    """Paths after a step: max(min(rem, extra + b * active), active).

    rem = max(upper - finished, 0) is what the width still lacks; extra = ended_now * b passes the slots of paths that
    ended at this very step to the live ones (branching budget transfer); every live path goes on at least once.
    `finished` includes `ended_now`.
    """
    rem = max(upper - finished, 0)
    return max(min(rem, ended_now * b + b * active), active)


@dataclass(frozen=True, slots=True)
class TokenUse:
    """What the finished paths of a tree have used. Shared prefixes count once per path, as in the release."""

    finished: int = 0
    tokens: int = 0

    def plus(self, lengths: list[int]) -> "TokenUse":
        """After more paths, of these completion lengths, have finished."""
        return TokenUse(self.finished + len(lengths), self.tokens + sum(lengths))


def token_upper(cap: int, use: TokenUse, mean_active: float, segment_tokens: int, min_width: int, width: int) -> int:
    """Upper bound on leaves under a token cap.

    |F| + max(0, floor((cap - tokens in F) / (mean length of live paths + l))), clipped to min_width..width.
    """
    more = max(0, int((cap - use.tokens) // (mean_active + segment_tokens)))
    return min(max(use.finished + more, min_width), width)

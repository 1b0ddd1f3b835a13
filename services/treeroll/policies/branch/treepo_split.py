"""How the live paths of a step share its forks (TreePO 4.4; releases' "divergence policy")."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from treeroll.policies.branch.treepo_params import Split, TreePOParams
from treeroll.tree.apportion import apportion, softmax


@dataclass(slots=True)
class PathStats:
    """A live path at the end of a step; log probabilities are sums over sampled tokens, in nats."""

    logprob: float
    tokens: int
    segment_logprob: float
    segment_tokens: int


def split(policy: Split, total: int, paths: Sequence[PathStats], tau: float) -> list[int]:
    """How many paths each path becomes, >= 1 each, summing to `total` (>= number of paths).

    fixed_avg: floor(total / n) each and the remainder to the last path, the published default: weighted splits helped
    in no run of the paper. Weighted: 1 each, the rest by largest remainder over softmax(sign * score / tau).
    The paper subtracts the lowest score first; a softmax does not see that.
    """
    if policy == "fixed_avg":
        share = total // len(paths)
        return [share] * (len(paths) - 1) + [total - share * (len(paths) - 1)]
    sign = 1.0 if "inverse" in policy else -1.0
    scores = [sign * _score(policy, path) for path in paths]
    return apportion(total, softmax(scores, tau), minimum=1)


def _score(policy: Split, path: PathStats) -> float:
    if policy.startswith("node_"):
        return path.segment_logprob / max(path.segment_tokens, 1)
    if policy.startswith("norm_"):
        return path.logprob / max(path.tokens, 1)
    return path.logprob


def temperature(params: TreePOParams) -> float:
    """tau, or half a sine over training: (min + max) / 2 + (max - min) / 2 * sin(pi * progress -+ pi / 2)."""
    if params.tau_schedule == "none":
        return params.tau
    shift = -math.pi / 2 if params.tau_schedule == "ascending" else math.pi / 2
    middle, swing = (params.tau_max + params.tau_min) / 2, (params.tau_max - params.tau_min) / 2
    return middle + swing * math.sin(math.pi * params.progress + shift)

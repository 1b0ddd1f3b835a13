"""TreeRL's process advantages: every node against the whole tree and against its parent."""

import math
from typing import ClassVar, Literal

from pydantic import Field

from treeroll.policies.advantage.moments import mean, others_gap
from treeroll.policies.advantage.scored_tree import ScoredTree
from treeroll.policy import base
from treeroll.policy.base import CreditTree, Limits

# Differences below this are none, as in the release.
SMALLEST_STEP = 1e-8


class TreeRLAdvantage:
    """A(n) = V(n) + (V(n) - V(p)): the global term, which is V(n) because leaves are centred, plus the local one.

    R'_i = R_i minus the mean of the other leaves' rewards; V(n) = sum of R' over the leaves below n / their number, or
    with `average=children` (the release's `average_one_generation`) the plain mean of the values of n's children.
    `scale` divides V(n) by the square root of the number of leaves below (the release's script), by the number, or not.
    As in the code, `scaled=values` divides before differences are taken; `sum` divides the finished sum instead. A
    local term of zero is replaced by that of the node before it on the path.

    `terms`: `global` (the release's `use_value_only`), `local`, both (`use_state_value_reward`), `ancestors` (mean of
    V(n) - V(a) over all a above n, the prompt included: `advantage_mix_allancestor`), `local_leaf` (local plus R' of
    the leaf, made leave-one-out once more, as in the code: `use_orm_reward`), or `leaf` (the latter alone:
    `use_chain_reward`). `center` subtracts the tree's mean value from every V first, over nodes (`step`) or over tokens
    (`token`), each leaf below counting once. Nodes are stretches between forks, as the release's are: how often one of
    them is cut into segments changes no credit.

    Ours: counts are of all scored leaves, where the release counts those selected for training, because selection is
    the trainer's (`treeroll.client.selection`); `center` takes the same mean with both averages, where the release
    takes it once per leaf from values that are no sums any more. The release's reward of -1 for leaves that did not
    stop by themselves is the scorer's to give.
    """

    name: ClassVar[str] = "treerl"
    summary: ClassVar[str] = "leave-one-out value of every node, plus its difference to the parent"
    paper: ClassVar[str] = "TreeRL, arXiv 2506.11902"

    class Params(base.Params):
        """Which terms count and what they are divided by."""

        terms: Literal["global_local", "local", "global", "ancestors", "local_leaf", "leaf"] = Field(
            "global_local", description="differences that are summed"
        )
        average: Literal["leaves", "children"] = Field(
            "leaves", description="what a node's value is the mean of: the leaves below it, or its children's values"
        )
        scale: Literal["sqrt", "leaves", "none"] = Field("sqrt", description="root or number of leaves to divide by")
        scaled: Literal["values", "sum"] = Field("values", description="what is divided: node values, or their sum")
        center: Literal["none", "step", "token"] = Field("none", description="mean subtracted from all values first")

    def __init__(self, params: Params, limits: Limits) -> None:
        self._params = params

    def estimate(self, tree: CreditTree) -> dict[int, tuple[float, ...]]:
        """For each scored leaf, one advantage per path node."""
        if not tree.rewards:
            return {}
        scored = ScoredTree(tree)
        values, leaves = self._values(tree, scored)
        weights = {node: self._weight(len(below)) for node, below in scored.leaves.items()}
        if self._params.scaled == "values":
            values = {node: value * weights[node] for node, value in values.items()}
            weights = dict.fromkeys(weights, 1.0)
        heads, credit = scored.edges(), {}
        for leaf in tree.rewards:
            stretches = [node for node in tree.paths[leaf] if heads[node] == node]
            sums = self._terms([values[node] for node in (0, *stretches)], leaves[leaf])
            terms = {node: weights[node] * term for node, term in zip(stretches, sums, strict=True)}
            credit[leaf] = tuple([terms[heads[node]] for node in tree.paths[leaf]])
        return credit

    def _values(self, tree: CreditTree, scored: ScoredTree) -> tuple[dict[int, float], dict[int, float]]:
        """V of every node, and the second leave-one-out of every leaf."""
        gaps = dict(zip(tree.rewards, others_gap(list(tree.rewards.values())), strict=True))
        values = scored.leaf_means(gaps) if self._params.average == "leaves" else scored.child_means(gaps)
        center = _center(self._params.center, tree, scored, values)
        values = {node: value - center for node, value in values.items()}
        return values, dict(zip(gaps, others_gap(list(gaps.values())), strict=True))

    def _weight(self, leaves: int) -> float:
        match self._params.scale:
            case "none":
                return 1.0
            case "sqrt":
                return 1 / math.sqrt(leaves)
            case "leaves":
                return 1 / leaves

    def _terms(self, found: list[float], leaf: float) -> list[float]:
        """One sum per stretch of a path, whose values follow that of the prompt."""
        local = _steps(found)
        match self._params.terms:
            case "global":
                return found[1:]
            case "ancestors":
                return [value - mean(found[:place]) for place, value in enumerate(found[1:], 1)]
            case "local":
                return local
            case "local_leaf":
                return [step + leaf for step in local]
            case "leaf":
                return [leaf] * len(local)
            case "global_local":
                return [value + step for value, step in zip(found[1:], local, strict=True)]


def _steps(values: list[float]) -> list[float]:
    """Differences along a path; one that is zero repeats the one before."""
    steps: list[float] = []
    for place in range(1, len(values)):
        step = values[place] - values[place - 1]
        steps.append(steps[-1] if steps and abs(step) < SMALLEST_STEP else step)
    return steps


def _center(how: str, tree: CreditTree, scored: ScoredTree, values: dict[int, float]) -> float:
    """The mean to subtract: over nodes or tokens, each as often as leaves below it. The prompt counts as no tokens."""
    if how == "none":
        return 0.0
    edges = scored.edges()
    firsts = [node for node in scored.parents if edges[node] == node]
    sizes = {0: 1, **dict.fromkeys(firsts, 1)} if how == "step" else {node: tree.n_tokens[node] for node in edges}
    counts = {node: size * len(scored.leaves[node]) for node, size in sizes.items()}
    total = sum(counts.values())
    return math.fsum(values[node] * count for node, count in counts.items()) / total if total else 0.0

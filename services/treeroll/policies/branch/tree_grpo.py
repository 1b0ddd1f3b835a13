"""Tree-GRPO: chains first, then rounds of new chains from uniformly drawn nodes (AMAP, arXiv 2509.21240)."""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from treeroll.policy import base
from treeroll.policy.base import Expansion, Growth, Limits
from treeroll.policy.needs import Needs
from treeroll.policy.width import MAX_FANOUT, LeafCount, within_leaves
from treeroll.tree import rng
from treeroll.tree.node import BranchReason, Decision, NodeStatus
from treeroll.tree.tree import Tree
from treeroll.why import because


class TreeGRPO:
    """M chains run from the prompt to their ends; then, L times, N nodes of each chain's tree start a new chain.

    The N nodes are drawn uniformly, with replacement, from the prompt and the tree's inner nodes, and a new chain
    belongs to the tree it was drawn for, also where it starts at the prompt: nodes of tree m have group m, from 1, for
    `tree_grpo` advantages to compare leaves by. It begins at its node's depth, so the depth limit is shared. M 2, N 2,
    L 1 in the release: M * (1 + N * L) = 6 leaves. Nothing looks at entropy there either, and nothing is pruned.

    A draw reads how long the finished paths are, so it is retrospective: path weights of later chains are 0, and the M
    first chains alone estimate the policy's mean reward.

    Ours: a node is one segment of whatever segment policy the run has; the release's node is an agent's whole step
    (thought, action, observation). A round waits for all M trees of the task, so that chains which two trees draw from
    the prompt are numbered the same whatever comes first. Choosing K leaves of each tree for training is not growth;
    the default K 3 keeps all of them. Chains that a minimum length discards are not replaced.
    """

    name: ClassVar[str] = "tree_grpo"
    summary: ClassVar[str] = "chains from the prompt, then rounds of chains from randomly drawn nodes"
    paper: ClassVar[str] = "Tree-GRPO, arXiv 2509.21240"
    explains: ClassVar[Mapping[str, str]] = {
        "tree_grpo.draw": "round {round} drew it {draws} times with {picks} draws among the nodes of chain {chain}",
    }
    needs: ClassVar[Needs] = Needs()

    class Params(base.Params):
        """How many chains, and from where."""

        chains: int = Field(2, ge=1, le=MAX_FANOUT, description="M, first chains; each is the trunk of a tree")
        picks: int = Field(2, ge=1, le=MAX_FANOUT, description="N, nodes drawn per tree and round")
        rounds: int = Field(1, ge=0, le=MAX_FANOUT, description="L, rounds of draws")

    def __init__(self, params: Params, limits: Limits) -> None:
        self.leaf_count = LeafCount(
            "chains * (1 + picks * rounds)",
            lambda chains, picks, rounds: chains * (1 + picks * rounds),
            {"chains": params.chains, "picks": params.picks, "rounds": params.rounds},
        )
        self.max_leaves = within_leaves(self.name, self.leaf_count, limits)
        self._params = params

    def grow(self, tree: Tree) -> Growth:
        """A fresh memory for a new tree."""
        return TreeGRPOGrowth(self._params)


class TreeGRPOGrowth(base.Growth):
    """Lets chains run on, and draws when all have ended."""

    def __init__(self, params: TreeGRPO.Params) -> None:
        self._params = params
        self._round = 0

    def start(self, tree: Tree) -> list[Expansion]:
        """The M chains."""
        chains = range(1, self._params.chains + 1)
        return [Expansion(tree.root.number, 1, BranchReason.INITIAL, group=chain, resume=False) for chain in chains]

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next round of draws, if there is one. Every path has ended, so arrival has left no trace."""
        if self._round == self._params.rounds:
            return []
        self._round += 1
        forks: Counter[tuple[int, int]] = Counter()
        for group, inner in self._inner_nodes(tree).items():
            for pick in range(self._params.picks):
                at = rng.randint(0, len(inner), tree.seed, "tree_grpo", self._round, group, pick)
                forks[inner[at - 1] if at else tree.root.number, group] += 1
        return [
            self._drawn(number, group, count)
            for (number, group), count in sorted(forks.items(), key=lambda drawn: (tree.path(drawn[0][0]), drawn[0][1]))
        ]

    def _drawn(self, number: int, group: int, count: int) -> Expansion:
        why = because("tree_grpo.draw", round=self._round, draws=count, picks=self._params.picks, chain=group)
        return Expansion(number, count, BranchReason.FORK, Decision.RETROSPECTIVE, group, resume=False, why=why)

    def _inner_nodes(self, tree: Tree) -> dict[int, list[int]]:
        """Inner nodes of each tree, in path order; the prompt, which all share, is left out."""
        owned: dict[int, list[int]] = {group: [] for group in range(1, self._params.chains + 1)}
        inner = [node.number for node in tree.nodes[1:] if node.status is NodeStatus.INNER]
        for number in tree.in_path_order(inner):
            owned[tree.nodes[number].group].append(number)
        return owned

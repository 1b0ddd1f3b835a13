"""TreePO growth with one split per step of the tree (sync=level): the published rule without its barrier.

The split at step k is taken once all paths of the tree have reached boundary k or ended, from what each of them was at
that boundary. Nobody waits for it: running branches may be steps ahead, and their later nodes are kept for later steps.

The step of a node is its parent's step + 1; the first nodes of a fallback round carry on after the last step that was
taken. Steps are decided in order and only when complete, so the order of arrival cannot matter (ForkBlind).
"""

from collections import defaultdict
from collections.abc import Callable

from treeroll.policies.branch import treepo_budget as budget
from treeroll.policies.branch.treepo_params import TreePOParams
from treeroll.policies.branch.treepo_rounds import Rounds, ended_as_sample, starts_fallback
from treeroll.policies.branch.treepo_split import PathStats, split, temperature
from treeroll.policy.base import Expansion, Limits
from treeroll.tree.node import INNER, BranchReason, Node
from treeroll.tree.tree import Tree
from treeroll.why import Why, because


class LevelGrowth:
    """Counts the paths each step must still hear from, and splits complete steps."""

    def __init__(self, params: TreePOParams, limits: Limits) -> None:
        self._params = params
        self._limits = limits
        self._rounds = Rounds(params, limits)
        self._use = budget.TokenUse()
        self._step = 0  # the last step that was split
        self._expected = 0  # paths that step _step + 1 has
        self._arrived: dict[int, list[int]] = defaultdict(list)  # step -> nodes, for steps not yet split
        self._rank: dict[int, int] = {0: 0}  # place in path order of each node of the last step
        # Steps ahead of the depth, for nodes of fallback branches only: elsewhere a node's step is its depth.
        self._ahead: dict[int, int] = {}

    def start(self, tree: Tree) -> list[Expansion]:
        """First branches, all at the prompt."""
        self._expected = budget.initial_divergence(self._params, self._limits.leaves, tree.seed)
        return [Expansion(tree.root.number, self._expected, BranchReason.INITIAL, resume=False)]

    def on_node(self, tree: Tree, node: Node) -> list[Expansion]:
        """Decides every step that this node completes."""
        ahead = self._step + 1 - node.depth if starts_fallback(node) else self._ahead.get(node.parent, 0)
        if ahead:
            self._ahead[node.number] = ahead
        step = node.depth + ahead
        self._arrived[step].append(node.number)
        expansions: list[Expansion] = []
        while 0 < self._expected <= len(self._arrived[self._step + 1]):
            expansions += self._split(tree)
        return expansions

    def on_idle(self, tree: Tree) -> list[Expansion]:
        """The next fallback round, if the width is not reached. Every step is split by then: all paths have ended."""
        round_ = self._rounds.next(tree, self._wanted() - self._use.finished)
        self._expected = sum(expansion.forks for expansion in round_)
        return round_

    def _split(self, tree: Tree) -> list[Expansion]:
        """Close the next step: count what ended, fork what lives."""
        self._step += 1
        nodes = self._in_order(tree, self._arrived.pop(self._step, []))
        prompt = tree.root.n_tokens
        ended = [node.total - prompt for node in nodes if ended_as_sample(node)]
        if ended:
            self._use = self._use.plus(ended)
        active = [node for node in nodes if node.status is INNER]
        self._expected = 0
        if not active:
            return []
        b = budget.branching(self._params, tree.seed, "step", self._step)
        upper = self._upper(lambda: sum(node.total - prompt for node in active) / len(active))
        self._expected = budget.total_div(upper, self._use.finished, len(ended), b, len(active))
        shares = self._shares(active, prompt)

        def why(share: int) -> Why | None:
            if share == 1:
                return None
            counts = {"live": len(active), "ended": len(ended), "b": b, "total": self._expected}
            return because("treepo.step", step=self._step, **counts, share=share)

        # Paths without a fork are named too: in hold mode that lets them go on, else it confirms the boundary.
        return [Expansion(node.number, share - 1, why=why(share)) for node, share in zip(active, shares, strict=True)]

    def _shares(self, active: list[Node], prompt_tokens: int) -> list[int]:
        """How many paths each live path becomes. Most steps of a grown tree add none."""
        if self._expected == len(active):
            return [1] * len(active)
        stats = [
            PathStats(node.path_logprob_sum, node.total - prompt_tokens, node.logprob_sum, node.sampled)
            for node in active
        ]
        return split(self._params.split, self._expected, stats, temperature(self._params))

    def _in_order(self, tree: Tree, numbers: list[int]) -> list[Node]:
        """The nodes of a step in path order. Where all parents are of the step before, its order gives this one's."""
        nodes, rank = [tree.nodes[number] for number in numbers], self._rank
        if all(node.parent in rank for node in nodes):
            nodes.sort(key=lambda node: (rank[node.parent], node.sibling_index))
        else:
            nodes.sort(key=lambda node: tree.path(node.number))
        self._rank = {node.number: place for place, node in enumerate(nodes)}
        return nodes

    def _upper(self, mean_length: Callable[[], float]) -> int:
        """Bound on leaves; without a cap on tokens nobody needs to know the mean length of live paths."""
        params, limits = self._params, self._limits
        if params.token_cap is None:
            return limits.leaves
        return budget.token_upper(
            params.token_cap, self._use, mean_length(), limits.segment_tokens, params.min_width, limits.leaves
        )

    def _wanted(self) -> int:
        """Leaves a fallback round aims at. Nothing is live then, so finished paths stand in for live ones (ours)."""
        return self._upper(lambda: self._use.tokens / max(self._use.finished, 1))

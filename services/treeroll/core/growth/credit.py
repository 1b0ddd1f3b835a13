"""Credit of a finished tree: path weights and advantages, from its shape and rewards alone."""

from dataclasses import dataclass

from treeroll.core.guard import calls
from treeroll.core.model.live_tree import Credit, LiveTree
from treeroll.core.model.state import State
from treeroll.errors import PolicyFailed
from treeroll.policy.base import AdvantageEstimator, CreditTree
from treeroll.tree.node import Node
from treeroll.tree.splits import split
from treeroll.tree.tree import Tree


@dataclass(slots=True)
class TreeShape:
    """What credit needs of a tree, its nodes split. Lists are indexed by node number; the root is 0."""

    parents: list[int]
    weightless: list[bool]  # of branches that path weights leave out, see `path_weights`
    n_tokens: list[int]  # that the model sampled
    logprob_sums: list[float]  # over each node's sampled tokens, nats
    leaves: list[int]  # in path order
    groups: list[int]  # labels of growth, 0 for none

    @classmethod
    def of(cls, live: LiveTree) -> "TreeShape":
        """Shape of a tree in memory."""
        nodes = live.tree.nodes
        shape = cls(
            [node.parent for node in nodes],
            [node.weightless for node in nodes],
            [node.sampled for node in nodes],
            [node.logprob_sum for node in nodes],
            live.tree.in_path_order(live.tree.leaves),
            [node.origin.group for node in nodes],
        )
        if live.tree.splits:
            shape._split(live.tree)
        return shape

    def _split(self, tree: Tree) -> None:
        nodes = tree.nodes
        done = split(self.parents, [node.token_start for node in nodes], [node.n_tokens for node in nodes])
        self.parents = done.parents
        for node, start, end in done.heads:
            self.weightless.append(self.weightless[node])
            self.groups.append(self.groups[node])
            self.n_tokens.append(len(range(max(start, nodes[node].own.start), end)))
            self.logprob_sums.append(_logprob_sum(nodes[node], start, end))
        for node, start in done.tails().items():
            self.n_tokens[node] = nodes[node].own.stop - start
            self.logprob_sums[node] = _logprob_sum(nodes[node], start, nodes[node].n_tokens)

    def path(self, leaf: int) -> tuple[int, ...]:
        """Node numbers from depth 1 to the leaf."""
        path = []
        while leaf != 0:
            path.append(leaf)
            leaf = self.parents[leaf]
        return tuple(reversed(path))


def _logprob_sum(node: Node, start: int, end: int) -> float:
    return sum(node.tokens.logprobs[start:end]) if node.tokens else 0.0


def path_weights(shape: TreeShape) -> dict[int, float]:
    """Leaf -> product over its path of 1 / (children that count); 0 below a branch that does not count.

    Children count whose branches were started by boundary decisions and had no model, temperature, inserted text or
    token limit of their own. With these weights leaf averages are unbiased: each of those children continues its prefix
    with a fresh sample of the run's policy.
    """
    siblings = [0] * len(shape.parents)
    for number in range(1, len(shape.parents)):
        if not shape.weightless[number]:
            siblings[shape.parents[number]] += 1
    weights = {}
    for leaf in shape.leaves:
        weight = 1.0
        for number in shape.path(leaf):
            weight = 0.0 if shape.weightless[number] else weight / siblings[shape.parents[number]]
            if weight == 0.0:
                break
        weights[leaf] = weight
    return weights


def credit_leaves(shape: TreeShape, rewards: dict[int, float], estimator: AdvantageEstimator) -> list[Credit]:
    """Credit of every leaf, in path order. `rewards` holds the scored leaves, and inner nodes where reported.

    PolicyFailed if the estimator has none.
    """
    paths = {leaf: shape.path(leaf) for leaf in shape.leaves}
    scored = {leaf: rewards[leaf] for leaf in shape.leaves if leaf in rewards}
    advantages = calls.advantages(estimator, _credit_tree(shape, paths, scored, rewards)) if scored else {}
    weights = path_weights(shape)
    return [Credit(leaf, weights[leaf], advantages.get(leaf, ())) for leaf in shape.leaves]


def rewards_of(live: LiveTree) -> dict[int, float]:
    """The rewards in force of a tree's nodes."""
    rewards = {leaf: value for leaf, value in live.tree.rewards.items() if value is not None}
    if live.run.spec.judge == live.run.spec.scorer:  # then what it said of inner nodes is in force as well
        rewards |= {node: value for node, value in live.tree.values.items() if value is not None}
    return rewards


def give_credit(state: State, live: LiveTree) -> str:
    """Work out the credit of a tree that has ended with leaves; why it has none but path weights, "" if it has."""
    shape = TreeShape.of(live)
    try:
        live.credit = credit_leaves(shape, rewards_of(live), live.run.spec.advantage)
    except PolicyFailed as failure:
        calls.count(state, live.run, failure)
        live.credit = [Credit(leaf, weight, ()) for leaf, weight in path_weights(shape).items()]
        return str(failure)
    return ""


def _credit_tree(
    shape: TreeShape, paths: dict[int, tuple[int, ...]], scored: dict[int, float], rewards: dict[int, float]
) -> CreditTree:
    inner = {node: reward for node, reward in rewards.items() if node not in paths}
    tokens, logprobs = dict(enumerate(shape.n_tokens)), dict(enumerate(shape.logprob_sums))
    groups = {leaf: shape.groups[leaf] for leaf in paths if shape.groups[leaf]}
    return CreditTree(paths, scored, tokens, logprobs, inner, groups)

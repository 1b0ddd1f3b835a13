"""Every estimator once more, from its definition and as naively as it reads, to check the real ones against.

A tree is a dict from paths, tuples of node numbers, to rewards. A node is its path; the prompt is (). Everything is
found by comparing whole paths, for every leaf anew.
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import fmean, pstdev, stdev

from tests.support.credit import LIMITS

from treeroll.policy.base import CreditTree

Node = tuple[int, ...]
Rewards = dict[Node, float]
DEFINITIONS: dict[str, Callable[..., dict[Node, list[float]]]] = {}


def by_definition(name: str, tree: CreditTree, **params) -> dict[int, list[float]]:
    """What the estimator of this name must say of a tree."""
    if not tree.rewards:
        return {}
    rewards = {tree.paths[leaf]: reward for leaf, reward in tree.rewards.items()}
    return {path[-1]: values for path, values in DEFINITIONS[name](rewards, tree=tree, **params).items()}


def definition(function):
    DEFINITIONS[function.__name__] = function
    return function


def per_leaf(value):
    """A definition of one value per leaf, given all rewards and the leaf's path."""

    def whole_paths(rewards: Rewards, tree: CreditTree, **params):
        return {path: [value(rewards, path, **params)] * len(path) for path in rewards}

    DEFINITIONS[value.__name__] = whole_paths
    return value


def below(rewards: Rewards, node: Node) -> list[Node]:
    return [path for path in rewards if path[: len(node)] == node]


def children(rewards: Rewards, node: Node) -> list[Node]:
    return sorted({path[: len(node) + 1] for path in below(rewards, node) if path != node})


def prefixes(path: Node) -> list[Node]:
    return [path[:end] for end in range(1, len(path) + 1)]


def nodes_of(rewards: Rewards) -> set[Node]:
    return {node for path in rewards for node in prefixes(path)}


def leaf_mean(rewards: Rewards, node: Node) -> float:
    return fmean(rewards[path] for path in below(rewards, node))


def child_mean(rewards: Rewards, node: Node) -> float:
    parts = [child_mean(rewards, child) for child in children(rewards, node)]
    return fmean([*parts, rewards[node]] if node in rewards else parts)


def edge(rewards: Rewards, node: Node) -> Node:
    """The first node from which the same leaves are seen, the prompt aside."""
    return next(above for above in prefixes(node) if below(rewards, above) == below(rewards, node))


def norm(value: float, group: list[float], epsilon: float, spread=stdev) -> float:
    if len(set(group)) < 2:
        return 0.0
    return (value - fmean(group)) / (spread(group) + epsilon)


@per_leaf
def grpo(rewards, path, scale="std", epsilon=1e-6):
    if scale == "none":
        return rewards[path] - fmean(rewards.values())
    return norm(rewards[path], list(rewards.values()), epsilon)


@per_leaf
def rloo(rewards, path):
    others = [reward for other, reward in rewards.items() if other != path]
    return rewards[path] - fmean(others) if others else 0.0


@per_leaf
def treepo(rewards, path, aggregate="average", include_root=True, drop_zero_variance_groups=False):
    gaps, sizes = [], []
    for depth in range(0 if include_root else 1, len(path) + 1):
        group = [rewards[other] for other in below(rewards, path[:depth])]
        if (depth and len(group) == 1) or (drop_zero_variance_groups and len(set(group)) == 1):
            continue
        gaps.append(rewards[path] - fmean(group))
        sizes.append(len(group) if aggregate == "group_size" else 1)
    return sum(g * s for g, s in zip(gaps, sizes, strict=True)) / sum(sizes) if gaps else 0.0


@definition
def ancestors(rewards, tree):
    def besides(node):
        """What else was tried at the fork that the node's last step left."""
        above = node[:-1]
        tried = [child_mean(rewards, child) for child in children(rewards, above) if child != node]
        return [*tried, rewards[above]] if above in rewards else tried

    def credit(node):
        forks = [fmean(besides(step)) for step in prefixes(node) if besides(step)]
        return child_mean(rewards, node) - fmean(forks) if forks else 0.0

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def tree_grpo(rewards, tree, terms="both"):
    @cache
    def inter(leaf):
        return norm(rewards[leaf], list(rewards.values()), 1e-6)

    def of_one_tree(one, other):
        labels = {tree.groups.get(one[-1]), tree.groups.get(other[-1])}
        return one[0] == other[0] if labels == {None} else len(labels) == 1

    def credit(path):
        own = [leaf for leaf in rewards if of_one_tree(leaf, path)]
        if terms == "nested":
            return norm(inter(path), [inter(leaf) for leaf in own], 1e-6)
        intra = norm(rewards[path], [rewards[leaf] for leaf in own], 1e-6)
        return intra if terms == "intra" else intra + inter(path)

    return {path: [credit(path)] * len(path) for path in rewards}


@definition
def hbpo(rewards, tree, success=0.5, scale=4.0, deviation=1.0, max_length=None):
    longest = max_length or LIMITS.max_tokens

    def best(tokens):
        return scale * math.cos(math.pi / 2 * tokens / longest)

    @cache
    def worth(path):
        tokens, budget = sum(tree.n_tokens[node] for node in path), tree.groups.get(path[-1])
        if rewards[path] < success:
            return 0.0
        if budget is None:
            return best(tokens)
        return min(best(tokens) - deviation * abs(tokens - budget) / longest, best(budget))

    def credit(path):
        budget = tree.groups.get(path[-1])
        own = [worth(leaf) for leaf in rewards if tree.groups.get(leaf[-1]) == budget]
        against_best = fmean(own) - best(budget) if budget else 0.0
        return norm(worth(path), [worth(leaf) for leaf in rewards], 1e-6) + against_best

    return {path: [credit(path)] * len(path) for path in rewards}


@definition
def tree_seg(rewards, tree, eta=1.0):
    relative = {}
    for path, reward in rewards.items():
        groups = [[rewards[other] for other in below(rewards, path[:depth])] for depth in range(len(path) + 1)]
        relative[path] = sum(len(g) * (reward - fmean(g)) for g in groups) / sum(map(len, groups))

    @cache
    def value(node):
        return child_mean(relative, node) if node else 0.0

    return {
        path: [value(node) - eta ** (len(path) - len(node) + 1) * value(node[:-1]) for node in prefixes(path)]
        for path in rewards
    }


@definition
def segpo(rewards, tree):
    @cache
    def standard(node):
        head = edge(rewards, node) if node else ()
        if not head:
            return 0.0
        group = [child_mean(rewards, sibling) for sibling in children(rewards, head[:-1])]
        return (child_mean(rewards, head) - fmean(group)) / pstdev(group) if pstdev(group) > 1e-8 else 0.0

    @cache
    def credit(node):
        head = edge(rewards, node)
        return standard(head) - standard(head[:-1])

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def treerl(rewards, tree, terms="global_local", average="leaves", scale="sqrt", scaled="values", center="none"):
    def others_gap(values, path):
        others = [value for other, value in values.items() if other != path]
        return values[path] - fmean(others) if others else 0.0

    centred = {path: others_gap(rewards, path) for path in rewards}
    worth = {"leaves": leaf_mean, "children": child_mean}[average]
    counted = {
        "none": {},
        "step": dict.fromkeys([(), *{edge(rewards, node) for node in nodes_of(rewards)}], 1),
        "token": {node: tree.n_tokens[node[-1]] for node in nodes_of(rewards)},
    }[center]
    weights = {node: count * len(below(rewards, node)) for node, count in counted.items()}
    mean = sum(worth(centred, node) * weights[node] for node in counted) / max(sum(weights.values()), 1)

    def weight(node):
        leaves = len(below(rewards, node))
        return {"none": 1, "sqrt": leaves**-0.5, "leaves": 1 / leaves}[scale]

    @cache
    def value(node):
        return (worth(centred, node) - mean) * (weight(node) if scaled == "values" else 1)

    def along(path):
        found, last = [], None
        for node in prefixes(path):
            head = edge(rewards, node)
            if head != node:  # the same stretch
                found.append(found[-1])
                continue
            above = [(), *(each for each in prefixes(node)[:-1] if edge(rewards, each) == each)]
            local = value(node) - value(node[:-1])
            if last is not None and abs(local) < 1e-8:
                local = last
            last = local
            total = {
                "global": value(node),
                "local": local,
                "global_local": value(node) + local,
                "ancestors": fmean([value(node) - value(each) for each in above]),
                "local_leaf": local + others_gap(centred, path),
                "leaf": others_gap(centred, path),
            }[terms]
            found.append(total * (weight(node) if scaled == "sum" else 1))
        return found

    return {path: along(path) for path in rewards}


@definition
def spo(rewards, tree, scale="none"):
    @cache
    def credit(node):
        head = edge(rewards, node)
        parent = head[:-1]
        gap = child_mean(rewards, head) - child_mean(rewards, parent)
        siblings = [child_mean(rewards, sibling) for sibling in children(rewards, parent)]
        return gap / (pstdev(siblings) + 1e-8) if scale == "sibling_std" else gap

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def treerpo(rewards, tree, scale="std", smallest_spread=0.1):
    @cache
    def credit(node):
        head = edge(rewards, node)
        group = [child_mean(rewards, sibling) for sibling in children(rewards, head[:-1])]
        if pstdev(group) < smallest_spread:
            return 0.0
        return (child_mean(rewards, head) - fmean(group)) / (pstdev(group) if scale == "std" else 1)

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def treeps_mc(rewards, tree, against="parent"):
    @cache
    def credit(node):
        head = edge(rewards, node)
        step = leaf_mean(rewards, head) - leaf_mean(rewards, head[:-1])
        gain = leaf_mean(rewards, node) - leaf_mean(rewards, ())
        return {"parent": step, "prompt": gain, "both": step + gain}[against]

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def ib_tpo(rewards, tree, ib_weight=0.1, beta=5.0, success=0.5):
    outcomes = {path: 1.0 if reward >= success else 0.0 for path, reward in rewards.items()}

    @cache
    def credit(node):
        if len(set(outcomes.values())) == 1:
            return 0.0
        rate, before = leaf_mean(outcomes, node), leaf_mean(outcomes, node[:-1])
        ratio = rate / before if before else 1.0
        probability = math.exp(tree.logprob_sums[node[-1]] / tree.n_tokens[node[-1]])
        gain = (rate - leaf_mean(outcomes, ())) / pstdev(outcomes.values())
        return gain + ib_weight * (ratio - 1 - 1 / beta) * probability

    return {path: [credit(node) for node in prefixes(path)] for path in rewards}


@definition
def mars2(rewards, tree, gamma=0.5, sibling_share=0.5):
    given = {**tree.inner_rewards, **tree.rewards}
    everywhere = {node for path in tree.paths.values() for node in prefixes(path)}
    candidates = {node: given[node[-1]] for node in everywhere if node[-1] in given}

    @cache
    def parent(node):
        return next((above for above in reversed(prefixes(node)[:-1]) if above in candidates), ())

    @cache
    def shaped(node):
        reward = candidates[node]
        siblings = [candidates[o] for o in candidates if o != node and parent(o) == parent(node)]
        baselines = [candidates[parent(node)]] if parent(node) else []
        baselines += [fmean(siblings)] if siblings else []
        if not baselines:
            return reward
        shares = [1 - sibling_share, sibling_share] if len(baselines) == 2 else [1]
        return reward + gamma * (reward - sum(b * s for b, s in zip(baselines, shares, strict=True)))

    group = [shaped(each) for each in candidates]

    def credit(node, path):
        owner = next(after for after in prefixes(path)[len(node) - 1 :] if after in candidates)
        return norm(shaped(owner), group, 1e-9)

    return {path: [credit(node, path) for node in prefixes(path)] for path in rewards}


@definition
def deepsearch(rewards, tree, success=0.5, smallest_share=0.1, temperature=1.0, ceiling=1.0, scale="none"):
    @cache
    def value(node):
        """Leaf by leaf, as the release updates a node."""
        stored = 0.0
        for path in below(rewards, node):
            share = max((len(node) + 1) / (len(path) + 1), smallest_share)
            outcome = share if rewards[path] >= success else -share
            if stored * outcome >= 0:
                stored += outcome
            elif outcome > 0:
                stored = outcome
        return stored

    leaves = [value(path) for path in rewards]
    if len(set(leaves)) == 1:
        return {path: [0.0] * len(path) for path in rewards}

    def along(path):
        inner = [ceiling * math.tanh(value(node) / temperature) for node in prefixes(path)[:-1]]
        found = [*inner, value(path)]
        if scale == "none":
            return [each - fmean(leaves) for each in found]
        return [norm(each, leaves, 1e-6, pstdev) for each in found]

    return {path: along(path) for path in rewards}


@definition
def rest_mcts(rewards, tree, success=0.5):
    correct = [path for path, reward in rewards.items() if reward >= success]

    def steps(node):
        return min((len(path) - len(node) + 1 for path in correct if path[: len(node)] == node), default=None)

    @cache
    def value(node):
        if not node or not correct:
            return 0.0
        before, own = value(node[:-1]), steps(node)
        if own is not None:
            return before + (1 - before) / own
        above = next(each for each in reversed([(), *prefixes(node)]) if steps(each) is not None)
        return max(0.0, before - (1 - before) / steps(above))

    return {path: [value(node) for node in prefixes(path)] for path in rewards}

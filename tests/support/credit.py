"""Finished trees for credit, from the names of their paths."""

import math

import pytest

from treeroll.policies import registry
from treeroll.policy.base import CreditTree, Limits

LIMITS = Limits(8, 10, 4, 100)
TOKENS = 10


def credit_tree(paths, rewards, probabilities=None, inner=None, groups=None):
    """A tree from paths given as names; equal prefixes are the same nodes, all of 10 tokens. None: not scored.

    `probabilities` are of each token of a node, `inner` the rewards of nodes that are no leaf, both by name;
    `groups` the labels of leaves, in the order of `paths`.
    """
    numbers = {}
    for path in paths:
        for end in range(1, len(path) + 1):
            numbers.setdefault(path[:end], len(numbers) + 1)
    named = {numbers[path]: tuple(numbers[path[:end]] for end in range(1, len(path) + 1)) for path in paths}
    scored = {numbers[path]: reward for path, reward in zip(paths, rewards, strict=True) if reward is not None}
    logprobs = {number: TOKENS * math.log((probabilities or {}).get(name, 0.5)) for name, number in numbers.items()}
    inner_rewards = {numbers[name]: reward for name, reward in (inner or {}).items()}
    tokens = dict.fromkeys((0, *numbers.values()), TOKENS)
    labels = {numbers[path]: group for path, group in zip(paths, groups or [], strict=bool(groups)) if group}
    return CreditTree(named, scored, tokens, {0: 0.0, **logprobs}, inner_rewards, labels)


# The tree that the reference computes its vectors on, and a ragged one.
BINARY = credit_tree([f"{i:03b}" for i in range(8)], [1, 0, 1, 1, 0, 0, 0, 1])
RAGGED = credit_tree(["0", "10", "110", "111"], [1, 0, 1, 0])


def estimate(name, tree, **params):
    """What an estimator says, one list per scored leaf in path order, after checking its shape."""
    found = registry.build("advantage", name, params, LIMITS).estimate(tree)
    assert found.keys() == tree.rewards.keys()
    for leaf, advantages in found.items():
        assert len(advantages) == len(tree.paths[leaf])
        assert all(map(math.isfinite, advantages))
    return [list(found[leaf]) for leaf in tree.paths if leaf in found]


def leaf_values(name, tree, **params):
    """The same for an estimator that gives each leaf one value: a list of those."""
    found = estimate(name, tree, **params)
    assert all(len(set(advantages)) == 1 for advantages in found)
    return [advantages[0] for advantages in found]


def close(*expected):
    """Within the four digits of the reference."""
    return pytest.approx(list(expected), abs=5.1e-5)

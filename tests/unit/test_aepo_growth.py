"""AEPO: how many rollouts start from the prompt, and which steps branch."""

import math

import pytest
from tests.support.tokens import add_step, planted

from treeroll.policies import registry
from treeroll.policies.branch.aepo import AEPO, from_prompt
from treeroll.policy.base import Limits
from treeroll.tree.node import BranchReason, Decision, NodeStatus

# Entropy of one unit, with a vocabulary of three.
UNIT = math.log(3)
LEAF, RETROSPECTIVE = NodeStatus.LEAF, Decision.RETROSPECTIVE
# Half of the rollouts are for branches, wherever entropy is as at first or higher.
EVEN = {"beta": 0.0, "tau": 0.49, "gamma": 0.0}


def growth_of(tree, leaves=8, **params):
    limits = Limits(leaves, segment_tokens=8, max_depth=4, max_tokens=64)
    growth = registry.build("branch", "aepo", {"vocabulary": 3, **params}, limits).grow(tree)
    assert forks(growth.start(tree)) == [(0, 1)]
    return growth


def forks(expansions):
    return [(expansion.node, expansion.forks) for expansion in expansions]


def first_rollout(tree, growth, *entropies):
    """It runs on alone to its end."""
    parent = 0
    for place, entropy in enumerate(entropies):
        status = LEAF if place == len(entropies) - 1 else NodeStatus.INNER
        step = add_step(tree, parent, [entropy * UNIT], status=status)
        assert forks(growth.on_node(tree, step)) == ([] if status is LEAF else [(step.number, 0)])
        parent = step.number


def step(tree, growth, parent, entropy=1.0, *, sibling=0, status=NodeStatus.INNER):
    """A later step, which waits; returns its number."""
    node = add_step(tree, parent, [entropy * UNIT], sibling=sibling, status=status, decision=RETROSPECTIVE)
    assert growth.on_node(tree, node) == []
    return node.number


@pytest.mark.parametrize(
    ("entropies", "beta", "expected"),
    [
        ([1.3, 1.0], 1.0, 9),  # 16 sigmoid(0.3) = 9.2
        ([1.3, 1.4, 0.8, 0.8], 1.0, 9),  # the mean over later steps
        ([1.3], 1.0, 8),  # no call
        ([0.0, 9.0], 1e6, 1),
        ([9.0, 0.0], 1e6, 16),
    ],
)
def test_rollouts_from_the_prompt_grow_with_the_entropy_there(entropies, beta, expected):
    tree, parent = planted(), 0
    for entropy in entropies:
        parent = add_step(tree, parent, [entropy * UNIT]).number
    assert from_prompt(AEPO.Params(beta=beta, vocabulary=3), 16, tree.nodes[1:]) == expected


def test_the_others_start_from_the_prompt_when_the_first_rollout_has_ended():
    tree = planted()
    growth = growth_of(tree, **EVEN)
    first_rollout(tree, growth, 1.0, 1.0)
    (others,) = growth.on_idle(tree)
    assert (others.node, others.forks, others.reason, others.decision) == (0, 3, BranchReason.INITIAL, RETROSPECTIVE)


def test_steps_of_equal_depth_are_decided_together_with_the_first_rollouts():
    tree = planted()
    growth = growth_of(tree, **EVEN)
    first_rollout(tree, growth, 1.0, 1.0, 1.0)
    growth.on_idle(tree)
    waiting = [step(tree, growth, 0, sibling=sibling) for sibling in (1, 2)]
    step(tree, growth, 0, sibling=3, status=LEAF)
    round_ = growth.on_idle(tree)
    assert forks(round_) == [(1, 1), *[(number, 1) for number in waiting]]
    assert {expansion.decision for expansion in round_} == {RETROSPECTIVE}


def test_a_path_that_does_not_branch_goes_on_and_the_first_rollout_is_not_asked_to():
    tree = planted()
    growth = growth_of(tree, **{**EVEN, "tau": 9.0})
    first_rollout(tree, growth, 1.0, 1.0, 1.0)
    growth.on_idle(tree)
    number = step(tree, growth, 0, sibling=1)
    assert forks(growth.on_idle(tree)) == [(number, 0)]


def test_the_highest_values_get_what_is_left_and_equal_ones_go_by_path():
    tree = planted()
    growth = growth_of(tree, beta=0.0, leaves=10, forks=2)
    first_rollout(tree, growth, 1.0)
    growth.on_idle(tree)
    roots = [step(tree, growth, 0, sibling=sibling) for sibling in (4, 3, 2, 1)]
    assert forks(growth.on_idle(tree)) == [(number, 0) for number in reversed(roots)]
    low, high, mid, same = (
        step(tree, growth, root, entropy) for root, entropy in zip(roots, [0.5, 3, 2, 2], strict=True)
    )
    assert forks(growth.on_idle(tree)) == [(same, 2), (mid, 1), (high, 2), (low, 0)]


def test_a_path_that_has_just_branched_must_become_less_sure_to_branch_again():
    # dH 1 gives 0.7, and 0.56 and 0.42 after one and two steps in a row that branched; dH 0 gives 0.5.
    tree = planted()
    growth = growth_of(tree, leaves=16, beta=0.0, tau=0.55)
    first_rollout(tree, growth, 1.0)
    growth.on_idle(tree)
    number, branched = step(tree, growth, 0, sibling=1), []
    for entropy in (2.0, 2.0, 2.0, 2.0, 1.0):
        branched += [count for _, count in forks(growth.on_idle(tree))]
        number = step(tree, growth, number, entropy)
    assert branched == [0, 1, 1, 0, 1]


def test_what_no_branch_took_starts_from_the_prompt_and_runs_on():
    tree = planted()
    growth = growth_of(tree, **EVEN)
    first_rollout(tree, growth, 1.0)
    growth.on_idle(tree)
    for sibling in (1, 2, 3):
        step(tree, growth, 0, sibling=sibling, status=LEAF)
    (rest,) = growth.on_idle(tree)
    assert (rest.node, rest.forks, rest.reason, rest.decision) == (0, 4, BranchReason.FALLBACK, RETROSPECTIVE)
    late = add_step(tree, 0, [9.0], sibling=4, decision=RETROSPECTIVE)
    assert forks(growth.on_node(tree, late)) == [(late.number, 0)]
    assert growth.on_idle(tree) == []


def test_steps_of_the_first_rollout_branch_though_nothing_else_lives():
    tree = planted()
    growth = growth_of(tree, beta=1e6, leaves=3, tau=0.6)
    first_rollout(tree, growth, 1.0, 9.0, 9.0)
    (branch,) = growth.on_idle(tree)
    assert (branch.node, branch.forks) == (2, 1)


def test_one_leaf_is_one_rollout():
    tree = planted()
    growth = growth_of(tree, leaves=1)
    first_rollout(tree, growth, 1.0, 5.0, 1.0)
    assert growth.on_idle(tree) == []

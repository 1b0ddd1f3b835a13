"""ForkBlind for growth policies: whatever the order in which nodes arrive, the tree is the same."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.grow import Driver, newest_first, ragged

from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, Node, NodeStatus
from treeroll.tree.rng import uniform
from treeroll.tree.tree import path_name

DEPTH = 5
LIMITS = Limits(leaves=8, segment_tokens=10, max_depth=DEPTH, max_tokens=100)
SETTINGS = {
    "level": {},
    "path": {"sync": "path"},
    "level, weighted": {"split": "node_logprob_weighted", "tau": 0.5, "fallback": "block"},
    "level, random b": {"divergence": "by_random_div", "random_div_max": 3, "leaf_order": "longer_first"},
    "path, random b": {"sync": "path", "divergence": "by_random_div", "initial": "random", "initial_max": 6},
    "level, tokens": {"total_budget": "by_response_token", "token_cap": 240, "fallback": "min_logprob"},
    "level, from start": {"fallback": "from_start"},
    "level, strict": {"leaf_order": "finished_first_strict"},
    "path, inverse": {"sync": "path", "fallback": "inverse_block", "leaf_order": "soft_boxed_and_eos"},
}


OTHERS = {
    "spo": {"fanouts": [2, 1, 3]},
    "treerpo": {"arity": 2},
    "tree_grpo": {"chains": 3, "picks": 2, "rounds": 2},
    "ib_tpo": {"initial": 3, "rounds": 4, "nodes": 2, "forks": 2},
    "hbpo": {"budgets": [20, 60, 100]},
    "deepsearch": {"width": 3, "terminals": 5},
    "arpo": {"initial": 3, "beam": 3},
    "aepo": {"beta": 0.0, "tau": 0.4},
    "treeps_rag": {"fanout": 2},
    "hyper": {"warm_up": 5, "keep": 3, "pool": 9},
    "rebase": {"temperature": 0.1},
    "dora": {"similarity_temperature": 0.2},
    "ets": {"coverage": 0, "price": 0.5},
    "bavt": {"value": "success", "tokens": 200},
    "uct": {"value": "success", "parallel": 3},
    "cost_band": {"value": "success", "band": 0.3, "revive": 0.2},
    "depth_first": {"width": 3},
    "pets": {"initial": 3, "batch": 2, "gain": 0.05},
    "pets_online": {"budgets": [4, 6, 8, 10, 12]},
    "rest_mcts": {"width": 3, "iterations": 12, "roll_forward": 2, "successes": 6},
    "mars2": {"models": ["", "large"], "parallel": 3},
}


def reward(path):
    """Of a leaf: by its path, as everything else of these worlds; some scorers fail."""
    draw = uniform(11, "reward", path_name(path))
    return None if draw < 0.1 else float(draw < 0.6)


def policy(params, limits=LIMITS, name="treepo"):
    return registry.build("branch", name, params, limits)


worlds = st.builds(
    lambda seed, end, discard: ragged(seed, DEPTH, end, discard),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.2, 0.5, 0.8]),
    st.sampled_from([0.0, 0.1, 0.4]),
)


@pytest.mark.parametrize("hold", [False, True], ids=["stream", "hold"])
@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS.keys())
@settings(max_examples=40)
@given(world=worlds, tree_seed=st.integers(0, 1000), order=st.integers(0, 2**32))
def test_the_order_of_arrival_changes_nothing(params, hold, world, tree_seed, order):
    shuffle = random.Random(order)
    lockstep = Driver(policy(params), world, hold=True, seed=tree_seed).run()
    one_by_one = Driver(policy(params), world, pick=newest_first(), hold=hold, seed=tree_seed).run()
    shuffled = Driver(policy(params), world, pick=shuffle.randrange, hold=hold, seed=tree_seed).run()
    assert shuffled.shape() == one_by_one.shape() == lockstep.shape()


@pytest.mark.parametrize("hold", [False, True], ids=["stream", "hold"])
@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=40)
@given(world=worlds, tree_seed=st.integers(0, 1000), order=st.integers(0, 2**32))
def test_the_order_of_arrival_changes_nothing_in_any_policy(name, hold, world, tree_seed, order):
    wide = policy(OTHERS[name], Limits(64, 10, DEPTH, 100), name)
    in_order = Driver(wide, world, hold=True, seed=tree_seed, reward=reward).run()
    hold = hold or wide.needs.hold
    pick = random.Random(order).randrange
    shuffled = Driver(wide, world, pick=pick, hold=hold, seed=tree_seed, reward=reward).run()
    assert shuffled.shape() == in_order.shape()
    assert len(in_order.tree.leaves) <= wide.max_leaves


@pytest.mark.parametrize("params", SETTINGS.values(), ids=SETTINGS.keys())
@settings(max_examples=40)
@given(world=worlds, order=st.integers(0, 2**32))
def test_a_tree_never_has_more_leaves_than_wanted(params, world, order):
    grown = Driver(policy(params), world, pick=random.Random(order).randrange).run()
    assert len(grown.tree.leaves) <= LIMITS.leaves
    assert grown.idles <= 1 + 8  # the default max_rounds


@pytest.mark.parametrize("sync", ["level", "path"])
@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), end=st.sampled_from([0.0, 0.3, 0.6]))
def test_without_discards_the_width_is_reached_exactly(sync, seed, end):
    # Every round adds at least one leaf, so as many rounds as leaves always suffice.
    grown = Driver(policy({"sync": sync, "max_rounds": 8}), ragged(seed, DEPTH, end, 0.0)).run()
    assert len(grown.tree.leaves) == LIMITS.leaves


def path_weight(tree, node: Node) -> Fraction:
    """Product over the path of 1 / boundary children."""
    weight = Fraction(1)
    for step in tree.lineage(node.number):
        siblings = [node for node in tree.nodes[1:] if node.parent == step.parent]
        weight /= sum(sibling.decision is Decision.BOUNDARY for sibling in siblings)
    return weight


@pytest.mark.parametrize("sync", ["level", "path"])
@settings(max_examples=40)
@given(world=worlds, order=st.integers(0, 2**32))
def test_path_weights_of_a_tree_without_fallback_sum_to_one(sync, world, order):
    grown = Driver(policy({"sync": sync, "fallback": "none"}), world, pick=random.Random(order).randrange).run()
    ended = [node for node in grown.tree.nodes if node.status is not NodeStatus.INNER and node.number]
    assert sum(path_weight(grown.tree, node) for node in ended) == 1


@settings(max_examples=40)
@given(world=worlds, order=st.integers(0, 2**32))
def test_fallback_branches_are_retrospective_and_forks_are_not(world, order):
    grown = Driver(policy({}), world, pick=random.Random(order).randrange).run()
    for node in grown.tree.nodes[1:]:
        expected = Decision.RETROSPECTIVE if node.branch_reason == "fallback" else Decision.BOUNDARY
        assert node.decision is expected


@pytest.mark.parametrize("params", [{}, {"sync": "path"}, {"split": "node_logprob_weighted", "tau": 0.2}], ids=str)
def test_path_weights_undo_the_bias_of_the_tree(params):
    # Success is to end within two of five segments; each ends a path with probability 0.3. Long paths get the forks.
    truth = 1 - 0.7**2
    weighted, plain = [], []
    for seed in range(600):
        grown = Driver(policy({**params, "fallback": "none"}), ragged(seed, DEPTH, 0.3, 0.0), seed=seed).run()
        leaves = [grown.tree.nodes[number] for number in grown.tree.leaves]
        weighted.append(float(sum(path_weight(grown.tree, leaf) for leaf in leaves if leaf.depth <= 2)))
        plain.append(sum(leaf.depth <= 2 for leaf in leaves) / len(leaves))
    assert sum(weighted) / 600 == pytest.approx(truth, abs=0.04)
    assert sum(plain) / 600 < truth - 0.1


def test_path_weights_undo_the_bias_of_rollouts_that_branch_by_chance():
    truth = 1 - 0.7**2
    weighted, plain = [], []
    for seed in range(400):
        grown = Driver(policy({"initial": 2}, name="arpo"), ragged(seed, DEPTH, 0.3, 0.0), hold=True, seed=seed).run()
        leaves = [grown.tree.nodes[number] for number in grown.tree.leaves]
        blind = [leaf for leaf in leaves if leaf.decision is Decision.BOUNDARY]
        weights = {leaf.number: float(path_weight(grown.tree, leaf)) for leaf in blind}
        assert sum(weights.values()) == pytest.approx(1)
        weighted.append(sum(weights[leaf.number] for leaf in blind if leaf.depth <= 2))
        plain.append(sum(leaf.depth <= 2 for leaf in leaves) / len(leaves))
    assert sum(weighted) / 400 == pytest.approx(truth, abs=0.05)
    assert sum(plain) / 400 < truth - 0.1

"""Every estimator, on random trees: it agrees with its definition, and keeps what all of them promise."""

import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.credit import LIMITS
from tests.support.credit_by_definition import DEFINITIONS, by_definition

from treeroll.policies import registry
from treeroll.policy.base import CreditTree

SCALES = {
    "binary": (0.0, 1.0),
    "signed": (-1.0, 1.0),
    "graded": (0.0, 0.25, 0.5, 1.0),
    "alike": (0.1,),
    "any": None,
}
SETTINGS = {
    "grpo": {"scale": ["std", "none"], "epsilon": [1e-6, 1e-4]},
    "rloo": {},
    "ancestors": {},
    "treepo": {
        "aggregate": ["average", "group_size"],
        "include_root": [True, False],
        "drop_zero_variance_groups": [True, False],
    },
    "tree_seg": {"eta": [1.0, 0.7]},
    "segpo": {},
    "treerl": {
        "terms": ["global_local", "local", "global", "ancestors", "local_leaf", "leaf"],
        "average": ["leaves", "children"],
        "scale": ["sqrt", "leaves", "none"],
        "scaled": ["values", "sum"],
        "center": ["none", "step", "token"],
    },
    "tree_grpo": {"terms": ["both", "intra", "nested"]},
    "hbpo": {
        "success": [0.5, 0.0],
        "scale": [4.0, 1.0],
        "deviation": [1.0, 0.0, 5.0],
        "max_length": [None, 4096],
    },
    "spo": {"scale": ["none", "sibling_std"]},
    "treerpo": {"scale": ["std", "none"], "smallest_spread": [0.1, 1e-9]},
    "treeps_mc": {"against": ["parent", "prompt", "both"]},
    "ib_tpo": {"ib_weight": [0.1, 1.0], "beta": [5.0, 0.5], "success": [0.5, 0.0]},
    "mars2": {"gamma": [0.5, 2.0], "sibling_share": [0.5, 0.0, 0.8]},
    "deepsearch": {
        "success": [0.5, 0.0],
        "smallest_share": [0.1, 0.6],
        "temperature": [1.0, 2.5],
        "scale": ["none", "std"],
    },
    "rest_mcts": {"success": [0.5, 0.0]},
}
COMBINATIONS = {
    name: [dict(zip(options, values, strict=True)) for values in product(*options.values())]
    for name, options in SETTINGS.items()
}
ESTIMATORS = [policy.name for policy in registry.POLICIES["advantage"]]
# Their sources count segments, so that more of them are another tree; docs/algorithms.md says so of each.
BY_SEGMENT = {"treepo", "tree_seg", "ib_tpo", "deepsearch", "rest_mcts"}


def grown(seed: int, depth: int, width: int, end: float, scored: float, scale: str) -> CreditTree:
    """A ragged tree with unscored leaves, dead ends, and rewards on some inner nodes; the root may be all of it.

    Growth labelled none, some or all of its leaves.
    """
    chance = random.Random(seed)
    labelled = chance.choice((0.0, 0.0, 0.5, 1.0))
    paths: dict[int, tuple[int, ...]] = {}
    groups: dict[int, int] = {}
    rewards, inner, tokens, logprobs = {}, {}, {0: 5}, {0: 0.0}

    def reward() -> float:
        values = SCALES[scale]
        return chance.choice(values) if values else chance.uniform(-2, 2)

    def grow(path: tuple[int, ...]) -> None:
        for _ in range(chance.randint(1, width) if len(tokens) < 24 else 1):
            number = len(tokens)
            tokens[number] = chance.randint(1, 12)
            logprobs[number] = -chance.uniform(0, 2) * tokens[number]
            here = (*path, number)
            if len(here) == depth or chance.random() < end:
                if chance.random() < 0.05:
                    continue  # pruned: no sample
                paths[number] = here
                if chance.random() < labelled:
                    groups[number] = chance.choice((5, 20, 60))
                if chance.random() < scored:
                    rewards[number] = reward()
            else:
                if chance.random() < 0.1:
                    inner[number] = reward()
                grow(here)

    if depth:
        grow(())
    return CreditTree(paths, rewards, tokens, logprobs, inner, groups)


trees = st.builds(
    grown,
    st.integers(0, 2**32),
    st.integers(0, 5),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.sampled_from([1.0, 0.8, 0.3]),
    st.sampled_from(sorted(SCALES)),
)


def estimator(name: str, params: dict[str, object]):
    return registry.build("advantage", name, params, LIMITS)


def test_every_estimator_has_a_definition_to_compare_with():
    assert set(ESTIMATORS) == set(DEFINITIONS) == set(SETTINGS)


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=1000)
@given(tree=trees, choice=st.integers(0, 2**16))
def test_it_agrees_with_its_definition(name, tree, choice):
    params = COMBINATIONS[name][choice % len(COMBINATIONS[name])]
    found = estimator(name, params).estimate(tree)
    expected = by_definition(name, tree, **params)
    assert found.keys() == expected.keys() == tree.rewards.keys()
    for leaf, values in found.items():
        assert list(values) == pytest.approx(expected[leaf], rel=1e-6, abs=1e-6), (leaf, params)


@pytest.mark.parametrize("name", ESTIMATORS)
@settings(max_examples=100)
@given(tree=trees, order=st.randoms(use_true_random=False))
def test_the_order_in_which_leaves_are_listed_changes_nothing(name, tree, order):
    leaves, scored = list(tree.paths), list(tree.rewards)
    order.shuffle(leaves)
    order.shuffle(scored)
    other = CreditTree(
        {leaf: tree.paths[leaf] for leaf in leaves},
        {leaf: tree.rewards[leaf] for leaf in scored},
        tree.n_tokens,
        tree.logprob_sums,
        tree.inner_rewards,
        tree.groups,
    )
    assert estimator(name, {}).estimate(other) == estimator(name, {}).estimate(tree)


def cut(tree: CreditTree, chance: random.Random) -> tuple[CreditTree, dict[int, list[int]]]:
    """The tree with some segments of two tokens or more in two, and the new numbers of each node's parts.

    Tokens keep their log probabilities, which are all alike within a segment. A leaf's reward stays at its end.
    """
    parts: dict[int, list[int]] = {0: [0]}
    tokens, logprobs = {0: tree.n_tokens[0]}, {0: 0.0}
    for node in sorted(tree.n_tokens.keys() - {0}):
        whole = tree.n_tokens[node]
        first = chance.randint(1, whole - 1) if whole > 1 and chance.random() < 0.5 else whole
        parts[node] = []
        for length in (first, whole - first):
            if length:
                parts[node].append(len(tokens))
                logprobs[len(tokens)] = tree.logprob_sums[node] * length / whole
                tokens[len(tokens)] = length
    ends = {node: own[-1] for node, own in parts.items()}
    return (
        CreditTree(
            {ends[leaf]: tuple(part for node in path for part in parts[node]) for leaf, path in tree.paths.items()},
            {ends[leaf]: reward for leaf, reward in tree.rewards.items()},
            tokens,
            logprobs,
            {ends[node]: reward for node, reward in tree.inner_rewards.items()},
            {ends[leaf]: group for leaf, group in tree.groups.items()},
        ),
        parts,
    )


def worst_change(name: str, params: dict[str, object], tree: CreditTree, chance: random.Random) -> float:
    """Most that any token's credit changes where segments are cut in two, as a share of 1 or of what it was."""
    before = estimator(name, params).estimate(tree)
    other, parts = cut(tree, chance)
    after = estimator(name, params).estimate(other)
    worst = 0.0
    for leaf, values in before.items():
        of_part = dict(zip(other.paths[parts[leaf][-1]], after[parts[leaf][-1]], strict=True))
        for node, value in zip(tree.paths[leaf], values, strict=True):
            worst = max(worst, *(abs(of_part[part] - value) / max(1.0, abs(value)) for part in parts[node]))
    return worst


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - BY_SEGMENT))
@settings(max_examples=500)
@given(tree=trees, choice=st.integers(0, 2**16), chance=st.randoms(use_true_random=False))
def test_cutting_a_segment_in_two_changes_no_tokens_credit(name, tree, choice, chance):
    params = COMBINATIONS[name][choice % len(COMBINATIONS[name])]
    assert worst_change(name, params, tree, chance) <= 1e-9, params


@pytest.mark.parametrize("name", sorted(BY_SEGMENT))
def test_what_counts_segments_is_known_to(name):
    changes = [worst_change(name, {}, grown(seed, 4, 3, 0.2, 1.0, "binary"), random.Random(seed)) for seed in range(20)]
    assert max(changes) > 1e-3


# The other two do not compare leaves only: one gives labels, and one has a term against a constant.
@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"rest_mcts", "hbpo"}))
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), depth=st.integers(1, 5), width=st.integers(1, 4))
def test_a_tree_whose_candidates_all_have_one_reward_has_no_credit(name, seed, depth, width):
    tree = grown(seed, depth, width, 0.2, 0.8, "alike")
    assert {value for values in estimator(name, {}).estimate(tree).values() for value in values} <= {0.0}

"""Every recipe with every segment policy at the smallest limits: trees grow to their ends, or it is refused clearly."""

import math
from itertools import product

import pytest

from treeroll.core.growth.credit import TreeShape, credit_leaves
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policies.recipes import RECIPES
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

# None: the recipe's own; the others fit where those have too many leaves.
BRANCHES = {
    "treepo": [None, {"sync": "path", "branching": 1}, {"fallback": "none", "initial": "random"}],
    "flat": [None],
    "spo": [None, {"fanouts": [1]}, {"fanouts": [2, 2]}],
    "late_fork": [None, {"fanouts": [1]}, {"fanouts": [2, 2]}],
    "treerpo": [None, {"arity": 1}, {"arity": 2}],
    "tree_grpo": [None, {"chains": 1, "picks": 1}],
    "ib_tpo": [None, {"initial": 1, "rounds": 1}, {"initial": 1, "rounds": 3, "nodes": 2}],
    "treerl": [None, {"chains": 1, "rounds": 0}, {"chains": 1, "forks": 1}, {"chains": 2, "places": 1}],
    "echo": [None, {"answers": 1}, {"answers": 2, "max_width": 3, "min_depth": 1, "entropy": 0.5, "confidence": 1.0}],
    "hbpo": [None, {"budgets": [1], "announcement": ""}, {"budgets": [10, 20, 30]}],
    "arpo": [None, {"initial": 1}, {"initial": 1, "beam": 4, "base": 1.0}],
    "aepo": [None, {"beta": 0.0, "tau": 0.0, "forks": 2}],
    "treeps_rag": [None, {"fanout": 1}],
    "deepsearch": [None, {"width": 1, "terminals": 1}, {"width": 2, "terminals": 3}],
    "hyper": [None, {"warm_up": 1, "keep": 1}, {"warm_up": 3, "keep": 2, "pool": 4}],
    "pets": [None, {"initial": 1}, {"initial": 2, "answer": "text", "batch": 3}],
    "pets_online": [None, {"budgets": [4, 5, 6, 6, 6]}],
    "tree_planner": [None, {"samples": 1, "places": 0}, {"samples": 4, "places": 1}],
    "rebase": [None, {"value": "success"}, {"value": "steps", "quorum": 0.5}],
    "dora": [None, {"embedder": None, "timeout_s": 0.5}],
    "ets": [None, {"coverage": 0, "price": 0}, {"embedder": None}],
    "bavt": [
        None,
        {"tokens": 50, "parallel": 1},
        {"value": "judge"},
        {"prune_below": 0.0, "widen_below": 0.2, "width": 3},
    ],
    "uct": [None, {"value": "success", "width": 1}],
    "cost_band": [None, {"value": "steps", "band": 1.0}],
    "depth_first": [None, {"width": 1024, "parallel": 1024}],
    "rest_mcts": [None, {"width": 1}, {"width": 2, "iterations": 5, "value": "success", "successes": 9}],
    "mars2": [None, {"parallel": 4}, {"models": ["", "large"], "parallel": 2}],
}
SEGMENTS = {
    "fixed": [{}, {"hold": True}, {"aligned": False}],
    "per_depth": [{}, {"hold": True, "last_free": False}, {"tokens": []}, {"tokens": [1, 2]}],
    "delimiter": [{}, {"texts": ["> "]}, {"texts": [], "token_ids": [3, 4, 5], "hold": True}],
    "agent_step": [{}],
    "full_rollout": [{}],
}
# segment_tokens, max_depth, max_tokens: one token, one deep, one segment longer than the path, and room.
SHAPES = [(1, 1, 1), (1, 3, 200), (40, 3, 30), (40, 1, 200), (40, 3, 200)]
LEAVES = (1, 6)
LIMITS = [Limits(leaves, *shape) for leaves, shape in product(LEAVES, SHAPES)]


def settings(limits: Limits, overrides: dict[str, dict[str, object]]) -> set[str]:
    """What a refusal may name."""
    names = {"segment.hold", "branch policy", "segment policy", *limits.__dataclass_fields__}
    for recipe in RECIPES.values():
        names |= set(registry.find("branch", recipe.branch.name).Params.model_fields)
    return names | {key for override in overrides.values() for key in override}


def check_grown(live: LiveTree, policies: Policies, limits: Limits) -> None:
    assert live.status is TreeStatus.COMPLETE
    assert not live.n_censored or policies.branch.needs.hold
    assert 1 <= len(live.tree.leaves) <= policies.branch.max_leaves <= limits.leaves
    assert max(node.depth for node in live.tree.nodes) <= limits.max_depth
    rewards = {leaf: reward for leaf, reward in live.tree.rewards.items() if reward is not None}
    for credit in credit_leaves(TreeShape.of(live), rewards, policies.advantage):
        assert all(map(math.isfinite, credit.advantages))


def test_every_recipe_and_segment_policy_is_tried() -> None:
    assert set(BRANCHES) == set(RECIPES)
    assert set(SEGMENTS) == {policy.name for policy in registry.POLICIES["segment"]}


@pytest.mark.parametrize("recipe", RECIPES)
def test_tiny_settings_grow_trees_or_are_refused_by_name(recipe: str) -> None:
    segments = [{"name": name, **params} for name, variants in SEGMENTS.items() for params in variants]
    grown = refused = 0
    for branch, segment, limits in product(BRANCHES[recipe], segments, LIMITS):
        overrides = {"segment": segment, "branch": branch or {}}
        try:
            policies = build_policies(recipe, limits, overrides)
        except InvalidInput as error:
            sentence = str(error)
            assert "\n" not in sentence
            assert sum(name in sentence for name in settings(limits, overrides)) >= 2, sentence
            refused += 1
            continue
        world = World(policies=policies, limits=limits, replicas=1, tasks=1, end_share=0.02)
        (live,) = world.run().values()
        check_grown(live, policies, limits)
        grown += 1
    assert grown
    assert refused

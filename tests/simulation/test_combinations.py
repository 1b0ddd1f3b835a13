"""Every recipe with every segment policy at the smallest limits: trees grow to their ends, or it is refused clearly."""

import math
from itertools import product

import pytest
from tests.support.combinations import BRANCHES, SEGMENTS

from treeroll.core.growth.credit import TreeShape, credit_leaves
from treeroll.core.model.live_tree import LiveTree, TreeStatus
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.policies import Policies
from treeroll.policies.recipes import RECIPES
from treeroll.policies.resolve import build_policies
from treeroll.policy.base import Limits
from treeroll.simulation.world import World

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

"""HBPO: who is told which budget, and what it is held to."""

from collections import Counter

import pytest
from tests.support.tokens import planted

from treeroll.core.growth.credit import TreeShape, path_weights
from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.simulation.language import encode
from treeroll.simulation.world import PROMPT_TOKENS, World

LIMITS = Limits(leaves=10, segment_tokens=32, max_depth=4, max_tokens=128)
BUDGETS = (20, 50, 100)


def build(leaves=16, max_tokens=4096, **params):
    return registry.build("branch", "hbpo", params, Limits(leaves, 512, 8, max_tokens))


def told(policy):
    """Budget, samples, announcement and limit of each sub-group."""
    tree = planted()
    return [(first.group, first.forks, first.insert, first.max_tokens) for first in policy.grow(tree).start(tree)]


def grown(end_share=0.0, **branch):
    overrides = {"branch": {"budgets": BUDGETS, **branch}, "segment": {"name": "fixed"}}
    world = World(recipe="hbpo", limits=LIMITS, overrides=overrides, end_share=end_share)
    world.run()
    return list(world.finished.values())


def test_the_papers_sixteen_samples_are_four_under_each_of_four_budgets():
    says = "<think> I will answer the question with {} tokens"
    assert told(build()) == [(budget, 4, says.format(budget), budget) for budget in (512, 1024, 2048, 2560)]


def test_samples_that_do_not_divide_go_to_smaller_budgets_first():
    assert [samples for _, samples, _, _ in told(build(leaves=10, budgets=[10, 20, 30, 40]))] == [3, 3, 2, 2]
    assert [(budget, samples) for budget, samples, _, _ in told(build(leaves=2))] == [(512, 1), (1024, 1)]


def test_every_announcement_is_declared():
    policy = build(budgets=[7, 70], announcement="Use {budget}.")
    assert policy.needs.inserts == ("Use 7.", "Use 70.")


def test_samples_that_are_told_nothing_have_their_limits_all_the_same():
    policy = build(budgets=[7, 70], announcement="")
    assert told(policy) == [(7, 8, "", 7), (70, 8, "", 70)]
    assert policy.needs.inserts == ()


def test_samples_begin_with_what_they_are_told_and_end_at_their_budget():
    for live in grown():
        leaves = [live.tree.nodes[leaf] for leaf in live.tree.leaves]
        assert Counter(leaf.group for leaf in leaves) == {20: 4, 50: 3, 100: 3}
        assert all(leaf.total - PROMPT_TOKENS == leaf.group for leaf in leaves)
        for node in live.tree.nodes[1:]:
            says = encode(f"<think> I will answer the question with {node.group} tokens")
            assert node.inserted == (says if node.depth == 1 else None)
            assert node.sibling_index == 0 or node.depth == 1


def test_a_budget_that_is_no_limit_leaves_paths_the_runs():
    for live in grown(capped=False):
        leaves = [live.tree.nodes[leaf] for leaf in live.tree.leaves]
        assert {leaf.group for leaf in leaves} == set(BUDGETS)
        assert {leaf.total - PROMPT_TOKENS for leaf in leaves} == {LIMITS.max_tokens}


def test_credit_knows_the_budget_of_every_leaf_and_no_leaf_is_a_sample_of_the_policy():
    for live in grown(end_share=0.02):
        shape = TreeShape.of(live)
        assert {shape.groups[leaf] for leaf in shape.leaves} == set(BUDGETS)
        assert set(path_weights(shape).values()) == {0.0}


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"budgets": [512, 512]}, "budgets is [512, 512]; it must ascend, for equal budgets would be one sub-group"),
        ({"budgets": [512, 256]}, "budgets is [512, 256]; it must ascend, for equal budgets would be one sub-group"),
        ({"announcement": "be short"}, "announcement is 'be short'; it must have {budget} in it, once, or be empty"),
        (
            {"announcement": "{budget}{budget}"},
            "announcement is '{budget}{budget}'; it must have {budget} in it, once, or be empty",
        ),
        ({"budgets": [64, 5000]}, "budgets has 5000, above max_tokens 4096; lower the one or raise the other"),
    ],
)
def test_budgets_that_cannot_work_are_refused(params, says):
    with pytest.raises(InvalidInput) as caught:
        build(**params)
    assert str(caught.value) == f"branch policy 'hbpo': {says}"

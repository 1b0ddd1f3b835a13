"""TreeRL's growth, EPTree: where new answers begin."""

import pytest
from tests.support.tokens import add_node, planted

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, NodeStatus

LIMITS = Limits(leaves=64, segment_tokens=8, max_depth=4, max_tokens=32)


def growth_of(tree, limits=LIMITS, **params):
    growth = registry.build("branch", "treerl", params, limits).grow(tree)
    growth.start(tree)
    return growth


def places(expansions):
    return [(expansion.node, expansion.split_at, expansion.forks) for expansion in expansions]


def test_the_defaults_make_thirty_leaves():
    assert registry.build("branch", "treerl", {}, LIMITS).max_leaves == 30


def test_new_answers_begin_before_the_most_surprising_tokens_of_each_tree():
    tree = planted()
    growth = growth_of(tree, chains=2, places=2, forks=3)
    growth.on_node(tree, add_node(tree, 0, [-0.1, -2.0, -0.3, -5.0], sibling=0, group=1))
    growth.on_node(tree, add_node(tree, 0, [-0.1, -0.2, -0.9, -0.3], sibling=1, group=2))
    found = growth.on_idle(tree)
    assert places(found) == [(1, 3, 3), (1, 1, 3), (2, 2, 3), (2, 3, 3)]
    assert [expansion.group for expansion in found] == [1, 1, 2, 2]
    assert all(expansion.decision is Decision.RETROSPECTIVE for expansion in found)
    assert growth.on_idle(tree) == []


def test_before_the_first_token_of_a_first_answer_new_ones_start_at_the_prompt():
    # The release's masks leave that token open: one answer, one place, two new answers.
    tree = planted()
    growth = growth_of(tree, chains=1, places=1, rounds=1, forks=2)
    growth.on_node(tree, add_node(tree, 0, [-9.0, -0.5, -0.2], group=1))
    (found,) = growth.on_idle(tree)
    assert (found.node, found.split_at, found.forks, found.group) == (0, None, 2, 1)
    assert found.decision is Decision.RETROSPECTIVE


def test_answers_that_a_place_started_at_the_prompt_belong_to_the_tree_of_that_place():
    tree = planted()
    growth = growth_of(tree, chains=2, places=1, rounds=2, forks=1)
    growth.on_node(tree, add_node(tree, 0, [-9.0, -0.5], sibling=0, group=1))
    growth.on_node(tree, add_node(tree, 0, [-0.1, -0.2], sibling=1, group=2))
    assert places(growth.on_idle(tree)) == [(0, None, 1), (2, 1, 1)]
    # Its first token came from a place, so it is none; its second is the most surprising one left in tree 1.
    growth.on_node(tree, add_node(tree, 0, [-8.0, -3.0], sibling=2, group=1))
    growth.on_node(tree, add_node(tree, 2, [-0.1], split_at=1, sibling=1, group=2))
    assert [(at.node, at.split_at, at.group) for at in growth.on_idle(tree)] == [(3, 1, 1), (0, None, 2)]


def test_the_first_token_of_a_branch_from_a_place_is_none():
    tree = planted()
    growth = growth_of(tree, chains=1, places=1, rounds=2)
    growth.on_node(tree, add_node(tree, 0, [-0.1, -0.5, -0.2]))
    assert places(growth.on_idle(tree)) == [(1, 1, 2)]
    growth.on_node(tree, add_node(tree, 1, [-9.0, -0.1], split_at=1, sibling=1))
    growth.on_node(tree, add_node(tree, 1, [-9.0, -0.3], split_at=1, sibling=2))
    assert places(growth.on_idle(tree)) == [(3, 1, 2)]


def test_the_first_token_of_a_later_segment_is_a_place_behind_its_parent():
    tree = planted()
    growth = growth_of(tree, chains=1, places=1)
    growth.on_node(tree, add_node(tree, 0, [-0.1, -0.2], status=NodeStatus.INNER))
    growth.on_node(tree, add_node(tree, 1, [-4.0, -0.2]))
    assert places(growth.on_idle(tree)) == [(1, None, 2)]


def test_a_place_is_taken_once_and_later_rounds_look_at_new_answers_too():
    tree = planted()
    growth = growth_of(tree, chains=1, places=1, rounds=3, forks=1)
    growth.on_node(tree, add_node(tree, 0, [-0.1, -3.0, -1.0]))
    assert places(growth.on_idle(tree)) == [(1, 1, 1)]
    growth.on_node(tree, add_node(tree, 1, [-0.1, -2.0], split_at=1, sibling=1))
    assert places(growth.on_idle(tree)) == [(2, 1, 1)]
    growth.on_node(tree, add_node(tree, 2, [-0.1], split_at=1, sibling=1))
    assert places(growth.on_idle(tree)) == [(1, 2, 1)]


def test_nothing_behind_a_stop_token_is_a_place():
    tree = planted()
    growth = growth_of(tree, chains=1, places=4, stop_token_ids=[77])
    growth.on_node(tree, add_node(tree, 0, [-0.1, -1.0, -2.0, -3.0], ids=[1, 2, 77, 4], status=NodeStatus.INNER))
    growth.on_node(tree, add_node(tree, 1, [-8.0, -9.0]))
    assert places(growth.on_idle(tree)) == [(1, 2, 2), (1, 1, 2), (0, None, 2)]


def test_a_branch_that_begins_before_the_stop_token_is_open_again():
    tree = planted()
    growth = growth_of(tree, chains=1, places=1, rounds=2, stop_token_ids=[77])
    growth.on_node(tree, add_node(tree, 0, [-0.1, -1.0, -2.0], ids=[1, 2, 77]))
    assert places(growth.on_idle(tree)) == [(1, 2, 2)]
    growth.on_node(tree, add_node(tree, 1, [-0.1, -7.0], split_at=2, sibling=1))
    assert places(growth.on_idle(tree)) == [(2, 1, 2)]


def test_answers_too_short_to_be_cut_give_fewer_places():
    tree = planted()
    growth = growth_of(tree, chains=1, places=3)
    growth.on_node(tree, add_node(tree, 0, [-0.1, -1.0]))
    assert places(growth.on_idle(tree)) == [(1, 1, 2), (0, None, 2)]


def test_more_leaves_than_the_run_wants_are_refused():
    with pytest.raises(InvalidInput, match="chains 6, places 2, rounds 1 and forks 2 can make 30 leaves"):
        registry.build("branch", "treerl", {}, Limits(16, 8, 4, 32))

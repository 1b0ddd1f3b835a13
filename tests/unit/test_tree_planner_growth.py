"""Tree-Planner: where answers part, and where new ones begin."""

from array import array
from dataclasses import replace

import pytest
from tests.support.tokens import add_node, planted

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch.tree_planner import partings
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, NodeStatus, Observation

LIMITS = Limits(leaves=64, segment_tokens=8, max_depth=4, max_tokens=32)


def answers(*texts):
    return [array("i", map(ord, text)).tobytes() for text in texts]


def parted(*texts):
    return sorted((shared, sorted(members)) for shared, members in partings(answers(*texts)))


def test_answers_part_where_their_longest_common_beginning_ends():
    assert parted("abcd", "abce", "abx", "y") == [(2, [0, 1, 2]), (3, [0, 1])]
    assert parted("ab", "xy") == []


def test_many_answers_may_part_in_one_place_and_equal_ones_part_nowhere():
    assert parted("abc", "abd", "abe", "abc") == [(2, [0, 1, 2, 3])]
    assert parted("abc", "abc") == []


def test_an_answer_may_end_where_others_go_on():
    assert parted("ab", "abc", "abd") == [(2, [0, 1, 2])]
    assert parted("ab", "abc", "abc") == [(2, [0, 1, 2])]


@pytest.mark.parametrize("none", [[], ["a"], ["", ""]])
def test_no_answers_or_empty_ones_part_nowhere(none):
    assert parted(*none) == []


def grown(*texts, **params):
    """What the policy asks for after these answers, one node each."""
    tree = planted()
    growth = registry.build("branch", "tree_planner", {"samples": len(texts), **params}, LIMITS).grow(tree)
    growth.start(tree)
    for sibling, text in enumerate(texts):
        growth.on_node(tree, add_node(tree, 0, [-0.1] * len(text), ids=list(map(ord, text)), sibling=sibling))
    found = growth.on_idle(tree)
    assert growth.on_idle(tree) == []
    return found


def places(expansions):
    return [(expansion.node, expansion.split_at, expansion.forks) for expansion in expansions]


def test_new_answers_begin_where_merging_saves_most_tokens():
    # Savings: "ab" twice, 4; "abcde" once, 5; "xyz" once, 3.
    found = grown("abcdef", "abcdeg", "abh", "xyz1", "xyz2", places=2, forks=3)
    assert places(found) == [(1, 5, 3), (1, 2, 3)]
    assert all(expansion.decision is Decision.RETROSPECTIVE for expansion in found)
    assert places(grown("abcdef", "abcdeg", "abh", "xyz1", "xyz2")) == [(1, 5, 2), (1, 2, 2), (4, 3, 2)]


def test_a_place_is_on_an_answer_that_goes_on():
    assert places(grown("ab", "abc", places=1)) == [(2, 2, 2)]


def test_equal_savings_go_to_the_first_place_in_path_order():
    assert places(grown("xa", "ya", "yb", "xb", places=1)) == [(1, 1, 2)]


def test_where_answers_part_at_a_boundary_the_whole_node_is_the_place():
    tree = planted()
    growth = registry.build("branch", "tree_planner", {"samples": 2}, LIMITS).grow(tree)
    for sibling, last in enumerate([8, 9]):
        first = add_node(tree, 0, [-0.1, -0.1], ids=[1, 2], sibling=sibling, status=NodeStatus.INNER)
        add_node(tree, first.number, [-0.1], ids=[last])
    assert places(growth.on_idle(tree)) == [(1, None, 2)]


def test_a_place_within_a_tools_answer_is_none():
    tree = planted()
    growth = registry.build("branch", "tree_planner", {"samples": 2}, LIMITS).grow(tree)
    for sibling, said in enumerate([8, 9]):
        node = add_node(tree, 0, [-0.1] * 3, ids=[1, 2, said], sibling=sibling, status=NodeStatus.INNER)
        node.content = replace(node.content, observation=Observation(bytes(4), ""))
        add_node(tree, node.number, [-0.1], ids=[3])
    assert growth.on_idle(tree) == []


def test_discarded_answers_are_not_in_the_trie():
    tree = planted()
    growth = registry.build("branch", "tree_planner", {"samples": 2}, LIMITS).grow(tree)
    add_node(tree, 0, [-0.1, -0.1], ids=[1, 2])
    add_node(tree, 0, [-0.1, -0.1], ids=[1, 3], sibling=1, status=NodeStatus.PRUNED)
    assert growth.on_idle(tree) == []


def test_more_leaves_than_asked_for_are_refused():
    with pytest.raises(InvalidInput, match="samples 8, places 4 and forks 2 can make 16 leaves, above leaves 15"):
        registry.build("branch", "tree_planner", {}, Limits(15, 8, 4, 32))

"""TreePS-RAG: children behind calls, and which siblings are redundant."""

from itertools import permutations

import pytest
from tests.support.grow import goes_on
from tests.support.tokens import add_step, planted

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, NodeStatus

LIMITS = Limits(leaves=27, segment_tokens=8, max_depth=3, max_tokens=64)


def growth_of(tree, **params):
    growth = registry.build("branch", "treeps_rag", {"fanout": 3, **params}, LIMITS).grow(tree)
    assert forks(growth.start(tree)) == [(0, 3)]
    return growth


def forks(expansions):
    return [(expansion.node, expansion.forks) for expansion in goes_on(expansions)]


def told(tree, growth, *observations, parent=0, order=(0, 1, 2)):
    """Siblings come in this order and hear these answers, None if they made no call; returns what then goes on."""
    for place in order:
        answer = observations[place]
        status = NodeStatus.LEAF if answer is None else NodeStatus.INNER
        step = add_step(tree, parent, [1.0], answer or "", sibling=place, status=status)
        last = growth.on_node(tree, step)
        assert place == order[-1] or last == []
    return last


def siblings(tree, expansions):
    return [tree.nodes[expansion.node].sibling_index for expansion in goes_on(expansions)]


def test_steps_that_were_told_different_things_all_branch():
    tree = planted()
    go_on = told(tree, growth_of(tree), "=84\n", "=97\n", "=15\n")
    assert forks(go_on) == [(1, 2), (2, 2), (3, 2)]
    assert all(expansion.resume and expansion.decision is Decision.RETROSPECTIVE for expansion in go_on)


def test_of_steps_that_were_told_the_same_the_first_goes_on():
    tree = planted()
    assert siblings(tree, told(tree, growth_of(tree), "=84\n", "=97\n", "=84\n")) == [0, 1]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_first_is_the_first_by_path_whoever_arrives_first(order):
    tree = planted()
    assert siblings(tree, told(tree, growth_of(tree), "=84\n", "=84\n", "=84\n", order=order)) == [0]


def test_answers_are_leaves_and_count_as_siblings_that_have_come():
    tree = planted()
    assert siblings(tree, told(tree, growth_of(tree), None, "=84\n", None)) == [1]


def test_redundant_steps_make_nobody_else_redundant():
    # bcdef shares two trigrams of three with abcde and with cdefg, which share one.
    tree = planted()
    go_on = told(tree, growth_of(tree, similarity=0.6), "abcde", "bcdef", "cdefg")
    assert siblings(tree, go_on) == [0, 2]


def test_the_threshold_decides_what_is_alike():
    tree = planted()
    assert siblings(tree, told(tree, growth_of(tree, similarity=0.7), "abcde", "bcdef", "cdefg")) == [0, 1, 2]


def test_steps_of_different_parents_are_not_compared():
    tree = planted()
    growth = growth_of(tree)
    told(tree, growth, "=84\n", "=97\n", "=15\n")
    for parent in (1, 2):
        assert len(told(tree, growth, "=84\n", "=50\n", "=15\n", parent=parent)) == 3


def test_segments_without_observations_are_never_redundant():
    tree = planted()
    assert len(told(tree, growth_of(tree), "", "", "")) == 3


def test_nothing_is_made_up_for():
    tree = planted()
    growth = growth_of(tree)
    told(tree, growth, None, None, None)
    assert growth.on_idle(tree) == []


def test_more_leaves_than_the_run_wants_are_refused():
    with pytest.raises(InvalidInput, match="fanout 4 at each of max_depth 3 can make 64 leaves, above leaves 27"):
        registry.build("branch", "treeps_rag", {"fanout": 4}, LIMITS)


def test_a_misspelt_embedder_is_refused_with_those_that_exist():
    with pytest.raises(InvalidInput, match="unknown embedder 'bert'; choose one of ngrams"):
        registry.build("branch", "treeps_rag", {"embedder": "bert"}, LIMITS)

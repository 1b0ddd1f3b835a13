"""ReST-MCTS* grown on scripted worlds."""

import math

import pytest
from tests.support.grow import Driver, Outcome, discarded, endless, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, StopReason

DEPTH = 5


def build(leaves=64, **params):
    return registry.build("branch", "rest_mcts", params, Limits(leaves, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, **params):
    return Driver(build(**params), world or endless(DEPTH), hold=True, reward=reward).run()


def chances(**sure):
    """A world whose nodes are as confident as said by name, and else exp -1; nobody ends before the last depth."""

    def world(path):
        value = sure.get("n" + "".join(map(str, path)), math.exp(-1))
        last = len(path) == DEPTH
        logprob = 10 * math.log(value)  # of ten tokens
        return leaf(StopReason.DEPTH, logprob_sum=logprob) if last else Outcome(logprob_sum=logprob)

    return world


def steps(grown):
    """Paths that each batch goes on at, and how many new ones it starts there."""
    return [(grown.tree.path(step.node), step.forks) for batch in grown.batches for step in batch]


def by_path(grown, figures):
    return {grown.tree.path(number): value for number, value in figures.items() if value}


def test_the_best_child_is_rolled_forward_and_half_of_the_best_on_the_way_is_its_value():
    grown = grow(chances(n1=0.8, n10=0.4, n100=0.6), iterations=1, roll_forward=2)
    assert steps(grown)[:3] == [((), 3), ((1,), 0), ((1, 0), 0)]
    assert by_path(grown, grown.growth._values) == {(1,): pytest.approx(0.7), (): pytest.approx(0.7)}
    assert by_path(grown, grown.growth._visits) == {(1,): 1, (): 1}


def test_values_may_be_those_of_whole_paths():
    world = chances(n1=0.8, n10=0.4, n100=0.6)
    grown = grow(world, iterations=1, roll_forward=2, value="path_confidence")
    best = max((0.8 * 0.4) ** (1 / 2), (0.8 * 0.4 * 0.6) ** (1 / 3))
    assert by_path(grown, grown.growth._values)[1,] == pytest.approx(0.4 + 0.5 * best)


def test_an_end_on_the_way_is_worth_more_than_what_the_model_thought():
    confident = chances(n1=0.8, n10=0.9, n100=0.9)

    def value(outcome):
        grown = grow(confident, lambda path: outcome, iterations=1, roll_forward=9)
        assert grown.leaves() == ["1.0.0.0.0"]
        return grown.growth._values[0]

    assert [value(1.0), value(0.0), value(None)] == pytest.approx([0.9, 0.4, 0.4])


def test_a_child_without_a_visit_has_a_bonus_of_one_and_the_others_an_upper_bound():
    grown = grow(chances(n0=0.8, n1=0.3), width=2, iterations=3, roll_forward=0, successes=9)
    # (1) has 0.3 + 1, (0) has 0.8 + 0.7 sqrt(2 ln 1). Its best child is worth e^-1, and so is (1) from then on. Then
    # both have one visit of two above, and 0.8 is more.
    assert steps(grown)[:3] == [((), 2), ((1,), 1), ((0,), 1)]
    values, visits = by_path(grown, grown.growth._values), by_path(grown, grown.growth._visits)
    assert visits == {(): 3, (0,): 2, (0, 0): 1, (1,): 1, (1, 0): 1}
    assert values == pytest.approx(dict.fromkeys(visits, math.exp(-1)))
    bounds = {grown.tree.path(node.number): grown.growth._uct(node) for node in grown.tree.nodes[1:]}
    assert bounds[0,] == pytest.approx(math.exp(-1) + 0.7 * math.sqrt(2 * math.log(3) / 2))
    assert bounds[1,] == pytest.approx(math.exp(-1) + 0.7 * math.sqrt(2 * math.log(3)))
    assert bounds[0, 1] == pytest.approx(math.exp(-1) + 1)


def test_a_back_up_weighs_children_by_their_visits():
    # Values of leaves only: 0 fails, 1 succeeds, each end of a path is one segment behind the prompt's children.
    def world(path):
        return leaf() if len(path) == 2 else Outcome()

    grown = grow(
        world, lambda path: float(path[0] == 1), width=2, iterations=3, value="success", roll_forward=9, successes=9
    )
    # Expanded: the prompt, rolled from (0): 0. Then (1), with V + 1 = 1 as it is above 0: its best child succeeded.
    # Then (1) is full of leaves, hence closed; (0) has one child and gets the other one.
    assert steps(grown) == [((), 2), ((0,), 0), ((1,), 1), ((0,), 1)]
    visits = by_path(grown, grown.growth._visits)
    assert visits == {(): 3, (0,): 2, (0, 0): 1, (1,): 1, (1, 0): 1}
    assert grown.growth._values[0] == pytest.approx((2 * 0 + 1 * 1) / 3)


def test_a_rolled_segment_is_one_of_the_children_of_its_parent():
    grown = grow(chances(n0=0.9), width=3, iterations=4, roll_forward=2, successes=9)
    tree = grown.tree
    assert all(node.fanout in {0, 1, 3} for node in tree.nodes)
    first = next(node.number for node in tree.nodes if tree.path(node.number) == (0,))
    assert sum(node.parent == first for node in tree.nodes[1:]) in {1, 3}


def test_the_search_stops_at_a_success_and_paths_rolled_forward_run_to_their_ends():
    def world(path):
        return leaf() if path == (2,) else chances(n0=0.9)(path)

    grown = grow(world, lambda path: float(path == (2,)), iterations=9, roll_forward=1)
    assert steps(grown)[0] == ((), 3)
    # The success at (2,) is the best child: nothing was rolled, and there is nothing to run to its end.
    assert grown.leaves() == ["2"]
    grown = grow(world, lambda path: float(path == (2,)), iterations=2, roll_forward=1, successes=2)
    assert grown.leaves() == ["0.0.0.0.0", "2"]


def test_it_ends_when_nothing_is_left_to_expand():
    assert steps(grow(lambda path: discarded(), iterations=9)) == [((), 3)]
    assert len(grow(lambda path: leaf(), iterations=9).tree.leaves) == 3


def test_what_was_chosen_by_values_is_retrospective():
    grown = grow(iterations=6)
    for node in grown.tree.nodes[1:]:
        assert node.decision is (Decision.BOUNDARY if node.depth == 1 else Decision.RETROSPECTIVE)


def test_more_leaves_than_asked_for_are_refused():
    assert build(33).max_leaves == 33
    with pytest.raises(InvalidInput, match="width 3 and iterations 16 can make 33 leaves, above leaves 32"):
        build(32)

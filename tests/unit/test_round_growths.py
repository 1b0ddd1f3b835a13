"""Growths by rounds on scripted worlds: bavt, uct, cost_band and depth_first."""

import math

import pytest
from tests.support.grow import PROMPT_TOKENS, Driver, Outcome, endless, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch.bavt import BAVT, Drawn
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision, Node
from treeroll.tree.tree import Tree

DEPTH = 4
NAMES = ("bavt", "uct", "cost_band", "depth_first")


def grow(name, world=None, leaves=8, **params):
    policy = registry.build("branch", name, params, Limits(leaves, 10, DEPTH, 1000))
    return Driver(policy, world or endless(DEPTH), hold=True).run()


def sure(**values):
    """Nodes are as confident as said by name, and else exp -1; paths of DEPTH segments."""

    def world(path):
        logprob = 10 * math.log(values.get("n" + "".join(map(str, path)), math.exp(-1)))
        return leaf(logprob_sum=logprob) if len(path) == DEPTH else Outcome(logprob_sum=logprob)

    return world


def chosen(grown):
    """Paths that each round chose, with the forks there."""
    return [[(grown.tree.path(step.node), step.forks) for step in batch] for batch in grown.batches[1:] if batch]


@pytest.mark.parametrize("name", NAMES)
def test_forks_go_to_the_first_chosen_and_all_paths_end(name):
    grown = grow(name, width=3)
    assert len(grown.tree.leaves) == 8
    assert {node.decision for node in grown.tree.nodes if node.depth > 1} == {Decision.RETROSPECTIVE}


@pytest.mark.parametrize("name", NAMES)
def test_tokens_end_a_tree_once_it_has_a_leaf(name):
    grown = grow(name, tokens=30)
    # Two first segments and four of the first round use it up; then one path goes on alone.
    assert len(grown.tree.leaves) == 1
    assert len(grown.tree.nodes) - 1 == 2 + 4 + (DEPTH - 2)
    # A segment is ten tokens: all is used up by the first.
    assert len(grow(name, tokens=1).tree.nodes) - 1 == 2 + (DEPTH - 1)


def draws(values, left, parallel=1, rounds=4000, order=1):
    """How often each of some waiting paths is drawn first."""
    tree = Tree.planted("tree", 7, PROMPT_TOKENS)
    for number, value in enumerate(values, 1):
        tree.add(Node(number, 0, number - 1, 1, 0, 1, logprob_sum=math.log(value)))
    rule = Drawn(BAVT.Params(parallel=parallel))
    waiting = tree.nodes[1:][::order]
    return [[node.number for node in rule.choose(tree, waiting, left)] for _ in range(rounds)]


def test_with_the_whole_budget_draws_are_proportional_to_values():
    first = [number for (number,) in draws([0.1, 0.3, 0.6], 1.0)]
    assert [first.count(number) / 4000 for number in (1, 2, 3)] == pytest.approx([0.1, 0.3, 0.6], abs=0.03)


def test_with_half_of_it_they_are_to_their_squares():
    first = [number for (number,) in draws([0.25, 0.5], 0.5)]
    assert first.count(2) / 4000 == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("left", [0.021, 0.01, 0.0, -1.0])
def test_with_nothing_left_the_best_is_taken(left):
    assert {tuple(found) for found in draws([0.1, 0.3, 0.6], left, parallel=2, rounds=50)} == {(3, 2)}


def test_draws_do_not_depend_on_the_order_of_candidates_and_none_is_drawn_twice():
    here, there = (draws([0.2, 0.3, 0.4, 0.5], 0.7, parallel=3, rounds=200, order=order) for order in (1, -1))
    assert here == there
    assert all(len(set(found)) == 3 for found in here)
    assert len({tuple(found) for found in here}) > 5


def steps(levels):
    """Confidence of each segment by name, deeper ones as confident as those above: a step's gain is the difference."""

    def world(path):
        value = next(value for name, value in levels.items() if path[: len(name)] == name)
        logprob = 10 * math.log(value)
        return leaf(logprob_sum=logprob) if len(path) == DEPTH else Outcome(logprob_sum=logprob)

    return world


GAINS = {(0, 0): 0.8, (0, 1): 0.45, (0,): 0.5, (1, 0): 0.65, (1, 1): 0.2, (1,): 0.6}


def test_bavt_leaves_paths_whose_last_step_lost_too_much():
    grown = grow("bavt", steps(GAINS), leaves=4, parallel=4, prune_below=-0.2)
    assert sorted(chosen(grown)[0]) == [((0,), 1), ((1,), 1)]
    # (1.1) lost 0.4, and (0.1) only 0.05.
    assert {path for path, _ in chosen(grown)[1]} == {(0, 0), (0, 1), (1, 0)}
    assert (1, 1) not in {path for step in chosen(grown) for path, _ in step}
    assert len(grown.tree.leaves) == 3


def test_bavt_prunes_nothing_by_gain_unless_told():
    assert len(grow("bavt", steps(GAINS), leaves=4, parallel=4).tree.leaves) == 4


def test_where_all_paths_are_pruned_one_goes_on_to_an_answer():
    def falling(path):
        logprob = -10.0 * len(path)
        return leaf(logprob_sum=logprob) if len(path) == DEPTH else Outcome(logprob_sum=logprob)

    assert len(grow("bavt", falling, leaves=4, parallel=1, prune_below=0).tree.leaves) == 1


def test_bavt_widens_a_step_earlier_where_the_last_one_gained_too_little():
    levels = {(0, 0): 0.52, (0, 1): 0.9, (0,): 0.5, (1, 0): 0.9, (1, 1): 0.9, (1,): 0.5}
    grown = grow("bavt", steps(levels), parallel=4, widen_below=0.1)
    rounds = chosen(grown)
    assert sorted(rounds[0]) == [((0,), 1), ((1,), 1)]
    # (0.0) gained 0.02: its fork is a third child of (0).
    assert sorted(rounds[1]) == [((0,), 1), ((0, 1), 1), ((1, 0), 1), ((1, 1), 1)]
    paths = {grown.tree.path(node.number) for node in grown.tree.nodes}
    assert (0, 2) in paths
    # Eight paths have begun, so it goes on alone.
    assert (0, 0, 1) not in paths
    assert len(grown.tree.leaves) == 8


def test_gains_that_cannot_decide_are_refused():
    with pytest.raises(InvalidInput, match="with value success a path has that of the step before"):
        grow("bavt", value="success", prune_below=0)
    with pytest.raises(InvalidInput, match=r"widen_below 0 is not above prune_below 0\.1"):
        grow("bavt", prune_below=0.1, widen_below=0)


def test_uct_dives_where_it_is_sure_and_explores_where_it_has_not_been():
    world = sure(n0=0.9, n1=0.8, n00=0.9, n01=0.9)
    greedy = chosen(grow("uct", world, parallel=1, exploration=0))
    # The mean of (0) is 0.9 after its children, and their confidence that of (0).
    assert [step[0][0] for step in greedy[:2]] == [(0,), (0, 0)]
    curious = chosen(grow("uct", world, parallel=1, exploration=10))
    assert [step[0][0] for step in curious[:2]] == [(0,), (1,)]


def test_uct_s_choices_of_a_round_count_each_other():
    # Without the visit of the first choice the second would be of (0.1), which is as good.
    world = sure(n0=0.9, n1=0.88, n00=0.9, n01=0.9)
    rounds = chosen(grow("uct", world, leaves=3, parallel=2, width=2))
    assert [path for path, _ in rounds[0]] == [(0,), (1,)]
    assert len({path for path, _ in rounds[1]}) == 2


def test_a_band_goes_on_together_and_the_next_one_then():
    world = sure(n0=0.95, n1=0.92, n2=0.75, n3=0.15)
    rounds = chosen(grow("cost_band", world, width=4, leaves=4, band=0.1))
    assert [path for path, _ in rounds[0]] == [(0,), (1,)]
    assert [path for path, _ in rounds[1]] == [(2,)]
    # (0.0) costs 0.05 + 0.63, (2.0) 0.25 + 0.63; (3) costs 0.85.
    assert [path for path, _ in rounds[2]] == [(0, 0)]
    assert [path for path, _ in grown_bands(world, 10.0)[0]] == [(0,), (1,), (2,), (3,)]


def grown_bands(world, band):
    return chosen(grow("cost_band", world, width=4, leaves=4, band=band))


def test_depth_first_ends_a_path_before_it_begins_with_another():
    rounds = chosen(grow("depth_first", parallel=1, leaves=3))
    assert [step[0][0] for step in rounds[:4]] == [(0,), (0, 0), (0, 0, 0), (0, 1)]

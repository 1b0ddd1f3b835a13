"""HyPER grown on scripted worlds."""

import math

import pytest
from tests.support.grow import Driver, Outcome, discarded, goes_on, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policy.base import Limits

DEPTH = 3


def build(leaves=64, **params):
    return registry.build("branch", "hyper", params, Limits(leaves, 10, DEPTH, 1000))


def sure(*levels):
    """A world whose segments are as confident as said: by depth, then by place at the prompt; ends at DEPTH."""

    def world(path):
        if len(path) == DEPTH:
            return leaf()
        return Outcome(logprob_sum=10 * math.log(levels[len(path) - 1][path[0]]))  # of ten tokens

    return world


def intervals(grown):
    """At each boundary: paths that go on, and forks there."""
    tree = grown.tree
    decided = [[(tree.path(step.node), step.forks) for step in goes_on(batch)] for batch in grown.batches if batch]
    return decided[1:]


def test_paths_below_the_best_of_the_first_interval_end():
    grown = Driver(build(warm_up=4, keep=2), sure((0.9, 0.5, 0.8, 0.7), (0.8, 1, 0.9, 1)), hold=True).run()
    # The second best first segment is the threshold, and a segment that has just as much goes on.
    assert intervals(grown) == [[((0,), 0), ((2,), 0)], [((2, 0), 0), ((0, 0), 0)]]
    assert grown.leaves() == ["0.0.0", "2.0.0"]


def test_the_most_confident_path_always_goes_on():
    grown = Driver(build(warm_up=2, keep=1), sure((0.9, 0.8), (0.3, 0.4)), hold=True).run()
    assert intervals(grown) == [[((0,), 0)], [((0, 0), 1)]]


def test_the_pool_expands_while_it_is_less_sure_than_at_first_and_best_paths_fork_first():
    # Surprisal at first: the mean of -ln .9, -ln .5, -ln .5; then that of -ln .6 twice and -ln .5, which is more.
    def grown(**params):
        return Driver(build(warm_up=3, keep=3, **params), sure((0.9, 0.5, 0.5), (0.6, 0.5, 0.6)), hold=True).run()

    first = [((0,), 0), ((1,), 0), ((2,), 0)]
    assert intervals(grown(pool=9)) == [first, [((0, 0), 1), ((2, 0), 1), ((1, 0), 1)]]
    assert intervals(grown(pool=5)) == [first, [((0, 0), 1), ((2, 0), 1), ((1, 0), 0)]]
    assert intervals(grown(pool=3)) == [first, [((0, 0), 0), ((2, 0), 0), ((1, 0), 0)]]


def test_finished_paths_leave_less_room_in_the_tree_though_not_in_the_pool():
    def world(path):
        if path == (1,):
            return leaf(logprob_sum=-2.0)
        return leaf() if len(path) == DEPTH else Outcome(logprob_sum=-float(len(path)))

    forks = lambda leaves: intervals(Driver(build(leaves, warm_up=3, pool=4), world, hold=True).run())[1]  # noqa: E731
    assert forks(leaves=8) == [((0, 0), 1), ((2, 0), 1)]
    assert forks(leaves=4) == [((0, 0), 1), ((2, 0), 0)]


def test_a_tree_whose_paths_end_in_the_first_interval_is_no_trouble():
    for ended in (leaf(), discarded()):
        assert intervals(Driver(build(warm_up=2), lambda path, ended=ended: ended, hold=True).run()) == []


def test_first_paths_must_fit_the_tree_and_the_pool():
    with pytest.raises(InvalidInput, match="warm_up 16 can make 16 leaves, above leaves 8"):
        build(8)
    with pytest.raises(InvalidInput, match="pool 9 is below warm_up 16; raise the one or lower the other"):
        build(pool=9)

"""DeepSearch grown on scripted worlds."""

import math

import pytest
from tests.support.grow import Driver, Outcome, endless, leaf, ragged

from treeroll.policies import registry
from treeroll.policies.branch.deepsearch import _updated
from treeroll.policy.base import Limits
from treeroll.tree import rng
from treeroll.tree.node import Decision, Node, NodeStatus, StopReason

DEPTH = 3


def build(**params):
    return registry.build("branch", "deepsearch", params, Limits(64, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, **params):
    return Driver(build(**params), world or endless(DEPTH), hold=True, reward=reward).run()


def expanded(grown):
    """Paths of the nodes that were expanded, in order."""
    return [grown.tree.path(batch[0].node) for batch in grown.batches if batch]


def test_the_search_dives_until_a_path_ends():
    grown = grow(width=2, terminals=1)
    assert expanded(grown) == [(), (0,), (0, 0)]
    assert len(grown.tree.leaves) == 2


def test_after_an_ending_it_goes_on_at_the_best_of_the_whole_frontier():
    # The first ending fails: prompt and node 0 are both worth -1/4, by one visit and two, so depth decides.
    grown = grow(width=2, terminals=2)
    assert expanded(grown)[3] == (0, 1)
    # Without the bonus the first of them in path order: node 1 is a sibling of 0, below the prompt.
    grown = grow(width=2, terminals=3, depth_weight=0.0)
    assert expanded(grown)[3:5] == [(0, 1), (1,)]


def test_the_frontier_reads_values_per_visit():
    # A node of three failures in four visits, another of one in two: by their sums the second looks better.
    growth = build(own_weight=0.0).grow(None)
    growth._values, growth._visits = {1: -1.2, 2: -0.9}, {1: 4, 2: 2}
    below = [Node(10 + parent, parent, 0, 2, 0, 1) for parent in (1, 2)]
    assert [growth._q(parent) for parent in (1, 2)] == pytest.approx([-0.30, -0.45])
    assert max(below, key=growth._frontier_score).parent == 1


def by_definition(world, reward, width, terminals):
    """What the release expands: paths in order. Visits and values by path, found anew for every question."""
    values, visits, expanded, frontier, backed_up = {}, {}, [()], set(), 0

    def q(path):
        return values.get(path, 0.0) / visits[path] if visits.get(path) else 0.0

    def surprisal(path):
        segments = [world(path[:end]) for end in range(1, len(path) + 1)]
        return -sum(s.logprob_sum for s in segments) / sum(s.n_tokens for s in segments)

    def rank(path):
        cut_off = world(path).reason in (StopReason.LENGTH, StopReason.DEPTH)
        return 0 if reward(path) >= 0.5 else 2 if cut_off else 1, surprisal(path)

    def frontier_score(path):
        return 0.4 * math.tanh(q(path[:-1])) + 0.01 * math.sqrt(len(path) / DEPTH)

    while True:
        here = expanded[-1]
        children = [(*here, index) for index in range(width)]
        ended = [path for path in children if world(path).status is NodeStatus.LEAF]
        waiting = [path for path in children if path not in ended]
        visits.update(dict.fromkeys(waiting, 1))
        frontier.update(waiting)
        if ended:
            backed_up += 1
            chosen = min(ended, key=rank)
            z = 1 if reward(chosen) >= 0.5 else -1
            for end in range(len(chosen) + 1):
                node = chosen[:end]
                stored, change = values.get(node, 0.0), z * max((end + 1) / (len(chosen) + 1), 0.1)
                visits[node] = visits.get(node, 0) + 1
                values[node] = stored + change if stored * change >= 0 else max(stored, change)
            if backed_up == terminals or not frontier:
                return expanded
            onward = max(sorted(frontier), key=frontier_score)
        else:
            above = visits.get(here, 0)
            onward = max(waiting, key=lambda p: q(p) + (2 * math.sqrt(math.log(above) / visits[p]) if above else 0))
        frontier.remove(onward)
        expanded.append(onward)


@pytest.mark.parametrize("succeed", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_it_expands_what_the_release_would(seed, succeed):
    world = ragged(seed, DEPTH, 0.3, 0.0)
    reward = lambda path: float(rng.uniform(seed, "reward", *path) < succeed)  # noqa: E731
    grown = grow(world, reward, width=3, terminals=8)
    assert expanded(grown) == by_definition(world, reward, 3, 8)


def test_a_back_up_weighs_nodes_by_their_depth():
    grown = grow(width=2, terminals=1, reward=lambda path: 1.0)
    values = {grown.tree.path(number): value for number, value in grown.growth._values.items()}
    assert values == {(): 0.25, (0,): 0.5, (0, 0): 0.75, (0, 0, 0): 1.0}


@pytest.mark.parametrize(
    ("value", "change", "after"),
    [(0.0, 0.5, 0.5), (0.5, 0.5, 1.0), (-0.5, 0.3, 0.3), (0.5, -0.3, 0.5), (-0.5, -0.3, -0.8), (0.0, -0.3, -0.3)],
)
def test_success_replaces_failure_and_failure_never_lowers_success(value, change, after):
    assert _updated(value, change) == pytest.approx(after)


def test_the_most_confident_success_is_backed_up_then_failures_then_unfinished_paths():
    ends = {
        0: (StopReason.LENGTH, -0.1),
        1: (StopReason.EOS, -5.0),
        2: (StopReason.EOS, -3.0),
        3: (StopReason.EOS, -9.0),
    }

    def world(path):
        reason, logprob = ends[path[0]]
        return leaf(reason, logprob_sum=logprob)

    def backed_up(successes):
        grown = grow(world, lambda path: float(path[0] in successes), width=4, terminals=1)
        return [grown.tree.path(number) for number in grown.growth._values if number]

    assert backed_up({1, 3}) == [(1,)]
    assert backed_up(set()) == [(2,)]
    assert backed_up({0}) == [(0,)]


def test_it_stops_when_nothing_is_left_to_expand():
    discarding = lambda path: Outcome(NodeStatus.PRUNED, StopReason.MIN_LENGTH)  # noqa: E731
    assert expanded(grow(discarding, width=2, terminals=3)) == [()]


def test_what_was_chosen_by_rewards_is_retrospective_also_where_a_path_goes_on():
    grown = grow(width=2, terminals=3)
    for node in grown.tree.nodes[1:]:
        assert node.decision is (Decision.BOUNDARY if node.depth == 1 else Decision.RETROSPECTIVE)

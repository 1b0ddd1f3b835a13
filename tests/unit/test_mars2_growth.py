"""MARS2 grown on scripted worlds."""

from collections import Counter

import pytest
from tests.support.grow import Driver, Outcome, discarded, endless, leaf, newest_first, round_robin

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.branch.mean_posterior import MeanPosterior
from treeroll.policy.base import Limits
from treeroll.tree.node import BranchReason, Decision
from treeroll.tree.rng import uniform

DEPTH = 3


def build(leaves=8, **params):
    return registry.build("branch", "mars2", params, Limits(leaves, 10, DEPTH, 1000))


def grow(world=None, reward=lambda path: 0.0, leaves=8, seed=7, pick=None, **params):
    return Driver(
        build(leaves, **params), world or endless(DEPTH), pick or round_robin(), reward=reward, seed=seed
    ).run()


def begun(grown):
    """Where each answer began, and the model that gave it, batch by batch."""
    batches = [[step for step in batch if step.forks] for batch in grown.batches]
    return [[(grown.tree.path(step.node), step.model) for step in batch] for batch in batches if batch]


@pytest.fixture
def draws(monkeypatch):
    """Draws by (answer, depth, what), 0 where nothing is said."""
    said = {}
    monkeypatch.setattr(MeanPosterior, "draw", lambda posterior, seed, name, *key: said.get(key, 0.0))
    return said


def centers(grown, posteriors):
    """Where the posterior of each inner node is centred, by the path of the node."""
    found = {grown.tree.path(number): posterior.parameters()[0] for number, posterior in posteriors.items()}
    return {path: center for path, center in found.items() if len(path) < DEPTH}


def test_an_answer_begins_where_new_ones_are_not_worse_or_nothing_is_below(draws):
    # Answer 1: new at the prompt, an equal draw. Answer 2 goes down from the prompt, to (1), where new ones are better.
    # Answer 3 goes down to (0), and to (0, 0), which has only ends below it.
    draws |= {(2, 0, "below"): 1, (2, 0, 1): 1, (2, 1, "new"): 2, (2, 1, "below"): 1}
    draws |= {(3, 0, "below"): 1, (3, 0, 0): 3, (3, 0, 1): 2, (3, 1, "below"): 1}
    grown = grow(leaves=4)
    assert begun(grown) == [[((), "")], [((), "")], [((1,), "")], [((0, 0), "")]]
    assert grown.leaves() == ["0.0.0", "0.0.1", "1.0.0", "1.1.0"]


def test_rewards_tell_of_new_answers_of_those_below_and_of_the_way_to_them(draws):
    # Then an answer at (1, 1), which answer 2 has made.
    draws |= {(2, 0, "below"): 1, (2, 0, 1): 1, (3, 0, "below"): 1, (3, 0, 1): 1, (3, 1, "below"): 1, (3, 1, 1): 1}
    rewards = {(0, 0, 0): 0.25, (1, 0, 0): 0.5, (1, 1, 0): 1.0, (1, 1, 1): 2.0}
    draws[2, 1, "new"] = 1
    grown = grow(reward=rewards.get, leaves=5)
    assert begun(grown)[:4] == [[((), "")], [((), "")], [((1,), "")], [((1, 1), "")]]
    growth = grown.growth
    # The centre of n rewards is their sum by n + 1.
    assert centers(grown, growth._new) == {
        (): 0.75 / 3,
        (0,): 0.25 / 2,
        (0, 0): 0.25 / 2,
        (1,): 1.5 / 3,
        (1, 0): 0.5 / 2,
        (1, 1): 3.0 / 3,
    }
    assert centers(grown, growth._below) == {(): 3.0 / 3, (1,): 2.0 / 2}
    assert centers(grown, growth._through) == {
        (0,): 0.25 / 2,
        (0, 0): 0.25 / 2,
        (1,): 3.5 / 4,
        (1, 0): 0.5 / 2,
        (1, 1): 3.0 / 3,
    }
    assert [given.parameters()[0] for given in growth._given] == [3.75 / 5]


def test_the_model_with_the_highest_draw_answers_to_its_end_and_learns_from_it(draws):
    draws |= {(0, "model", 1): 1, (1, "model", 2): 1, (2, "model", 1): 1}
    grown = grow(reward=lambda path: float(path[0] + 1), leaves=4, models=["", "large", "other"])
    assert begun(grown) == [[((), "large")], [((), "other")], [((), "large")], [((), "")]]
    assert [grown.tree.nodes[number].group for number in grown.tree.leaves] == [2, 3, 2, 1]
    # The fourth answer ended the tree, and nobody learned from it.
    assert [given.parameters()[0] for given in grown.growth._given] == [0.0, (1 + 3) / 3, 2 / 2]


def test_answers_that_were_discarded_or_could_not_be_scored_tell_nothing(draws):
    def world(path):
        return discarded() if path == (0, 0) else leaf() if len(path) == 2 else Outcome()

    grown = grow(world, reward=lambda path: None if path[0] == 1 else 1.0, leaves=4)
    assert grown.leaves() == ["1.0", "2.0", "3.0"]
    assert centers(grown, grown.growth._new) == {(): 1 / 2, (2,): 1 / 2}


def test_answers_that_are_begun_together_do_not_read_each_other(draws):
    draws |= {(turn, 0, "below"): 1.0 for turn in range(8)}
    grown = grow(leaves=8, parallel=3)
    assert [[path for path, _ in batch] for batch in begun(grown)] == [[()] * 3, [(0,)] * 3, [(0,)] * 2]


def test_equal_draws_go_to_the_first_child_whichever_came_first(draws):
    draws[2, 0, "below"] = 1
    for pick in (round_robin(), newest_first()):
        assert begun(grow(leaves=3, parallel=2, pick=pick))[1] == [((0,), "")]


def test_what_is_known_is_the_same_to_the_last_bit_whichever_answer_came_first():
    def learned(pick):
        grown = grow(reward=lambda path: uniform(3, *path), leaves=36, parallel=12, pick=pick)
        return [posterior.parameters() for posterior in (grown.growth._new[0], *grown.growth._given)]

    assert learned(round_robin()) == learned(newest_first())


def test_the_first_answers_are_blind_and_all_others_have_read_them():
    grown = grow(parallel=2)
    for node in grown.tree.nodes[1:]:
        first = node.branch_reason is BranchReason.INITIAL
        assert node.decision is (Decision.BOUNDARY if first else Decision.RETROSPECTIVE)
    assert sum(node.branch_reason is BranchReason.INITIAL for node in grown.tree.nodes if node.depth == 1) == 2


def test_one_model_has_no_label():
    assert {node.group for node in grow().tree.nodes} == {0}


def test_answers_begin_most_often_where_they_succeed():
    """Over 60 trees of 12 answers, those that begin with the first segment's first version succeed."""
    starts = Counter()
    for seed in range(60):
        grown = grow(reward=lambda path: float(path[0] == 0), leaves=12, seed=seed)
        starts.update(path[0] for batch in begun(grown)[1:] for path, _ in batch if path)
    assert starts[0] > 2 * (starts.total() - starts[0])


def test_the_model_that_succeeds_answers_most_often():
    given = Counter()
    for seed in range(60):
        driver = Driver(build(12, models=["poor", "good"]), endless(DEPTH), seed=seed)
        driver.reward = lambda path, driver=driver: float(ends(driver)[path] == 2)
        given.update(ends(driver.run()).values())
    assert given.total() == 60 * 12
    assert given[2] > 2 * given[1]


def ends(grown):
    """The label of each answer, by its path."""
    return {grown.tree.path(number): grown.tree.nodes[number].group for number in grown.tree.leaves}


def test_models_are_named_to_the_service_but_for_the_trees_own():
    assert build().needs.models == ()
    assert build(models=["", "large"]).needs.models == ("large",)
    with pytest.raises(InvalidInput, match=r"branch policy 'mars2': models .* it must name each model once"):
        build(models=["large", "", "large"])
    with pytest.raises(InvalidInput, match="branch policy 'mars2': models is "):
        build(models=[])

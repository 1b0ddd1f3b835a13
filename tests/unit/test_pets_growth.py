"""PETS grown on scripted answers: samples end with the majority, or as the first four agree."""

from fractions import Fraction

import pytest
from tests.support.grow import Driver, Outcome, discarded, leaf

from treeroll.errors import InvalidInput
from treeroll.policies import registry
from treeroll.policies.allocate.majority import leader_chance, leader_gain
from treeroll.policies.allocate.pets_offline import PETSOffline
from treeroll.policies.allocate.pets_online import PETSOnline
from treeroll.policy.base import Limits
from treeroll.tree.node import Decision
from treeroll.tree.rng import randint

POOLS = [["a"] * 64, ["a"] * 60 + ["b"] * 4, ["a"] * 36 + ["b"] * 28, ["a"] * 30 + ["b"] * 20 + ["c"] * 14]
PATTERNS = ("aaaa", "aaab", "aabb", "aabc", "abcd")


def build(name="pets", leaves=64, **params):
    return registry.build("branch", name, params, Limits(leaves, 10, 4, 1000))


def boxed(answers):
    """A world in which the samples answer so, one after another; "-" has no answer, "." is discarded."""

    def world(path):
        answer = answers[path[0] % len(answers)]
        text = "I give up" if answer == "-" else f"So it is \\boxed{{{answer}}}."
        return discarded() if answer == "." else leaf(text=text)

    return world


def samples(answers, name="pets", leaves=64, **params):
    """How many were asked for."""
    return len(Driver(build(name, leaves, **params), boxed(answers)).run().tree.nodes) - 1


@pytest.mark.parametrize("count", [1, 2, 4, 9, 40])
def test_each_more_of_equal_answers_halves_the_chance_of_another_majority(count):
    assert leader_chance([count]) == pytest.approx(1 - 2.0 ** -(count + 1), abs=1e-7)
    assert leader_gain([count]) == pytest.approx(2.0 ** -(count + 2), abs=1e-7)


def test_chances_are_the_integrals_worked_by_hand():
    # One of each of two answers: Gamma variables of shapes 2, 2 and 1. The last is above both with probability
    # 1 - 2 (1/2 + 1/4) + (1/3 + 2/9 + 2/27) = 7/54, and each of the others is with half of the rest.
    assert leader_chance([1, 1]) == pytest.approx(Fraction(47, 108), abs=1e-7)
    # Shapes 3, 2 and 1: 1 - (2/8 + 3/16) + (1/27 + 3/81).
    assert leader_chance([2, 1]) == pytest.approx(Fraction(275, 432), abs=1e-7)
    assert leader_gain([1, 1]) == pytest.approx(Fraction(29, 144), abs=1e-7)
    # A third answer, and one not yet seen, lead as rarely as each other.
    assert leader_chance([0, 0, 0, 0]) == pytest.approx(1 / 5, abs=1e-7)


@pytest.mark.parametrize("answers", ["a", "aab", "abab", "aabbc", "abcdaaa", "aaaaaaaabb"])
def test_gains_are_those_of_pets_offline_but_for_its_draws(answers):
    offline = PETSOffline(1, seed=5, draws=20_000)
    for answer in answers:
        offline.tell(0, answer)
    counts = [answers.count(answer) for answer in sorted(set(answers))]
    assert leader_gain(counts) == pytest.approx(offline._questions[0].gain(), abs=0.01)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ("aaaa", 4),  # 2^-6 is below 0.02
        ("aaabaaaa", 7),  # after 3 and 1: 0.092; then 0.056, 0.033, and after 6 and 1 0.019
        ("aba.a-aaaa", 9),  # the same, with one that is discarded and one without an answer
    ],
)
def test_samples_are_asked_for_while_the_next_could_do_enough(answers, asked):
    assert samples(answers) == asked


def test_split_answers_take_all_leaves():
    assert samples("ab", leaves=16) == 16


def test_samples_end_once_the_rest_cannot_change_the_majority():
    assert samples("a", leaves=8, gain=0) == 5
    assert samples("ab", leaves=9, gain=0) == 9
    assert samples("abaaaaaa", leaves=8, gain=0) == 6


def test_batches_are_asked_for_together_and_never_beyond_the_leaves():
    grown = Driver(build(leaves=9, batch=3), boxed("ab")).run()
    assert [sum(step.forks for step in batch) for batch in grown.batches if batch] == [4, 3, 2]


@pytest.mark.parametrize("answers", ["-", "."])
def test_tasks_without_an_answer_take_all_leaves(answers):
    assert samples(answers, leaves=6) == 6


@pytest.mark.parametrize("name", ["pets", "pets_online"])
def test_only_the_first_samples_are_boundary_decisions(name):
    nodes = Driver(build(name), boxed("ab")).run().tree.nodes[1:]
    assert [node.decision for node in nodes[:4]] == [Decision.BOUNDARY] * 4
    assert {node.decision for node in nodes[4:]} == {Decision.RETROSPECTIVE}


def test_answers_straddle_segments_and_spaces_do_not_make_others():
    texts = {(0,): "\\box", (0, 0): "ed{1 2}", (1,): "\\boxed{7} or \\boxed{ 1  2\n}"}

    def world(path):
        text = texts.get(path, texts[1,])
        return Outcome(text=text) if path == (0,) else leaf(text=text)

    grown = Driver(build(), world).run()
    assert len(grown.tree.leaves) == 4


def test_whole_texts_may_be_the_answers():
    def world(path):
        return leaf(text=" yes\n" if path[0] % 2 else "yes")

    assert len(Driver(build(answer="text"), world).run().tree.leaves) == 4
    assert len(Driver(build(leaves=7), world).run().tree.leaves) == 7


@pytest.mark.parametrize(("first", "asked"), [("aaaa", 4), ("aaab", 5), ("aabb", 6), ("aabc", 7), ("abcd", 8)])
def test_the_pattern_of_the_first_four_has_a_budget(first, asked):
    assert samples(first, "pets_online", budgets=[4, 5, 6, 7, 8]) == asked


def test_samples_without_an_answer_are_like_no_other():
    assert samples("--.a", "pets_online", budgets=[4, 5, 6, 7, 8]) == 8
    assert samples("aa-.", "pets_online", budgets=[4, 5, 6, 7, 8]) == 7


def test_budgets_are_those_that_pets_online_has_learned():
    online = PETSOnline()
    online.fit(POOLS)
    budgets = [online.budget_of(first) for first in PATTERNS]
    for seed in range(40):
        answers = ["abcd"[randint(0, 3, seed, place)] for place in range(64)]
        assert samples(answers, "pets_online", budgets=budgets) == online.budget_of(answers[:4])


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("pets", {"initial": 9}, "initial 9 can make 9 leaves, above leaves 8"),
        ("pets_online", {}, "budgets 16,16,16,16,16 can make 16 leaves, above leaves 8"),
        ("pets_online", {"budgets": [4, 4, 4, 4]}, "should have at least 5 items"),
        ("pets_online", {"budgets": [3, 4, 4, 4, 4]}, "greater than or equal to 4"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, params, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        build(name, 8, **params)

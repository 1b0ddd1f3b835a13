"""PETS: samples go where majorities are unsettled; budgets by how much first samples agree."""

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest

from treeroll.errors import InvalidInput
from treeroll.policies.allocate.majority import majority_curve
from treeroll.policies.allocate.pets_offline import Draws, PETSOffline, best_rise
from treeroll.policies.allocate.pets_online import PETSOnline, fitted, patterns
from treeroll.tree.rng import uniform


def enumerated(shares, samples):
    """P(the first answer is the most frequent), over all sequences of answers."""
    found = 0.0
    for answers in itertools.product(range(len(shares)), repeat=samples):
        counts = Counter(answers)
        tied = [answer for answer, count in counts.items() if count == max(counts.values())]
        if 0 in tied:
            found += math.prod(shares[answer] for answer in answers) / len(tied)
    return found


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.25] * 4, [0.6, 0.4], [0.2, 0.7, 0.1, 0.0], [1.0]])
def test_majorities_are_as_likely_as_counting_all_samples_says(shares):
    assert majority_curve(shares, 6) == pytest.approx([enumerated(shares, samples) for samples in range(1, 7)])


def test_majorities_of_many_answers_add_up():
    shares = [1 / 12] * 12
    assert majority_curve(shares, 40) == pytest.approx([1 / 12] * 40)


def settle(offline, answers, samples):
    """Ask it what to sample next and answer; returns how many each question got."""
    streams = [itertools.cycle(stream) for stream in answers]
    for _ in range(samples):
        for question in offline.next():
            offline.tell(question, next(streams[question]))
    return [offline.samples(question) for question in range(len(answers))]


def test_the_split_question_is_sampled_and_not_the_unanimous_one():
    offline = PETSOffline(2, seed=1)
    for answer in ("a", "b", "a", "b", "a", "b"):
        offline.tell(0, "a")
        offline.tell(1, answer)
    assert settle(offline, [["a"], ["a", "b"]], 20) == [6, 26]
    assert offline.majority(0) == "a"


def test_every_question_is_warmed_up_first():
    assert PETSOffline(3, seed=1).next(5) == [0, 1, 2]
    assert settle(PETSOffline(4, seed=1, warm_up=2), [["a"]] * 4, 8) == [2, 2, 2, 2]


def test_more_majorities_are_right_than_with_as_many_samples_of_each():
    def answer(question, sample):
        right = uniform(9, question, sample) < (0.97, 0.9, 0.4)[question % 3]
        return "right" if right else f"wrong {int(3 * uniform(9, question, sample, 'wrong'))}"

    offline = PETSOffline(90, seed=3, draws=100)
    for _ in range(90 * 6):
        (question,) = offline.next()
        offline.tell(question, answer(question, offline.samples(question)))
    same = [Counter(answer(question, sample) for sample in range(6)) for question in range(90)]
    wrong = sum(counts.most_common(1)[0][0] != "right" for counts in same)
    assert sum(offline.majority(question) != "right" for question in range(90)) < 0.8 * wrong
    assert sum(offline.samples(question) for question in range(2, 90, 3)) > 30 * 8


def test_exhausted_questions_are_left_alone():
    offline = PETSOffline(2, seed=1)
    offline.exhaust(1)
    assert settle(offline, [["a", "b"], ["a"]], 5) == [5, 0]
    offline.exhaust(0)
    assert offline.next() == []
    assert offline.majority(1) is None


def test_confidence_counts_in_units_of_its_mean():
    offline = PETSOffline(1, seed=1)
    for answer, confidence in (("a", 16.0), ("b", 32.0), ("b", 0.0), ("c", None), ("d", 1e9), ("e", math.nan)):
        offline.tell(0, answer, confidence)
    weights = offline._questions[0].weights
    assert [weights[answer] for answer in "abce"] == pytest.approx([1, 2.3333, 1, 1], abs=1e-4)
    assert weights["d"] <= 10


def test_answers_change_with_the_seed_only():
    def run(seed):
        return settle(PETSOffline(6, seed), [["a", "b"], ["a"], ["b", "b", "c"], ["a", "b"], ["x"], ["y", "z"]], 60)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_telling_one_question_leaves_the_gains_of_others():
    offline = PETSOffline(3, seed=1)
    settle(offline, [["a"], ["a", "b"], ["c"]], 3)
    before = [question.gain() for question in offline._questions]
    offline.tell(1, "b")
    assert [question.gain() for question in offline._questions][::2] == before[::2]
    assert offline._questions[1].gain() != before[1]


def test_the_rise_is_that_of_the_best_next_answer():
    # Four draws of two answers: each leads twice. Half a unit more turns one of the two that the other leads.
    assert best_rise([[3, 3, 1, 1], [1, 1, 1.4, 3]], [0.5] * 4) == 0.25
    assert best_rise([[9, 9], [1, 1]], [0.5] * 2) == 0
    assert best_rise([[1.0], [2.0], [3.0]], [5.0]) == 0


@pytest.mark.parametrize("shape", [0.3, 1.0, 2.7])
def test_gamma_draws_have_their_mean_and_variance(shape):
    draws = Draws(7).gammas(shape, 4000)
    mean = math.fsum(draws) / 4000
    assert mean == pytest.approx(shape, rel=0.08)
    assert math.fsum((draw - mean) ** 2 for draw in draws) / 4000 == pytest.approx(shape, rel=0.15)


def test_patterns_are_as_likely_as_counting_all_draws_says():
    pool = ["a"] * 4 + ["b"] * 3 + ["c", "d"]
    counted = Counter(tuple(sorted(Counter(drawn).values(), reverse=True)) for drawn in itertools.combinations(pool, 4))
    total = sum(counted.values())
    expected = {pattern: float(Fraction(count, total)) for pattern, count in counted.items()}
    assert patterns(pool, 4) == pytest.approx(expected)


def test_curves_rise_where_the_majority_is_clear_and_are_flat_where_it_is_even():
    clear, even, sure = fitted(["a"] * 40 + ["b"] * 24), fitted(["a", "b"] * 32), fitted(["a"] * 64)
    assert clear[0] > 0.1
    assert even == pytest.approx((0, 0), abs=1e-9)
    assert sure[0] == pytest.approx(0, abs=1e-9)
    assert sure[1] > 6


POOLS = [["a"] * 64, ["a"] * 60 + ["b"] * 4, ["a"] * 36 + ["b"] * 28, ["a"] * 30 + ["b"] * 20 + ["c"] * 14]


def test_budgets_keep_to_the_average_and_favour_those_that_disagree():
    online = PETSOnline()
    online.fit(POOLS)
    spent = math.fsum(bucket.mass * bucket.budget for bucket in online.buckets.values())
    assert 15.5 < spent <= 16 + 1e-9
    assert math.fsum(bucket.mass for bucket in online.buckets.values()) == pytest.approx(1)
    assert online.budget_of("aaaa") == 4
    assert online.budget_of("abab") > 16
    assert online.budget_of("abab") == online.budget_of("yyxx") == online.buckets[2, 2].budget


def test_budgets_are_capped_and_never_below_the_first_samples():
    online = PETSOnline(average=8, cap=14)
    online.fit(POOLS)
    budgets = {bucket.budget for bucket in online.buckets.values()}
    assert (min(budgets), max(budgets)) == (4, 14)


def test_free_answers_have_two_patterns():
    online = PETSOnline(coarse=True)
    online.fit(POOLS)
    assert set(online.buckets) == {(4,), ()}
    assert online.budget_of("abcd") == online.budget_of("aaab") > online.budget_of("aaaa")


def test_patterns_that_were_never_seen_get_the_average():
    online = PETSOnline(average=16.5)
    online.fit([["a"] * 64])
    assert online.budget_of("abcd") == 16


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PETSOffline(-1, 1), "questions is -1"),
        (lambda: PETSOffline(1, 1, warm_up=0), "warm_up is 0"),
        (lambda: PETSOffline(1, 1, draws=0), "draws is 0"),
        (lambda: PETSOnline(average=3), "first 4, average 3 and cap 64 must ascend"),
        (lambda: PETSOnline().fit([["a"] * 3]), "pool 0 has 3 answers; it must have 4 or more"),
    ],
)
def test_counts_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(InvalidInput, match=f"PETS: {sentence}"):
        make()

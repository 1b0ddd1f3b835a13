"""Success predictors: what they say, what they learn from, and whether it comes true."""

import math

import pytest

from treeroll.policies.predict import registry
from treeroll.policies.predict.calibration import Bin, Calibration, Prediction, calibration
from treeroll.policies.predict.history import History
from treeroll.policies.predict.prompt import FIRST, Prompt, features
from treeroll.policy.allocate import TaskView
from treeroll.tree.rng import randint, uniform


def task(text="2 + 2 =", successes=0.0, scored=0.0):
    return TaskView("t", text, 1, successes, scored)


def test_history_is_the_mean_of_a_beta_posterior():
    assert History().of(task(successes=3, scored=12)) == 0.25
    assert History(prior=2).of(task(successes=3, scored=12)) == 5 / 16
    assert History(prior=1).of(task(successes=0, scored=0.5)) == 0.4
    assert History(prior=1).of(task()) is None
    assert History().of(task(successes=0.8, scored=0.79999)) == 1.0  # decayed counts are rounded


def sum_task(turn):
    """A prompt of one to five numbers of one to three digits, and how often it is solved: seldom, if it is long."""
    terms, digits = randint(1, 5, turn, "terms"), randint(1, 3, turn, "digits")
    text = " + ".join(str(randint(10 ** (digits - 1), 10**digits - 1, turn, term)) for term in range(terms)) + " ="
    return text, 1 / (1 + math.exp(terms * digits / 2 - 3))


def learned(turns, predictor=None):
    """Predictions of a stream of tasks, each made before its tree."""
    predictor = predictor or Prompt()
    made = []
    for turn in range(turns):
        text, rate = sum_task(turn)
        successes = sum(uniform(turn, "leaf", leaf) < rate for leaf in range(16))
        made.append((predictor.of(task(text)), successes, 16))
        predictor.learn(task(text), successes, 16)
    return made


def test_prompts_say_nothing_before_enough_trees():
    made = learned(FIRST + 1)
    assert [rate for rate, *_ in made[:FIRST]] == [None] * FIRST
    assert 0 < made[FIRST][0] < 1


def test_prompts_come_to_be_calibrated_and_beat_the_overall_rate():
    report = calibration(Prediction(*made) for made in learned(400)[200:])
    assert report.error < 0.08
    assert report.floor < report.brier < 0.8 * report.base


def test_what_prompts_say_is_what_they_were_told():
    assert learned(50) == learned(50)


def test_trees_without_a_scored_leaf_teach_nothing():
    predictor = Prompt()
    for _ in range(100):
        predictor.learn(task(), 0, 0)
    assert predictor.of(task()) is None


def test_rates_stay_inside_for_one_outcome_ever():
    predictor = Prompt()
    for _ in range(3000):
        predictor.learn(task(), 8, 8)
    assert 0.9 < predictor.of(task()) < 1
    assert all(0 < predictor.of(task(text)) < 1 for text in ("", "x " * 10_000, "\x00\ud800", "ß" * 9))


def test_features_level_numbers_by_length_and_read_the_end():
    assert features("Add 12 and 34.") == features("add 56 AND 78.")
    assert features("Add 12 and 34.") != features("Add 123 and 34.")
    assert features("one two") != features("two one")
    assert features("secret " + "x " * 1000 + "end") == features("x " * 1000 + "end")


def test_calibration_of_known_figures():
    report = calibration(
        [Prediction(0.25, 1, 4), Prediction(0.25, 3, 4), Prediction(1.0, 2, 2), Prediction(0.9, 0, 0)], 4
    )
    assert report.bins == (Bin(0.25, 0.5, 2, 8, 0.25, 0.5), Bin(0.75, 1.0, 1, 2, 1.0, 1.0))
    assert report.error == pytest.approx(0.8 * 0.25)
    assert report.brier == pytest.approx((4 * 0.75**2 + 4 * 0.25**2) / 10)
    assert report.floor == pytest.approx(8 * 3 / 16 / 10)
    assert report.base == pytest.approx(0.6 * 0.4)


def test_nothing_predicted_has_no_error():
    assert calibration([]) == calibration([Prediction(0.5, 0, 0)]) == Calibration((), 0.0, 0.0, 0.0, 0.0)


def test_predictors_are_found_by_name():
    assert set(registry.summaries()) == {"history", "prompt"}
    assert isinstance(registry.build("history", 1.0), History)
    assert isinstance(registry.build("prompt", 1.0), Prompt)

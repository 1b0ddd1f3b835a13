"""The suite can fail: promises of routes are broken here, and it says so."""

import itertools

import pytest
from tests.support.conformance import caught

from treeroll.policies.route.threshold import Threshold

CALLS = itertools.count()


def naming(give):
    """A threshold whose answers `give` changes: it is told them, the task, the budget and the models."""

    class Names(Threshold):
        def open(self, seed):
            memory = super().open(seed)
            right = memory.route
            memory.route = lambda task, budget, models: give(right(task, budget, models), task, budget, models)
            return memory

    return Names


def takes_one_away(name, task, budget, models):
    models.clear()
    return name


@pytest.mark.parametrize(
    ("give", "promise"),
    [
        (lambda name, task, budget, models: "huge", "Answer"),
        (lambda name, task, budget, models: [100 // budget.tokens_left] and name, "Answer"),
        (lambda name, task, budget, models: "small" if next(CALLS) % 2 else "large", "Settled"),
        (lambda name, task, budget, models: "large", "HardBudget"),
        (takes_one_away, "ReadsOnly"),
    ],
)
def test_models_that_cannot_be_are_caught(give, promise):
    assert caught("route", naming(give)) == promise


def test_a_memory_that_runs_share_is_caught():
    class Shares(Threshold):
        def __init__(self, params, limits):
            super().__init__(params, limits)
            self.one = super().open(0)

        def open(self, seed):
            return self.one

    assert caught("route", Shares, {"predictor": "prompt"}) == "Pure"


@pytest.mark.parametrize(
    "attributes",
    [
        {"models": ["small", "large"]},
        {"models": ("small",)},
        {"models": ("a", "a")},
        {"rated": "b"},
        {"success": "yes"},
    ],
    ids=str,
)
def test_routes_of_another_shape_are_caught(attributes):
    class Shaped(Threshold):
        def __init__(self, params, limits):
            super().__init__(params, limits)
            for name, value in attributes.items():
                setattr(self, name, value)

    assert caught("route", Shaped) == "Shape"
